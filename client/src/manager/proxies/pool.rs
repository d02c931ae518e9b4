//! `PoolProxy` and `AsyncResultProxy`.

use crate::codec::{self, Codec, CodecError};
use crate::manager::client::Late;
use crate::manager::error::{ManagerError, RemoteError};
use crate::manager::handle::{Answered, Came, items, pack_all};
use crate::manager::proxy::{Proxy, proxy};
use crate::manager::wire::{Body, Op, PendingOp, PoolOp};
use crate::pool::Unary;
use crate::task::Task;
use std::collections::VecDeque;
use std::time::Duration;

/// So many tasks of an [`imap`](PoolProxy::imap) are under way at once.
const WINDOW: usize = 64;

proxy! {
    /// A pool whose workers are processes of a manager's server, as `SyncManager.Pool`: any number
    /// of processes, on any machine, have their tasks run there. The server must be a process of
    /// this program.
    ///
    /// Whatever else happens to a task than that it returns is a
    /// [`RemoteError`]: its `kind` is `panic`, `WorkerLost`, `DeadlineExceeded`, `Cancelled`,
    /// `Rejected` or `PoolError`. A pool ends with the last proxy of it.
    ///
    /// Within one process and its children, a [`Pool`](crate::pool::Pool) is much faster.
    ///
    /// ```no_run
    /// use mpserverd_client as mp;
    ///
    /// #[mp::task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// fn main() -> Result<(), mp::ManagerError> {
    ///     mp::freeze_support();
    ///     let manager = mp::get_context(None).manager()?;
    ///     let pool = manager.pool(4)?;
    ///     assert_eq!(pool.apply::<square>((7,))?, 49);
    ///     assert_eq!(pool.map::<square>([1, 2, 3])?, [1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    PoolProxy
}

proxy! {
    /// The results of tasks of a [`PoolProxy`] that are to come, as `AsyncResult` of
    /// `multiprocessing`. Whoever has it can wait for them, and get them more than once.
    AsyncResultProxy<T>
}

fn outcome<T: Task>(came: Came<'_>, proxy: &'static str) -> Result<T::Output, ManagerError> {
    let read = came.read(proxy, |bytes| match bytes {
        [0, value @ ..] => T::decode(Codec::Bincode, false, value).map(Ok),
        [1, value @ ..] => T::decode(Codec::Bincode, true, value).map(Ok),
        [2, error @ ..] => codec::decode::<RemoteError>(Codec::Bincode, error).map(Err),
        _ => Err(CodecError::Malformed("no outcome of a task".to_owned())),
    })?;
    read.map_err(ManagerError::Remote)
}

/// All outcomes, or the first, in order, that is no result.
fn outcomes<T: Task>(
    answered: &Answered,
    proxy: &'static str,
) -> Result<Vec<T::Output>, ManagerError> {
    let Body::Items(items) = answered.body()? else {
        return Err(ManagerError::Protocol(format!("{proxy}: an answer of another kind")));
    };
    let came = items.into_iter().map(|item| Came::with(&answered.client, item));
    came.map(|came| outcome::<T>(came, proxy)).collect()
}

fn only<T>(mut values: Vec<T>, proxy: &'static str) -> Result<T, ManagerError> {
    values.pop().ok_or_else(|| ManagerError::Protocol(format!("{proxy}: no outcome came")))
}

impl PoolProxy {
    fn run<T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Args>,
        detached: bool,
    ) -> Result<Answered, ManagerError> {
        let client = self.handle.client()?;
        let inputs = inputs.into_iter().collect::<Vec<_>>();
        let packed = pack_all(&client, Self::NAME, &inputs)?;
        let (name, schema) = (T::NAME, T::SCHEMA);
        let op = PoolOp::Run { name, schema, inputs: items(&packed), detached };
        self.handle.ask_by(&client, Self::NAME, Op::Pool(op))
    }

    fn run_detached<T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Args>,
    ) -> Result<AsyncResultProxy<T>, ManagerError> {
        let (handle, _) = self.run::<T>(inputs, true)?.object()?;
        Ok(AsyncResultProxy::from_handle(handle))
    }

    /// Runs a task and waits for its result.
    ///
    /// # Errors
    /// [`ManagerError`], `Remote` among others.
    pub fn apply<T: Task>(&self, args: T::Args) -> Result<T::Output, ManagerError> {
        only(outcomes::<T>(&self.run::<T>([args], false)?, Self::NAME)?, Self::NAME)
    }

    /// Submits a task.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn apply_async<T: Task>(&self, args: T::Args) -> Result<AsyncResultProxy<T>, ManagerError> {
        self.run_detached([args])
    }

    /// Applies a task to each input, and waits for all results.
    ///
    /// # Errors
    /// [`ManagerError`]; that of the first input, in order, that has no result.
    pub fn map<T: Unary<Args = (<T as Unary>::Arg,)>>(
        &self,
        inputs: impl IntoIterator<Item = <T as Unary>::Arg>,
    ) -> Result<Vec<T::Output>, ManagerError> {
        self.starmap::<T>(inputs.into_iter().map(|input| (input,)))
    }

    /// Submits a task for each input.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn map_async<T: Unary<Args = (<T as Unary>::Arg,)>>(
        &self,
        inputs: impl IntoIterator<Item = <T as Unary>::Arg>,
    ) -> Result<AsyncResultProxy<T>, ManagerError> {
        self.starmap_async::<T>(inputs.into_iter().map(|input| (input,)))
    }

    /// The same as [`map`](Self::map) with the arguments of each call as a tuple.
    ///
    /// # Errors
    /// As there.
    pub fn starmap<T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Args>,
    ) -> Result<Vec<T::Output>, ManagerError> {
        outcomes::<T>(&self.run::<T>(inputs, false)?, Self::NAME)
    }

    /// The same as [`map_async`](Self::map_async) with the arguments of each call as a tuple.
    ///
    /// # Errors
    /// As there.
    pub fn starmap_async<T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Args>,
    ) -> Result<AsyncResultProxy<T>, ManagerError> {
        self.run_detached(inputs)
    }

    /// Applies a task to inputs that are taken as results are: 64 are under way at once. Results
    /// come in the order of the inputs.
    pub fn imap<T: Unary<Args = (<T as Unary>::Arg,)>>(
        &self,
        inputs: impl IntoIterator<Item = <T as Unary>::Arg>,
    ) -> impl Iterator<Item = Result<T::Output, ManagerError>> {
        let (pool, mut inputs) = (self.clone(), inputs.into_iter());
        let mut under_way = VecDeque::new();
        std::iter::from_fn(move || {
            while under_way.len() < WINDOW
                && let Some(input) = inputs.next()
            {
                under_way.push_back(pool.apply_async::<T>((input,)));
            }
            under_way.pop_front().map(|submitted: Result<AsyncResultProxy<T>, _>| {
                only(submitted?.get_all()?, Self::NAME)
            })
        })
    }

    /// Takes no more tasks; what was submitted is done, then the workers end.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn close(&self) -> Result<(), ManagerError> {
        self.handle.ask(Self::NAME, Op::Pool(PoolOp::Close))?.done()
    }

    /// Ends everything at once.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn terminate(&self) -> Result<(), ManagerError> {
        self.handle.ask(Self::NAME, Op::Pool(PoolOp::Terminate))?.done()
    }

    /// Waits until all workers have ended; false if the time passes first.
    ///
    /// # Errors
    /// [`ManagerError`], `Remote` before [`close`](Self::close) or [`terminate`](Self::terminate).
    pub fn join(&self, timeout: Option<Duration>) -> Result<bool, ManagerError> {
        let millis = |timeout: Duration| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let op = PoolOp::Join { timeout_ms: timeout.map(millis) };
        self.handle.ask(Self::NAME, Op::Pool(op))?.yes()
    }
}

impl<T: Task> AsyncResultProxy<T> {
    /// Waits for the result of what was applied once; of a map the last one.
    ///
    /// # Errors
    /// [`ManagerError`], `Remote` among others.
    pub fn get(&self) -> Result<T::Output, ManagerError> {
        only(self.get_all()?, Self::NAME)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Timeout`, after which it can be called again.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T::Output, ManagerError> {
        only(self.get_all_timeout(timeout)?, Self::NAME)
    }

    /// Waits for all results of a map.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_all(&self) -> Result<Vec<T::Output>, ManagerError> {
        outcomes::<T>(&self.wait_within(None)?, Self::NAME)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_all_timeout(&self, timeout: Duration) -> Result<Vec<T::Output>, ManagerError> {
        let answered = self.wait_within(Some(timeout))?;
        match answered.body()? {
            Body::Yes(false) => Err(ManagerError::Timeout(crate::TimeoutError(timeout))),
            _ => outcomes::<T>(&answered, Self::NAME),
        }
    }

    fn wait_within(&self, timeout: Option<Duration>) -> Result<Answered, ManagerError> {
        let op = Op::Pending(PendingOp::Get);
        self.handle.ask_waiting(Self::NAME, op, timeout, Late::Nothing)
    }

    /// Whether [`get`](Self::get) would not wait.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn ready(&self) -> Result<bool, ManagerError> {
        self.handle.ask(Self::NAME, Op::Pending(PendingOp::Ready))?.yes()
    }
}
