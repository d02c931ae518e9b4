//! `Queue`, and its sides.

use super::core::{Core, SharedCore, Side, Wait};
use super::error::{GetError, GetManyError, PutError, PutManyError};
use super::item::QueueItem;
use super::iter::Items;
use super::methods::{
    common_methods, constructors, get_methods, put_methods, queue_handle, waitable,
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

/// A queue between processes, as `multiprocessing.Queue`. Clones are the same queue, here and in
/// every process that a clone travels to; everybody may put and get.
///
/// Items lie in shared memory, in one order for all: an item whose `put` returned before another
/// one's began is taken before it, whoever put them. No thread is involved, and there is nothing
/// to flush: a process may exit, or be killed, as soon as `put` has returned. Whoever is killed in
/// the middle of `put` has put nothing; whoever is killed in the middle of `get` leaves the item
/// to the next one.
///
/// Without bounds it holds 1 GiB of items, of which only what is in use takes memory; then `put`
/// waits. A single item that is larger than the queue travels beside it.
///
/// Those who wait look after each other: [`get`](Self::get) ends with
/// [`GetError::ProducersGone`] when the last process that could put has let go of the queue,
/// however it ended. That takes a side: who has a whole `Queue` could put. So whoever only takes
/// keeps a [`Consumer`] and lets go of the rest.
///
/// ```
/// use mpserverd_client as mp;
///
/// let queue = mp::Queue::<u32>::new()?;
/// let (producer, consumer) = queue.split();
/// for item in 0..3 {
///     producer.put(&item)?;
/// }
/// drop(producer); // or give it to another process, which ends some time
/// let items = consumer.iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(items, [0, 1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    pub(super) core: SharedCore,
    _items: PhantomData<fn(T) -> T>,
}

/// The side of a [`Queue`] that puts. The queue has producers as long as anybody has one of these,
/// or a whole queue.
pub struct Producer<T> {
    pub(super) core: SharedCore,
    pub(super) _items: PhantomData<fn(T)>,
}

/// The side of a [`Queue`] that takes.
pub struct Consumer<T> {
    core: SharedCore,
    _items: PhantomData<fn() -> T>,
}

queue_handle!(Queue, Both, joinable: false);
queue_handle!(Producer, Put, joinable: false);
queue_handle!(Consumer, Take, joinable: false);
waitable!(Queue);
waitable!(Consumer);

impl<T> Queue<T> {
    pub(super) fn named(name: &'static str, options: &QueueOptions) -> Result<Self, ShareError> {
        Ok(Self { core: Arc::new(Core::new(name, options, None)?), _items: PhantomData })
    }
}

impl<T: QueueItem> Queue<T> {
    constructors!();

    /// A new queue with these bounds.
    ///
    /// # Errors
    /// [`ShareError`]; [`ShareError::Size`] for bounds that cannot be.
    pub fn with_options(options: QueueOptions) -> Result<Self, ShareError> {
        Self::named("Queue", &options)
    }

    /// The side that puts, without the other.
    #[must_use]
    pub fn producer(&self) -> Producer<T> {
        let core = Arc::new(self.core.side("Producer", Side::Put));
        Producer { core, _items: PhantomData }
    }

    /// The side that takes, without the other.
    #[must_use]
    pub fn consumer(&self) -> Consumer<T> {
        let core = Arc::new(self.core.side("Consumer", Side::Take));
        Consumer { core, _items: PhantomData }
    }

    /// Both sides. Other clones of the queue go on being both.
    #[must_use]
    pub fn split(self) -> (Producer<T>, Consumer<T>) {
        (self.producer(), self.consumer())
    }

    put_methods!();
    get_methods!();
    common_methods!();
}

impl<T: QueueItem> Producer<T> {
    put_methods!();
    common_methods!();
}

impl<T: QueueItem> Consumer<T> {
    get_methods!();
    common_methods!();
}
