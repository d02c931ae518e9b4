//! What processes share, made by a context: the factories of `multiprocessing`'s.
//!
//! An object belongs to no start method: one that any of these makes goes to processes of every
//! context, and the constructors of the types do the same. What has values on its way, queues and
//! connections, encodes them by the reducer of the context.
//!
//! What must never be in here: anything but calls of constructors.

use super::Context;
use crate::connection::{
    Address, Client, ClientBuilder, Connection, ConnectionError, Listener, ListenerBuilder, pipe,
};
#[cfg(target_os = "linux")]
use crate::{
    queue::{JoinableQueue, Queue, QueueItem, QueueOptions, SimpleQueue},
    shared::{
        AnyLock, Array, ListItem, Plain, RawArray, RawValue, ShareError, ShareableList,
        SharedMemory, Value,
    },
    sync::{Barrier, BoundedSemaphore, Condition, ConditionLock, Event, Lock, RLock, Semaphore},
};
#[cfg(target_os = "linux")]
use std::time::Duration;

/// Connections.
impl Context {
    /// Two connected [`Connection`]s, as [`pipe`]: with `duplex` both send and receive; without,
    /// the first only receives and the second only sends.
    ///
    /// # Errors
    /// [`ConnectionError::System`] when the system has no descriptors for them.
    pub fn pipe(&self, duplex: bool) -> Result<(Connection, Connection), ConnectionError> {
        let (first, second) = pipe(duplex)?;
        Ok((first.with_reducer(self.reducer()), second.with_reducer(self.reducer())))
    }

    /// A listener that is about to be bound, as [`Listener::builder`].
    pub fn listener(&self) -> ListenerBuilder {
        Listener::builder().reducer(self.reducer())
    }

    /// A connection that is about to be made, as [`Client::builder`].
    pub fn client(&self, address: impl Into<Address>) -> ClientBuilder {
        Client::builder(address).reducer(self.reducer())
    }
}

/// Locks and what is built on them. Each fails with [`ShareError`] when the system has no memory or
/// no descriptor for the object.
///
/// ```
/// use mpserverd_client as mp;
///
/// let ctx = mp::get_context(mp::StartMethod::Spawn);
/// let lock = ctx.lock()?;
/// let changed = ctx.condition_with_lock(&lock)?;
/// let _guard = lock.lock().unwrap_or_else(mp::OwnerDied::into_inner);
/// assert_eq!(changed.notify_all()?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(target_os = "linux")]
impl Context {
    /// A [`Lock`].
    ///
    /// # Errors
    /// See above.
    pub fn lock(&self) -> Result<Lock, ShareError> {
        Lock::new()
    }

    /// An [`RLock`].
    ///
    /// # Errors
    /// See above.
    pub fn rlock(&self) -> Result<RLock, ShareError> {
        RLock::new()
    }

    /// A [`Condition`] with a recursive lock of its own.
    ///
    /// # Errors
    /// See above.
    pub fn condition(&self) -> Result<Condition, ShareError> {
        Condition::new()
    }

    /// A [`Condition`] of a lock that others may use too: `Condition(lock)`.
    ///
    /// # Errors
    /// See above.
    pub fn condition_with_lock(
        &self,
        lock: impl Into<ConditionLock>,
    ) -> Result<Condition, ShareError> {
        Condition::with_lock(lock)
    }

    /// A [`Semaphore`] with so many permits.
    ///
    /// # Errors
    /// See above; [`ShareError::Size`] for more permits than there can be.
    pub fn semaphore(&self, value: u32) -> Result<Semaphore, ShareError> {
        Semaphore::new(value)
    }

    /// A [`BoundedSemaphore`] with so many permits, and never more.
    ///
    /// # Errors
    /// As [`semaphore`](Self::semaphore).
    pub fn bounded_semaphore(&self, value: u32) -> Result<BoundedSemaphore, ShareError> {
        BoundedSemaphore::new(value)
    }

    /// An [`Event`], not set.
    ///
    /// # Errors
    /// See above.
    pub fn event(&self) -> Result<Event, ShareError> {
        Event::new()
    }

    /// A [`Barrier`] of so many parties; the timeout is that of waits that do not say. An action
    /// is given where it runs: [`Barrier::wait_with`].
    ///
    /// # Errors
    /// See above; [`ShareError::Size`] for no parties or more than 1024.
    pub fn barrier(
        &self,
        parties: usize,
        timeout: Option<Duration>,
    ) -> Result<Barrier, ShareError> {
        Barrier::new(parties, timeout)
    }
}

/// Queues. Each fails with [`ShareError`] when the system has no memory or no descriptors for it.
#[cfg(target_os = "linux")]
impl Context {
    /// A [`Queue`] for any number of items.
    ///
    /// # Errors
    /// See above.
    pub fn queue<T: QueueItem>(&self) -> Result<Queue<T>, ShareError> {
        Queue::with_reducer(self.reducer())
    }

    /// A [`Queue`] with bounds; `Queue(maxsize)` is `QueueOptions::new().max_items(maxsize)`.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let ctx = mp::get_context(mp::StartMethod::Spawn);
    /// let queue = ctx.queue_with::<u8>(mp::QueueOptions::new().max_items(1))?;
    /// queue.put(&1)?;
    /// assert!(matches!(queue.put_nowait(&2), Err(mp::PutError::Full { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See above; [`ShareError::Size`] for bounds that cannot be.
    pub fn queue_with<T: QueueItem>(&self, options: QueueOptions) -> Result<Queue<T>, ShareError> {
        Queue::with_options(options.or_reducer(self.reducer()))
    }

    /// A [`JoinableQueue`] for any number of items.
    ///
    /// # Errors
    /// See above.
    pub fn joinable_queue<T: QueueItem>(&self) -> Result<JoinableQueue<T>, ShareError> {
        JoinableQueue::with_reducer(self.reducer())
    }

    /// A [`JoinableQueue`] with bounds.
    ///
    /// # Errors
    /// As [`queue_with`](Self::queue_with).
    pub fn joinable_queue_with<T: QueueItem>(
        &self,
        options: QueueOptions,
    ) -> Result<JoinableQueue<T>, ShareError> {
        JoinableQueue::with_options(options.or_reducer(self.reducer()))
    }

    /// A [`SimpleQueue`].
    ///
    /// # Errors
    /// See above.
    pub fn simple_queue<T: QueueItem>(&self) -> Result<SimpleQueue<T>, ShareError> {
        SimpleQueue::with_reducer(self.reducer())
    }
}

/// Values, arrays and segments. Each fails with [`ShareError`] when the system has no memory or no
/// descriptor for it; what is `lock=False` in `multiprocessing` is the raw one.
///
/// ```
/// use mpserverd_client as mp;
///
/// let ctx = mp::get_context(mp::StartMethod::Spawn);
/// let (total, cells) = (ctx.value(0u64)?, ctx.array(&[1u32, 2, 3])?);
/// total.fetch_add(cells.iter()?.map(u64::from).sum());
/// assert_eq!(total.value(), 6);
/// # Ok::<(), mp::ShareError>(())
/// ```
#[cfg(target_os = "linux")]
impl Context {
    /// A [`RawValue`].
    ///
    /// # Errors
    /// See above.
    pub fn raw_value<T: Plain>(&self, value: T) -> Result<RawValue<T>, ShareError> {
        RawValue::new(value)
    }

    /// A [`RawArray`] with a copy of these elements. For zeros: [`RawArray::zeroed`].
    ///
    /// # Errors
    /// See above.
    pub fn raw_array<T: Plain>(&self, elements: &[T]) -> Result<RawArray<T>, ShareError> {
        RawArray::from_slice(elements)
    }

    /// A [`Value`] with a recursive lock of its own.
    ///
    /// # Errors
    /// See above.
    pub fn value<T: Plain>(&self, value: T) -> Result<Value<T>, ShareError> {
        Value::new(value)
    }

    /// A [`Value`] with a lock that others may use too: `Value(…, lock=lock)`.
    ///
    /// # Errors
    /// See above.
    pub fn value_with_lock<T: Plain>(
        &self,
        value: T,
        lock: impl Into<AnyLock>,
    ) -> Result<Value<T>, ShareError> {
        Value::with_lock(value, lock)
    }

    /// An [`Array`] with a copy of these elements and a recursive lock of its own. For zeros:
    /// [`Array::zeroed`].
    ///
    /// # Errors
    /// See above.
    pub fn array<T: Plain>(&self, elements: &[T]) -> Result<Array<T>, ShareError> {
        Array::from_slice(elements)
    }

    /// An [`Array`] with a lock that others may use too: `Array(…, lock=lock)`.
    ///
    /// # Errors
    /// See above.
    pub fn array_with_lock<T: Plain>(
        &self,
        elements: &[T],
        lock: impl Into<AnyLock>,
    ) -> Result<Array<T>, ShareError> {
        Array::with_lock(elements, lock)
    }

    /// A new segment of shared memory of that many bytes, under this name or one that nobody has:
    /// [`SharedMemory::create`].
    ///
    /// # Errors
    /// As there.
    pub fn shared_memory(
        &self,
        name: Option<&str>,
        size: usize,
    ) -> Result<SharedMemory, ShareError> {
        SharedMemory::create(name, size)
    }

    /// The segment of this name: [`SharedMemory::attach`].
    ///
    /// # Errors
    /// As there.
    pub fn attach_shared_memory(&self, name: &str) -> Result<SharedMemory, ShareError> {
        SharedMemory::attach(name)
    }

    /// A [`ShareableList`] of these items, in a segment of its own.
    ///
    /// # Errors
    /// As [`ShareableList::new`].
    pub fn shareable_list(
        &self,
        items: impl IntoIterator<Item = ListItem>,
    ) -> Result<ShareableList, ShareError> {
        ShareableList::new(items)
    }
}
