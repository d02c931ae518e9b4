//! Many tasks at once: what is special about a map, and the maps that wait for all results.

use super::decode::{self, Gathered};
use super::engine::{Call, Chunk, Engine, Packer};
use super::error::{MapError, PoolError, TaskFailure};
use super::feeder::{Feeder, Plan};
use super::imap::{Imap, ImapUnordered};
use super::input::{self, Fed, Feed, Input, Unary};
use super::progress::{Hook, Meter, Progress};
use super::result::AsyncResult;
use crate::sync::raw::atomics::Deadline;
use crate::task::Task;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A map with what is special about it: of [`Pool::mapping`](super::Pool::mapping).
///
/// ```no_run
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn count(path: std::path::PathBuf) -> std::io::Result<u64> {
///     Ok(std::fs::metadata(path)?.len())
/// }
///
/// # mod indicatif { pub struct ProgressBar; impl ProgressBar { pub fn new(_: u64) -> Self { Self }
/// # pub fn set_position(&self, _: u64) {} } }
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     mp::freeze_support();
///     let paths = std::env::args().skip(1).map(std::path::PathBuf::from).collect::<Vec<_>>();
///     let pool = mp::get_context(None).pool().build()?;
///     let bar = indicatif::ProgressBar::new(paths.len() as u64);
///     let sizes = pool
///         .mapping::<count>()
///         .chunk(16)
///         .retries(1)
///         .progress(|progress| bar.set_position(progress.done))
///         .map(&paths)?;
///     println!("{sizes:?}");
///     Ok(())
/// }
/// ```
#[must_use = "nothing runs before `map` or another of its kind"]
pub struct Mapping<'a, T: Task> {
    engine: Arc<Engine>,
    plan: Plan,
    hook: Option<Hook<'a>>,
    _task: PhantomData<fn() -> T>,
}

impl<T: Task> fmt::Debug for Mapping<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("task", &T::NAME).field("plan", &self.plan).finish()
    }
}

impl<'a, T: Task> Mapping<'a, T> {
    pub(super) fn new(engine: &Arc<Engine>) -> Self {
        let plan = Plan {
            chunk: None,
            window: None,
            deadline: engine.settings.task_deadline,
            retries: engine.settings.retries,
        };
        Self { engine: Arc::clone(engine), plan, hook: None, _task: PhantomData }
    }

    /// How many inputs travel together.
    ///
    /// By default as many as take some 100 µs, as measured while they run, and fewer towards the
    /// end; one if there is a deadline. A worker that is lost costs the input of a
    /// chunk that it ran, and those that it had done in the millisecond before.
    ///
    /// # Panics
    /// With 0.
    pub fn chunk(mut self, inputs: usize) -> Self {
        assert!(inputs > 0, "a chunk has at least one input");
        self.plan.chunk = Some(inputs as u64);
        self
    }

    /// How many inputs are taken from their iterator before the first of them has its outcome (in
    /// [`imap`](Self::imap): before it was taken). By default a few for each worker, and more if
    /// they are short: what keeps all workers busy.
    ///
    /// # Panics
    /// With 0.
    pub fn window(mut self, inputs: usize) -> Self {
        assert!(inputs > 0, "a window has at least one input");
        self.plan.window = Some(inputs as u64);
        self
    }

    /// How long each may run; see [`Submission::deadline`](super::Submission::deadline). In a
    /// chunk of several, a task that looks at [`is_cancelled`](super::is_cancelled) may believe
    /// for a moment that it is meant, when it was the one before.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.plan.deadline = Some(limit);
        self
    }

    /// How often each is tried again after its worker was lost.
    pub fn retries(mut self, retries: u32) -> Self {
        self.plan.retries = retries;
        self
    }

    /// Is told now and then how far it is, and once at the end: at most every tenth of a second, on
    /// the thread that waits, and not at all by an asynchronous map (see
    /// [`AsyncResult::progress`]).
    pub fn progress<'b>(self, hook: impl FnMut(Progress) + 'b) -> Mapping<'b, T> {
        let Self { engine, plan, .. } = self;
        Mapping { engine, plan, hook: Some(Box::new(hook)), _task: PhantomData }
    }

    /// Applies the task to each input and waits for all results, in the order of the inputs.
    ///
    /// Inputs are taken by this thread as workers want them, so they may borrow, and their iterator
    /// may be without end. All are run, whatever becomes of the others.
    ///
    /// # Errors
    /// [`MapError`]: the first input, in order, that has no result, and why. If the pool does not
    /// take any more, that is an error of the next input.
    pub fn map<I>(self, inputs: I) -> Result<Vec<T::Output>, MapError>
    where
        T: Unary,
        I: IntoIterator,
        I::Item: Input<T::Arg>,
    {
        let feed = self.arguments(inputs.into_iter());
        let (gathered, count, call) = self.gather(feed);
        gathered.finish(count, || decode::closed(&call))
    }

    /// The same, but gives what became of each input.
    ///
    /// # Errors
    /// [`PoolError`] if the pool takes no more tasks.
    pub fn map_each<I>(self, inputs: I) -> Result<Vec<Result<T::Output, TaskFailure>>, PoolError>
    where
        T: Unary,
        I: IntoIterator,
        I::Item: Input<T::Arg>,
    {
        drop(self.engine.open_map()?);
        let feed = self.arguments(inputs.into_iter());
        let (gathered, count, call) = self.gather(feed);
        Ok(gathered.each(count, || decode::closed(&call)))
    }

    /// [`map`](Self::map) for tasks of any number of arguments: each input is a tuple of all.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<I>(self, inputs: I) -> Result<Vec<T::Output>, MapError>
    where
        I: IntoIterator,
        I::Item: Borrow<T::Args>,
    {
        let feed = self.tuples(inputs.into_iter());
        let (gathered, count, call) = self.gather(feed);
        gathered.finish(count, || decode::closed(&call))
    }

    /// [`map_each`](Self::map_each) for tasks of any number of arguments.
    ///
    /// # Errors
    /// As [`map_each`](Self::map_each).
    pub fn starmap_each<I>(
        self,
        inputs: I,
    ) -> Result<Vec<Result<T::Output, TaskFailure>>, PoolError>
    where
        I: IntoIterator,
        I::Item: Borrow<T::Args>,
    {
        drop(self.engine.open_map()?);
        let feed = self.tuples(inputs.into_iter());
        let (gathered, count, call) = self.gather(feed);
        Ok(gathered.each(count, || decode::closed(&call)))
    }

    /// Submits a task for each input and does not wait. All inputs are taken and serialised here.
    ///
    /// # Errors
    /// [`MapError`]: an input cannot travel, or their iterator panicked; then none was submitted.
    pub fn map_async<I>(self, inputs: I) -> Result<AsyncResult<Vec<T::Output>, MapError>, MapError>
    where
        T: Unary,
        I: IntoIterator,
        I::Item: Input<T::Arg>,
    {
        let mut feed = self.arguments(inputs.into_iter());
        self.submit_all(&mut feed)
    }

    /// [`map_async`](Self::map_async) for tasks of any number of arguments.
    ///
    /// # Errors
    /// As [`map_async`](Self::map_async).
    pub fn starmap_async<I>(
        self,
        inputs: I,
    ) -> Result<AsyncResult<Vec<T::Output>, MapError>, MapError>
    where
        I: IntoIterator,
        I::Item: Borrow<T::Args>,
    {
        let mut feed = self.tuples(inputs.into_iter());
        self.submit_all(&mut feed)
    }

    /// Results as they are asked for, in the order of the inputs.
    ///
    /// Inputs are taken as the window has room, when this is called and when a result is taken.
    /// Dropping the iterator cancels what is left.
    ///
    /// # Errors
    /// [`PoolError`] if the pool takes no more tasks.
    pub fn imap<I>(self, inputs: I) -> Result<Imap<'a, T>, PoolError>
    where
        T: Unary,
        I: IntoIterator,
        I::IntoIter: 'a,
        I::Item: Input<T::Arg>,
    {
        let feed = Box::new(self.arguments(inputs.into_iter()));
        Ok(Imap::new(self.feeder(feed)?))
    }

    /// Results as they come, in any order; otherwise as [`imap`](Self::imap).
    ///
    /// # Errors
    /// As [`imap`](Self::imap).
    pub fn imap_unordered<I>(self, inputs: I) -> Result<ImapUnordered<'a, T>, PoolError>
    where
        T: Unary,
        I: IntoIterator,
        I::IntoIter: 'a,
        I::Item: Input<T::Arg>,
    {
        let feed = Box::new(self.arguments(inputs.into_iter()));
        Ok(ImapUnordered::new(self.feeder(feed)?))
    }

    /// Inputs that are the argument of a task of one, as bytes.
    fn arguments<I>(&self, inputs: I) -> impl Feed + use<I, T>
    where
        T: Unary,
        I: Iterator,
        I::Item: Input<T::Arg>,
    {
        input::arguments::<T, I>(self.engine.codec(), inputs)
    }

    /// Inputs that are all arguments of a task, as bytes.
    fn tuples<I>(&self, inputs: I) -> impl Feed + use<I, T>
    where
        I: Iterator,
        I::Item: Borrow<T::Args>,
    {
        input::tuples::<T, I>(self.engine.codec(), inputs)
    }

    fn feeder(self, feed: Box<dyn Feed + 'a>) -> Result<Feeder<'a, Box<dyn Feed + 'a>>, PoolError> {
        // Refused before anything is taken.
        drop(self.engine.open_map()?);
        let task = self.engine.task(T::NAME, T::SCHEMA);
        Ok(Feeder::new(self.engine, task, self.plan, feed, Meter::new(self.hook)))
    }

    /// Runs it all: outcomes, how many there are, and the call they belong to.
    fn gather(self, feed: impl Feed) -> (Gathered<T::Output>, u64, Arc<Call>) {
        let Self { engine, plan, hook, .. } = self;
        let task = engine.task(T::NAME, T::SCHEMA);
        let room = feed.left().map_or(0, |left| left.min(1 << 20) as usize);
        let mut gathered = Gathered::with_capacity(room);
        let open = engine.open_map();
        let mut feeder = Feeder::new(Arc::clone(&engine), task, plan, feed, Meter::new(hook));
        if let Err(error) = &open {
            feeder.refuse(error);
        }
        loop {
            feeder.fill(None);
            feeder.take::<T>(&mut |index, outcome| gathered.put(index, outcome));
            if feeder.is_over() {
                break;
            }
            feeder.wait(Deadline::NEVER);
        }
        let (count, call) = feeder.finish();
        drop(open);
        (gathered, count, call)
    }

    fn submit_all(
        self,
        feed: &mut dyn Feed,
    ) -> Result<AsyncResult<Vec<T::Output>, MapError>, MapError> {
        let at = |index| move |error| MapError { index, error };
        let engine = &self.engine;
        let task = engine.task(T::NAME, T::SCHEMA);
        let each = self.plan.chunk_of_known(engine, task.0, feed.left());
        let placeholder = Call::stream(task, None, 0);
        let (mut packer, mut chunks, mut count) = (Packer::default(), Vec::<Chunk>::new(), 0u64);
        loop {
            let fed = feed.pack(&mut packer, each);
            let (first, last) = (count, matches!(fed, Fed::End));
            count += u64::from(packer.count());
            let fds = match fed {
                Fed::Full | Fed::End => Vec::new(),
                Fed::Handles(fds) => fds,
                Fed::Unfit(error) => {
                    return Err(at(count)(TaskFailure::Unserializable(error.to_string())));
                }
                Fed::Panicked(panic) => return Err(at(count)(TaskFailure::InputPanicked(panic))),
            };
            if packer.count() > 0 {
                chunks.extend(packer.pack_with(&placeholder, first, fds));
            }
            if last {
                break;
            }
        }
        let call = Call::whole((task, self.plan.deadline, self.plan.retries), count, None);
        chunks.iter_mut().for_each(|chunk| chunk.call = Arc::clone(&call));
        engine.submit(chunks, true).map_err(|error| at(0)(error.into()))?;
        Ok(AsyncResult::new(self.engine, call, decode::all::<T>))
    }
}
