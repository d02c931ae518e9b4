//! `QueueProxy` and `JoinableQueueProxy`.

use crate::manager::client::Late;
use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, Handle, pack};
use crate::manager::proxy::proxy;
use crate::manager::wire::{Body, Op, QueueOp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

proxy! {
    /// A queue in a manager's server, as `SyncManager.Queue`.
    ///
    /// Between processes of one machine, [`Queue`](crate::Queue) in shared memory is a thousand
    /// times as fast; this one reaches other machines, and outlives all who use it.
    ///
    /// An item is with the server when `put` returns. One that the server was just sending to a
    /// process that dies is lost with it.
    QueueProxy<T>
}

proxy! {
    /// A queue in a manager's server that knows what is not done yet, as
    /// `SyncManager.JoinableQueue`.
    ///
    /// Items that were taken by a process that died before it said that they are done count as
    /// lost, which `join` tells: [`JoinError::ItemsLost`](crate::queue::JoinError).
    JoinableQueueProxy<T>
}

fn sizes(handle: &Handle, name: &'static str) -> Result<(usize, usize, usize), ManagerError> {
    let answered = handle.ask(name, Op::Queue(QueueOp::Size))?;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    match answered.body()? {
        Body::Sizes { items, maxsize, unfinished } => {
            Ok((number(items), number(maxsize), number(unfinished)))
        }
        _ => Err(ManagerError::Protocol(format!("{name}: an answer of another kind"))),
    }
}

/// A call whose time passed is answered with what it means, unless the server is stopped.
fn late(
    result: Result<Answered, ManagerError>,
    means: ManagerError,
) -> Result<Answered, ManagerError> {
    match result {
        Err(ManagerError::Timeout(_)) => Err(means),
        other => other,
    }
}

macro_rules! queue {
    ($name:ident) => {
        impl<T: Serialize + DeserializeOwned> $name<T> {
            /// Puts an item; waits while there is no room.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn put(&self, item: &T) -> Result<(), ManagerError> {
                self.put_with(item, true, None)
            }

            /// The same, waiting no longer than this.
            ///
            /// # Errors
            /// [`ManagerError`], `Full` among others.
            pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), ManagerError> {
                self.put_with(item, true, Some(timeout))
            }

            /// Puts an item if there is room.
            ///
            /// # Errors
            /// [`ManagerError`], `Full` among others.
            pub fn put_nowait(&self, item: &T) -> Result<(), ManagerError> {
                self.put_with(item, false, None)
            }

            /// Puts an item as `multiprocessing` does: waits if `block` is set, for ever without a
            /// timeout. A timeout without `block` is ignored.
            ///
            /// # Errors
            /// [`ManagerError`], `Full` among others. If the server does not answer in time it is
            /// `Timeout`, and whether the item was put cannot be known.
            pub fn put_with(
                &self,
                item: &T,
                block: bool,
                timeout: Option<Duration>,
            ) -> Result<(), ManagerError> {
                let packed = pack(&*self.handle.client()?, Self::NAME, item)?;
                let op = Op::Queue(QueueOp::Put { item: packed.item(), block });
                let timeout = timeout.filter(|_| block);
                self.handle.ask_waiting(Self::NAME, op, timeout, Late::Nothing)?.done()
            }

            /// Takes the oldest item; waits while there is none.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn get(&self) -> Result<T, ManagerError> {
                self.get_with(true, None)
            }

            /// The same, waiting no longer than this.
            ///
            /// # Errors
            /// [`ManagerError`], `Empty` among others.
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
                self.get_with(true, Some(timeout))
            }

            /// Takes the oldest item if there is one.
            ///
            /// # Errors
            /// [`ManagerError`], `Empty` among others.
            pub fn get_nowait(&self) -> Result<T, ManagerError> {
                self.get_with(false, None)
            }

            /// Takes an item as `multiprocessing` does: waits if `block` is set, for ever without
            /// a timeout. A timeout without `block` is ignored.
            ///
            /// # Errors
            /// [`ManagerError`], `Empty` among others.
            pub fn get_with(
                &self,
                block: bool,
                timeout: Option<Duration>,
            ) -> Result<T, ManagerError> {
                let op = Op::Queue(QueueOp::Get { block });
                let timeout = timeout.filter(|_| block);
                let empty = ManagerError::Empty { proxy: Self::NAME };
                late(self.handle.ask_waiting(Self::NAME, op, timeout, Late::PutBack), empty)?.one()
            }

            /// How many items there are.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn qsize(&self) -> Result<usize, ManagerError> {
                Ok(sizes(&self.handle, Self::NAME)?.0)
            }

            /// Whether there are none.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn empty(&self) -> Result<bool, ManagerError> {
                self.qsize().map(|items| items == 0)
            }

            /// Whether there is no room.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn full(&self) -> Result<bool, ManagerError> {
                let (items, maxsize, _) = sizes(&self.handle, Self::NAME)?;
                Ok(maxsize > 0 && items >= maxsize)
            }
        }
    };
}

queue!(QueueProxy);
queue!(JoinableQueueProxy);

impl<T: Serialize + DeserializeOwned> JoinableQueueProxy<T> {
    /// Says that an item that was taken is done.
    ///
    /// # Errors
    /// [`ManagerError`], `TasksDone` among others.
    pub fn task_done(&self) -> Result<(), ManagerError> {
        self.handle.ask(Self::NAME, Op::Queue(QueueOp::TaskDone { items: 1 }))?.done()
    }

    /// How many items are not done.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn unfinished(&self) -> Result<usize, ManagerError> {
        Ok(sizes(&self.handle, Self::NAME)?.2)
    }

    /// Waits until all items are done.
    ///
    /// # Errors
    /// [`ManagerError`], `Join` among others.
    pub fn join(&self) -> Result<(), ManagerError> {
        self.join_within(None)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// [`ManagerError`], `Join` among others.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), ManagerError> {
        self.join_within(Some(timeout))
    }

    fn join_within(&self, timeout: Option<Duration>) -> Result<(), ManagerError> {
        let op = Op::Queue(QueueOp::Join);
        self.handle.ask_waiting(Self::NAME, op, timeout, Late::Nothing)?.done()
    }
}
