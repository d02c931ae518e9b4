//! The pool, as its users hold it.

use super::apply::Submission;
use super::engine::Engine;
use super::error::{MapError, PoolError, TaskFailure};
use super::imap::{Imap, ImapUnordered};
use super::input::{Input, Unary};
use super::mapping::Mapping;
use super::result::AsyncResult;
use super::status::PoolStatus;
use crate::task::Task;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Workers that run many tasks, one after the other. Clones are the same pool.
///
/// Made by [`Context::pool`](crate::Context::pool). Any thread may use it at any time, callbacks
/// too.
///
/// **Drop.** When the last clone is dropped the pool is [terminated](Self::terminate), as at the
/// end of CPython's `with`: what is under way is given up. To have it done instead,
/// [`close`](Self::close) and [`join`](Self::join) first. The drop waits until the workers have
/// ended, which takes the [grace](super::PoolBuilder::grace) at most and then what the kernel needs
/// to end a process.
///
/// **Signals.** Workers ignore `SIGINT`: a Ctrl-C at the terminal goes to this process, whose end
/// is theirs too, or which ends the pool in order. They are killed when this process dies.
///
/// A pool does not travel: it is no value that another process could have.
///
/// ```compile_fail
/// fn travels<T: serde::Serialize>() {}
/// travels::<mpserverd_client::Pool>();
/// ```
///
/// ```no_run
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn shout(text: &str) -> String {
///     text.to_uppercase()
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     mp::freeze_support();
///     let pool = mp::get_context(None).pool().processes(4).build()?;
///     assert_eq!(pool.apply::<shout>(("hello".into(),))?, "HELLO");
///     let words = ["inputs", "may", "be", "borrowed"];
///     assert_eq!(pool.map::<shout>(words)?.join(" "), "INPUTS MAY BE BORROWED");
///     pool.close();
///     pool.join()?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

/// Ends the pool with its last handle.
struct Owner {
    engine: Arc<Engine>,
    /// A fork of the process has a copy of this, and no pool.
    pid: u32,
}

/// How long a drop waits for the end of killed workers, beyond the grace.
const END_PATIENCE: Duration = Duration::from_secs(5);

impl Drop for Owner {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        self.engine.terminate();
        // A callback that holds the last handle must not wait for itself.
        if !self.engine.callbacks.is_here() {
            let patience = self.engine.settings.grace.saturating_add(END_PATIENCE);
            if let Err(error) = self.engine.join(Some(patience)) {
                tracing::warn!(%error, "a pool was dropped, and its end takes long");
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("engine", &self.owner.engine).finish()
    }
}

impl Pool {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { owner: Arc::new(Owner { engine, pid: std::process::id() }) }
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.owner.engine
    }

    /// Runs a task and waits for its result.
    ///
    /// # Errors
    /// [`TaskFailure`].
    pub fn apply<T: Task>(&self, args: T::Args) -> Result<T::Output, TaskFailure> {
        self.task::<T>(args).run()
    }

    /// Submits a task.
    ///
    /// # Errors
    /// [`PoolError`]: the pool takes no more, or the arguments cannot travel.
    pub fn apply_async<T: Task>(&self, args: T::Args) -> Result<AsyncResult<T::Output>, PoolError> {
        self.task::<T>(args).submit()
    }

    /// A task with a deadline, retries or callbacks of its own.
    pub fn task<T: Task>(&self, args: T::Args) -> Submission<T> {
        Submission::new(self.engine(), &args)
    }

    /// A map with chunks, a window, a deadline, retries or a progress hook of its own.
    pub fn mapping<'a, T: Task>(&self) -> Mapping<'a, T> {
        Mapping::new(self.engine())
    }

    /// Applies a task to each input and waits for all results; see [`Mapping::map`].
    ///
    /// # Errors
    /// As [`Mapping::map`].
    pub fn map<T: Unary>(
        &self,
        inputs: impl IntoIterator<Item = impl Input<T::Arg>>,
    ) -> Result<Vec<T::Output>, MapError> {
        self.mapping::<T>().map(inputs)
    }

    /// The same, but gives what became of each input; see [`Mapping::map_each`].
    ///
    /// # Errors
    /// As [`Mapping::map_each`].
    pub fn map_each<T: Unary>(
        &self,
        inputs: impl IntoIterator<Item = impl Input<T::Arg>>,
    ) -> Result<Vec<Result<T::Output, TaskFailure>>, PoolError> {
        self.mapping::<T>().map_each(inputs)
    }

    /// Submits a task for each input; see [`Mapping::map_async`].
    ///
    /// # Errors
    /// As [`Mapping::map_async`].
    pub fn map_async<T: Unary>(
        &self,
        inputs: impl IntoIterator<Item = impl Input<T::Arg>>,
    ) -> Result<AsyncResult<Vec<T::Output>, MapError>, MapError> {
        self.mapping::<T>().map_async(inputs)
    }

    /// [`map`](Self::map) for tasks of any number of arguments: each input is a tuple of all.
    ///
    /// # Errors
    /// As [`Mapping::starmap`].
    pub fn starmap<T: Task>(
        &self,
        inputs: impl IntoIterator<Item = impl Borrow<T::Args>>,
    ) -> Result<Vec<T::Output>, MapError> {
        self.mapping::<T>().starmap(inputs)
    }

    /// [`map_async`](Self::map_async) for tasks of any number of arguments.
    ///
    /// # Errors
    /// As [`Mapping::starmap_async`].
    pub fn starmap_async<T: Task>(
        &self,
        inputs: impl IntoIterator<Item = impl Borrow<T::Args>>,
    ) -> Result<AsyncResult<Vec<T::Output>, MapError>, MapError> {
        self.mapping::<T>().starmap_async(inputs)
    }

    /// Results one after the other, in the order of the inputs; see [`Mapping::imap`].
    ///
    /// # Errors
    /// As [`Mapping::imap`].
    pub fn imap<'a, T: Unary>(
        &self,
        inputs: impl IntoIterator<Item = impl Input<T::Arg>, IntoIter: 'a>,
    ) -> Result<Imap<'a, T>, PoolError> {
        self.mapping::<T>().imap(inputs)
    }

    /// Results as they come; see [`Mapping::imap_unordered`].
    ///
    /// # Errors
    /// As [`Mapping::imap_unordered`].
    pub fn imap_unordered<'a, T: Unary>(
        &self,
        inputs: impl IntoIterator<Item = impl Input<T::Arg>, IntoIter: 'a>,
    ) -> Result<ImapUnordered<'a, T>, PoolError> {
        self.mapping::<T>().imap_unordered(inputs)
    }

    /// How the pool is now: its workers, and what is to be done. It reads what the kernel knows of
    /// each worker's memory, which takes some time.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        self.engine().status()
    }

    /// Takes no more tasks. What was submitted is done, then the workers end. A map that waits in
    /// another thread goes on to its end; an [`imap`](Self::imap) gives what is under way.
    pub fn close(&self) {
        self.engine().close();
    }

    /// Ends everything at once: whatever has no outcome yet is [`PoolError::Terminated`] from now
    /// on, tasks that run are asked to stop, and workers that have not ended after the
    /// [grace](super::PoolBuilder::grace) are killed. It does not wait; [`join`](Self::join) does.
    pub fn terminate(&self) {
        self.engine().terminate();
    }

    /// The same, and waits for the end of the workers, but no longer than this.
    ///
    /// # Errors
    /// [`PoolError::Timeout`]; the end goes on.
    pub fn terminate_timeout(&self, timeout: Duration) -> Result<(), PoolError> {
        self.engine().terminate();
        self.engine().join(Some(timeout))
    }

    /// Waits until all workers have ended and all callbacks have been called.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`] before [`close`](Self::close) or [`terminate`](Self::terminate).
    pub fn join(&self) -> Result<(), PoolError> {
        self.engine().join(None)
    }

    /// The same, but no longer than this.
    ///
    /// # Errors
    /// As [`join`](Self::join); [`PoolError::Timeout`], after which it can be called again.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), PoolError> {
        self.engine().join(Some(timeout))
    }
}
