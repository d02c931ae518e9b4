//! One task, submitted with what is special about it.

use super::decode;
use super::engine::{Call, Chunk, Engine, Inbox, Then};
use super::error::{PoolError, TaskFailure};
use super::result::AsyncResult;
use crate::codec::{Codec, CodecError};
use crate::parcel::Parcel;
use crate::straight;
use crate::sync::raw::atomics::Deadline;
use crate::task::Task;
use serde::Serialize;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

type OnResult<T> = Box<dyn FnOnce(<T as Task>::Output) + Send>;
type OnError = Box<dyn FnOnce(TaskFailure) + Send>;

/// One task that is about to be submitted: of [`Pool::task`](super::Pool::task).
///
/// ```no_run
/// use mpserverd_client as mp;
/// use std::time::Duration;
///
/// #[mp::task]
/// fn render(page: u32) -> String {
///     format!("page {page}")
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     mp::freeze_support();
///     let pool = mp::get_context(None).pool().build()?;
///     let result = pool
///         .task::<render>((7,))
///         .deadline(Duration::from_secs(5)) // then it is stopped, its worker replaced
///         .retries(2) // if its worker is lost
///         .callback(|page| println!("{page}"))
///         .error_callback(|error| eprintln!("{error}"))
///         .submit()?;
///     result.wait();
///     Ok(())
/// }
/// ```
#[must_use = "nothing runs before `submit`"]
pub struct Submission<T: Task> {
    engine: Arc<Engine>,
    args: Result<Parcel, PoolError>,
    deadline: Option<Duration>,
    retries: u32,
    on_result: Option<OnResult<T>>,
    on_error: Option<OnError>,
    _task: PhantomData<fn() -> T>,
}

impl<T: Task> fmt::Debug for Submission<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("task", &T::NAME)
            .field("deadline", &self.deadline)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

fn pack<A: Serialize + 'static>(args: &A) -> Result<Parcel, CodecError> {
    let mut bytes = Vec::new();
    if straight::append(args, &mut bytes) {
        return Ok(Parcel { bytes, fds: Vec::new() });
    }
    Parcel::pack(Codec::Bincode, args)
}

impl<T: Task> Submission<T> {
    pub(super) fn new(engine: &Arc<Engine>, args: &T::Args) -> Self {
        Self {
            engine: Arc::clone(engine),
            args: pack(args).map_err(PoolError::from),
            deadline: engine.settings.task_deadline,
            retries: engine.settings.retries,
            on_result: None,
            on_error: None,
            _task: PhantomData,
        }
    }

    /// How long it may run, from when it begins; the pool's
    /// [default](super::PoolBuilder::task_deadline) otherwise. Then it is asked to stop, and after
    /// the [grace](super::PoolBuilder::grace) its worker is killed and replaced: the result is
    /// [`TaskFailure::DeadlineExceeded`].
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// How often it is tried again after its worker was lost; the pool's
    /// [default](super::PoolBuilder::retries) otherwise. A task that panics, is cancelled or
    /// overruns its deadline is never tried again.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Is called with the result, on a thread that the pool has for that. It may do anything,
    /// terminate the pool too; while it runs, other callbacks of the pool wait. A panic in it is
    /// logged and counted.
    pub fn callback(mut self, function: impl FnOnce(T::Output) + Send + 'static) -> Self {
        self.on_result = Some(Box::new(function));
        self
    }

    /// Is called with what happened in place of a result, as [`callback`](Self::callback).
    pub fn error_callback(mut self, function: impl FnOnce(TaskFailure) + Send + 'static) -> Self {
        self.on_error = Some(Box::new(function));
        self
    }

    /// Submits it.
    ///
    /// # Errors
    /// [`PoolError`]: the pool takes no more tasks, or the arguments cannot travel.
    pub fn submit(mut self) -> Result<AsyncResult<T::Output>, PoolError> {
        let (on_result, on_error) = (self.on_result.take(), self.on_error.take());
        let calls_back = on_result.is_some() || on_error.is_some();
        let then = calls_back.then(|| call_back::<T>(on_result, on_error));
        let engine = Arc::clone(&self.engine);
        let (call, chunk) = self.prepare(then)?;
        engine.submit([chunk], true)?;
        if calls_back {
            engine.collect_for_others();
        }
        Ok(AsyncResult::new(engine, call, decode::one::<T>))
    }

    /// Submits it and waits for its result.
    pub(super) fn run(self) -> Result<T::Output, TaskFailure> {
        let engine = Arc::clone(&self.engine);
        let (call, chunk) = self.prepare(None)?;
        let there = |inbox: &Inbox| inbox.is_over();
        // First the seat: what comes then wakes this thread rather than the supervisor.
        match engine.sit() {
            Some(seated) => {
                engine.submit([chunk], true)?;
                seated.collect_until(&call, Deadline::NEVER, &there);
            }
            None => {
                engine.submit([chunk], true)?;
                engine.wait(&call, Deadline::NEVER, &there);
            }
        }
        decode::one::<T>(&call)
    }

    fn prepare(self, then: Option<Then>) -> Result<(Arc<Call>, Chunk), PoolError> {
        let Parcel { bytes, fds } = self.args?;
        let task = self.engine.task(T::NAME, T::SCHEMA);
        let call = Call::whole((task, self.deadline, self.retries), 1, then);
        let chunk =
            Chunk { call: Arc::clone(&call), first: 0, count: 1, attempts: 0, body: bytes, fds };
        Ok((call, chunk))
    }
}

fn call_back<T: Task>(on_result: Option<OnResult<T>>, on_error: Option<OnError>) -> Then {
    Box::new(move |call| match (decode::one::<T>(call), on_result, on_error) {
        (Ok(result), Some(on_result), _) => on_result(result),
        (Err(error), _, Some(on_error)) => on_error(error),
        _ => {}
    })
}
