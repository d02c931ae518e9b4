//! `JoinableQueue`: a queue that knows what is not done yet.

use super::core::{Core, SharedCore, Side, Wait};
use super::error::{GetError, GetManyError, PutError, PutManyError};
use super::handle::Producer;
use super::item::QueueItem;
use super::iter::Items;
use super::join::{Join, JoinError, TooManyTasksDone};
use super::methods::{
    common_methods, constructors, get_methods, put_methods, queue_handle, task_methods, waitable,
};
use super::options::QueueOptions;
use crate::reducer::Reducer;
use crate::shared::ShareError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// A [`Queue`](super::Queue) whose items have to be done: whoever takes one says
/// [`task_done`](Self::task_done) afterwards, and [`join`](Self::join) waits until that was said
/// of all, as `multiprocessing.JoinableQueue`.
///
/// A process that is killed with items that it had taken does not make others wait for ever: when
/// everything else is done, `join` says how many were lost.
///
/// ```
/// use mpserverd_client as mp;
///
/// let queue = mp::JoinableQueue::<u32>::new()?;
/// queue.put_many(&[1, 2])?;
/// for _ in 0..2 {
///     let _item = queue.get()?;
///     queue.task_done()?;
/// }
/// queue.join()?;
/// assert!(queue.task_done().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T> {
    core: SharedCore,
    _items: PhantomData<fn(T) -> T>,
}

/// The side of a [`JoinableQueue`] that takes.
pub struct JoinableConsumer<T> {
    core: SharedCore,
    _items: PhantomData<fn() -> T>,
}

queue_handle!(JoinableQueue, Both, joinable: true);
queue_handle!(JoinableConsumer, Take, joinable: true);
waitable!(JoinableQueue);
waitable!(JoinableConsumer);

impl<T: QueueItem> JoinableQueue<T> {
    constructors!();

    /// A new queue with these bounds.
    ///
    /// # Errors
    /// [`ShareError`]; [`ShareError::Size`] for bounds that cannot be.
    pub fn with_options(options: QueueOptions) -> Result<Self, ShareError> {
        let core = Core::new("JoinableQueue", &options, Some(Join::new()?))?;
        Ok(Self { core: Arc::new(core), _items: PhantomData })
    }

    /// The side that puts, without the other.
    #[must_use]
    pub fn producer(&self) -> Producer<T> {
        let core = Arc::new(self.core.side("Producer", Side::Put));
        Producer { core, _items: PhantomData }
    }

    /// The side that takes, without the other.
    #[must_use]
    pub fn consumer(&self) -> JoinableConsumer<T> {
        let core = Arc::new(self.core.side("JoinableConsumer", Side::Take));
        JoinableConsumer { core, _items: PhantomData }
    }

    /// Waits until everything that was put is done.
    ///
    /// # Errors
    /// [`JoinError::ItemsLost`].
    pub fn join(&self) -> Result<(), JoinError> {
        self.core.join(Wait::FOR_EVER)
    }

    /// The same, but waits no longer than this.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.core.join(Wait::within(timeout))
    }

    /// Waits until everything that was put is done, without keeping a thread: the awaited
    /// [`join`](Self::join). Dropping the future changes nothing.
    ///
    /// # Errors
    /// [`JoinError::ItemsLost`].
    pub async fn join_async(&self) -> Result<(), JoinError> {
        self.core.join_async().await
    }

    put_methods!();
    get_methods!();
    task_methods!();
    common_methods!();
}

impl<T: QueueItem> JoinableConsumer<T> {
    get_methods!();
    task_methods!();
    common_methods!();
}
