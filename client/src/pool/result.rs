//! What an asynchronous submission gives: a result that will be there.

use super::engine::{Call, Engine};
use super::error::{MapError, NotReady, TaskFailure};
use super::progress::Progress;
use crate::error::TimeoutError;
use crate::sync::raw::atomics::Deadline;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// An error that can say that only the wait has ended.
pub trait Failure: sealed::Sealed + Sized {
    /// The wait has ended.
    #[doc(hidden)]
    fn timed_out(after: Duration, settled: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TaskFailure {}
    impl Sealed for super::MapError {}
}

impl Failure for TaskFailure {
    fn timed_out(after: Duration, _: u64) -> Self {
        Self::Timeout(TimeoutError(after))
    }
}

impl Failure for MapError {
    fn timed_out(after: Duration, settled: u64) -> Self {
        Self { index: settled, error: TaskFailure::timed_out(after, settled) }
    }
}

/// A result that will be there: of [`Pool::apply_async`](super::Pool::apply_async) and the like.
///
/// It can be waited for by any thread, and awaited on any runtime. What came is kept as bytes and
/// decoded for each [`get`](Self::get), which may therefore be called again.
///
/// Dropping it does nothing to the task, whose result is thrown away when it comes. When the pool
/// is dropped or terminated first, the result is [`PoolError::Terminated`](super::PoolError).
///
/// ```no_run
/// use mpserverd_client as mp;
/// use std::time::Duration;
///
/// #[mp::task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     mp::freeze_support();
///     let pool = mp::get_context(None).pool().build()?;
///     let result = pool.apply_async::<square>((7,))?;
///     match result.get_timeout(Duration::from_secs(1)) {
///         Err(error) if error.is_timeout() => println!("it takes its time: {:?}", result.get()),
///         other => println!("{:?}", other),
///     }
///     Ok(())
/// }
/// ```
#[must_use = "the result is thrown away otherwise"]
pub struct AsyncResult<R, E = TaskFailure> {
    engine: Arc<Engine>,
    call: Arc<Call>,
    decode: fn(&Call) -> Result<R, E>,
    began: Instant,
}

impl<R, E> fmt::Debug for AsyncResult<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("call", &self.call).finish_non_exhaustive()
    }
}

impl<R, E> AsyncResult<R, E> {
    pub(super) fn new(
        engine: Arc<Engine>,
        call: Arc<Call>,
        decode: fn(&Call) -> Result<R, E>,
    ) -> Self {
        Self { engine, call, decode, began: Instant::now() }
    }

    fn wait_until(&self, deadline: Deadline) -> bool {
        self.engine.wait(&self.call, deadline, &|inbox| inbox.is_over())
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// What happened in place of one.
    pub fn get(&self) -> Result<R, E> {
        self.wait_until(Deadline::NEVER);
        (self.decode)(&self.call)
    }

    /// Waits for the result, but no longer than this; the task goes on in any case.
    ///
    /// # Errors
    /// What happened in place of one; [`TaskFailure::Timeout`], after which it can be called again.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, E>
    where
        E: Failure,
    {
        let begun = Instant::now();
        if self.wait_until(Deadline::within(timeout)) {
            return (self.decode)(&self.call);
        }
        Err(E::timed_out(begun.elapsed(), self.call.tally().settled))
    }

    /// Waits until there is a result, or an error in place of one.
    pub fn wait(&self) {
        self.wait_until(Deadline::NEVER);
    }

    /// The same, but no longer than this; tells whether it is there.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Deadline::within(timeout))
    }

    /// Whether [`get`](Self::get) would not wait.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.call.is_over()
    }

    /// Whether the task returned. An `Err` that it returned is a result too.
    ///
    /// # Errors
    /// [`NotReady`] before there is a result.
    pub fn successful(&self) -> Result<bool, NotReady> {
        if !self.ready() {
            return Err(NotReady);
        }
        Ok(self.call.closed().is_none() && self.call.tally().failed == 0)
    }

    /// Cancels it; false if it was over already. Its result is [`TaskFailure::Cancelled`] from now
    /// on.
    ///
    /// What has not begun never will. A task that runs is asked to stop, see
    /// [`is_cancelled`](super::is_cancelled); if it has not after the pool's
    /// [grace](super::PoolBuilder::grace), its worker is killed and replaced.
    pub fn cancel(&self) -> bool {
        self.engine.cancel(&self.call)
    }

    /// How far it is; of a map, how many of its inputs are done.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (tally, elapsed) = (self.call.tally(), self.began.elapsed());
        let rate = tally.settled as f64 / elapsed.as_secs_f64().max(1e-9);
        let left = tally.submitted.saturating_sub(tally.settled);
        Progress {
            done: tally.settled,
            failed: tally.failed,
            lost: tally.lost,
            total: Some(tally.submitted),
            rate,
            eta: Duration::try_from_secs_f64(left as f64 / rate).ok(),
            elapsed,
        }
    }
}

impl<R, E> Future for AsyncResult<R, E> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.call.await_by(context.waker()) {
            self.engine.collect_for_others();
            return Poll::Pending;
        }
        Poll::Ready((self.decode)(&self.call))
    }
}
