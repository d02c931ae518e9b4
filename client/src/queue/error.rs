//! What can go wrong with queues.

use crate::codec::CodecError;
use std::fmt;
use std::io;

/// Why an item was not put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// There was no room in time: `queue.Full`.
    #[error("{queue}: full")]
    Full {
        /// The type of the queue.
        queue: &'static str,
    },
    /// This process has closed the queue.
    #[error("{queue}: put on a queue that this process has closed")]
    Closed {
        /// The type of the queue.
        queue: &'static str,
    },
    /// The item cannot be written as bytes.
    #[error("{queue}: the item cannot be put: {source}")]
    Encode {
        /// The type of the queue.
        queue: &'static str,
        /// What its `Serialize` said.
        source: CodecError,
    },
    /// Nobody could take an item any more: no process has the queue or a [`Consumer`] of it.
    ///
    /// [`Consumer`]: super::Consumer
    #[error("{queue}: nobody is left who could take an item")]
    ConsumersGone {
        /// The type of the queue.
        queue: &'static str,
    },
    /// More descriptors than one item may carry.
    #[error("{queue}: an item with {count} descriptors; {limit} are possible")]
    TooManyFds {
        /// The type of the queue.
        queue: &'static str,
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The system did not take what goes beside the memory: descriptors, or a large item.
    #[error("{queue}: {call}: {source}")]
    System {
        /// The type of the queue.
        queue: &'static str,
        /// The call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody has scribbled over the memory of the queue.
    #[error("{queue}: its memory was overwritten with what cannot be")]
    Damaged {
        /// The type of the queue.
        queue: &'static str,
    },
}

/// Why [`put_many`](super::Queue::put_many) ended early.
#[derive(Debug, thiserror::Error)]
#[error("{source} (after {done} items that were put)")]
pub struct PutManyError {
    /// How many items were put: the first ones, in order.
    pub done: usize,
    /// What became of the next one.
    pub source: PutError,
}

/// Why there is no item.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There was none in time: `queue.Empty`.
    #[error("{queue}: empty")]
    Empty {
        /// The type of the queue.
        queue: &'static str,
    },
    /// This process has closed the queue.
    #[error("{queue}: get on a queue that this process has closed")]
    Closed {
        /// The type of the queue.
        queue: &'static str,
    },
    /// There is none and there will be none: no process has the queue or a [`Producer`] of it, on
    /// the way or in its hands, and everything that was put has been taken.
    ///
    /// [`Producer`]: super::Producer
    #[error("{queue}: empty, and nobody is left who could put an item")]
    ProducersGone {
        /// The type of the queue.
        queue: &'static str,
    },
    /// An item came that is none of this queue's type. It is taken; here are its bytes.
    #[error("{queue}: an item of {} bytes cannot be read: {source}", bytes.len())]
    Decode {
        /// The type of the queue.
        queue: &'static str,
        /// What its `Deserialize` said.
        source: CodecError,
        /// The item.
        bytes: Vec<u8>,
    },
    /// This process does not have the reducer that the items of the queue are encoded by. Nothing
    /// is taken.
    #[error("{queue}: {source}")]
    Reducer {
        /// The type of the queue.
        queue: &'static str,
        /// The reducer of the queue, and those of this process.
        source: CodecError,
    },
    /// The descriptors of an item did not arrive. It is taken.
    #[error("{queue}: descriptors of an item were lost: {source}")]
    DescriptorsLost {
        /// The type of the queue.
        queue: &'static str,
        /// What the system said; `EMFILE` is the limit of open files.
        source: io::Error,
    },
    /// More processes have items that are not done than a joinable queue can remember.
    #[error("{queue}: {limit} processes have items that are not done, which is the limit")]
    TooManyConsumers {
        /// The type of the queue.
        queue: &'static str,
        /// How many processes may have some at once.
        limit: usize,
    },
    /// Somebody has scribbled over the memory of the queue.
    #[error("{queue}: its memory was overwritten with what cannot be")]
    Damaged {
        /// The type of the queue.
        queue: &'static str,
    },
}

/// Why [`get_many`](super::Queue::get_many) gave no list.
#[derive(thiserror::Error)]
#[error("{source}")]
pub struct GetManyError<T> {
    /// What could be read all the same, in order: all items that were taken but those that are
    /// none of the queue's type.
    pub items: Vec<T>,
    /// The first error.
    pub source: GetError,
}

impl<T> fmt::Debug for GetManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetManyError")
            .field("items", &self.items.len())
            .field("source", &self.source)
            .finish()
    }
}

impl PutError {
    /// Whether there was no room in time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

impl GetError {
    /// Whether there was no item in time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty { .. })
    }

    /// Whether there will be no item any more.
    #[must_use]
    pub fn is_producers_gone(&self) -> bool {
        matches!(self, Self::ProducersGone { .. })
    }
}
