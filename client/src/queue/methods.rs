//! What both a queue and one side of it can do.

/// How a queue is made, but for the last step, `with_options`.
macro_rules! constructors {
    () => {
        /// A new queue for any number of items.
        ///
        /// # Errors
        /// [`ShareError`] when the system has no memory or descriptors for it: it takes four.
        pub fn new() -> Result<Self, ShareError> {
            Self::with_options(QueueOptions::new())
        }

        /// A new queue for so many items; 0 is any number.
        ///
        /// # Errors
        /// [`ShareError`].
        pub fn bounded(maxsize: usize) -> Result<Self, ShareError> {
            Self::with_options(QueueOptions::new().max_items(maxsize))
        }

        /// A new queue for any number of items, which are encoded by this reducer.
        ///
        /// # Errors
        /// [`ShareError`].
        pub fn with_reducer(reducer: Reducer) -> Result<Self, ShareError> {
            Self::with_options(QueueOptions::new().reducer(reducer))
        }
    };
}

/// Methods of those who put; `self.core` is the queue.
macro_rules! put_methods {
    () => {
        /// Puts an item, waiting for room as long as that takes.
        ///
        /// When this returns, the item is in the queue: its bytes are there, others see it, and
        /// the caller may exit or be killed.
        ///
        /// # Errors
        /// [`PutError`], above all [`PutError::Encode`] when the item cannot be serialised.
        #[inline]
        pub fn put(&self, item: &T) -> Result<(), PutError> {
            self.core.put_item(item, Wait::FOR_EVER)
        }

        /// Puts an item, waiting for room no longer than this.
        ///
        /// # Errors
        /// [`PutError`]; [`PutError::Full`] when the time has passed.
        pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), PutError> {
            self.core.put_item(item, Wait::within(timeout))
        }

        /// Puts an item if there is room.
        ///
        /// # Errors
        /// [`PutError`]; [`PutError::Full`] when there is none.
        #[inline]
        pub fn put_nowait(&self, item: &T) -> Result<(), PutError> {
            self.core.put_item(item, Wait::No)
        }

        /// Puts an item as `Queue.put` of the reference does: a timeout without `block` is
        /// ignored.
        ///
        /// # Errors
        /// [`PutError`].
        pub fn put_with(
            &self,
            item: &T,
            block: bool,
            timeout: Option<Duration>,
        ) -> Result<(), PutError> {
            self.core.put_item(item, Wait::of(block, timeout))
        }

        /// Puts an item, waiting for room without keeping a thread: the awaited
        /// [`put`](Self::put). The item is encoded by this call, so the future does not borrow it.
        ///
        /// Dropping the future puts nothing; when it is ready, the item is in the queue.
        ///
        /// # Errors
        /// [`PutError`].
        pub fn put_async(
            &self,
            item: &T,
        ) -> impl Future<Output = Result<(), PutError>> + Send + use<'_, T> {
            self.core.put_item_async(item)
        }

        /// Puts items one after the other, much faster than one by one. Others' items may come
        /// between them. Returns how many there were.
        ///
        /// # Errors
        /// [`PutManyError`], which says how many were put.
        pub fn put_many<'a>(
            &self,
            items: impl IntoIterator<Item = &'a T>,
        ) -> Result<usize, PutManyError> {
            self.core.put_items(items, Wait::FOR_EVER)
        }

        /// The same, waiting for room no longer than this in all.
        ///
        /// # Errors
        /// [`PutManyError`], which says how many were put.
        pub fn put_many_timeout<'a>(
            &self,
            items: impl IntoIterator<Item = &'a T>,
            timeout: Duration,
        ) -> Result<usize, PutManyError> {
            self.core.put_items(items, Wait::within(timeout))
        }
    };
}

/// Methods of those who take; `self.core` is the queue.
macro_rules! get_methods {
    () => {
        /// Takes the next item, waiting as long as somebody could put one.
        ///
        /// # Errors
        /// [`GetError`]; [`GetError::ProducersGone`] when nobody could.
        #[inline]
        pub fn get(&self) -> Result<T, GetError> {
            self.core.get_item(Wait::FOR_EVER)
        }

        /// Takes the next item, waiting no longer than this.
        ///
        /// # Errors
        /// [`GetError`]; [`GetError::Empty`] when the time has passed.
        pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
            self.core.get_item(Wait::within(timeout))
        }

        /// Takes the next item if there is one.
        ///
        /// # Errors
        /// [`GetError`]; [`GetError::Empty`] when there is none.
        #[inline]
        pub fn get_nowait(&self) -> Result<T, GetError> {
            self.core.get_item(Wait::No)
        }

        /// Takes the next item as `Queue.get` of the reference does: a timeout without `block` is
        /// ignored.
        ///
        /// # Errors
        /// [`GetError`].
        pub fn get_with(&self, block: bool, timeout: Option<Duration>) -> Result<T, GetError> {
            self.core.get_item(Wait::of(block, timeout))
        }

        /// Takes the next item, waiting for it without keeping a thread: the awaited
        /// [`get`](Self::get).
        ///
        /// Dropping the future takes no item: it is taken when it is given.
        ///
        /// ```
        /// use mpserverd_client as mp;
        ///
        /// # #[tokio::main(flavor = "current_thread")]
        /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// let queue = mp::Queue::<u32>::bounded(1)?;
        /// let (put, got) = tokio::join!(queue.put_async(&7), queue.get_async());
        /// put?;
        /// assert_eq!(got?, 7);
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        /// [`GetError`]; [`GetError::ProducersGone`] when nobody could put one.
        pub async fn get_async(&self) -> Result<T, GetError> {
            self.core.get_item_async().await
        }

        /// Takes what there is, at least one item and at most so many: the awaited
        /// [`get_many`](Self::get_many).
        ///
        /// Dropping the future takes no item.
        ///
        /// # Errors
        /// [`GetManyError`].
        pub async fn get_many_async(&self, at_most: usize) -> Result<Vec<T>, GetManyError<T>> {
            self.core.get_items_async(at_most).await
        }

        /// Takes what there is, at least one item and at most so many, waiting for the first one.
        /// Much faster than one by one.
        ///
        /// # Errors
        /// [`GetManyError`].
        pub fn get_many(&self, at_most: usize) -> Result<Vec<T>, GetManyError<T>> {
            self.core.get_items(at_most, Wait::FOR_EVER)
        }

        /// The same, waiting for the first one no longer than this; not at all for a time of
        /// zero.
        ///
        /// # Errors
        /// [`GetManyError`].
        pub fn get_many_timeout(
            &self,
            at_most: usize,
            timeout: Duration,
        ) -> Result<Vec<T>, GetManyError<T>> {
            self.core.get_items(at_most, Wait::within(timeout))
        }

        /// Takes items until nobody is left who could put one. Errors of single items are given
        /// and do not end it.
        #[must_use]
        pub fn iter(&self) -> Items<'_, T> {
            Items::new(&self.core)
        }

        /// A descriptor that is readable while there are items, and when there will be none any
        /// more: for `poll(2)`, `epoll(7)`, [`wait`](crate::wait) and async runtimes, edge- or
        /// level-triggered. Take with [`get_nowait`](Self::get_nowait) until that is
        /// [`Empty`](GetError::Empty), then wait for it. It may be readable without an item: now
        /// and then for nothing, and when somebody else was faster.
        ///
        /// # Errors
        /// When the system has no descriptor for it: it takes two, at the first call.
        pub fn readiness(&self) -> io::Result<BorrowedFd<'_>> {
            self.core.watch()
        }
    };
}

/// Methods of everybody; `self.core` is the queue.
macro_rules! common_methods {
    () => {
        /// How many items are in it, exactly, at a moment during the call.
        #[must_use]
        #[inline]
        pub fn qsize(&self) -> usize {
            self.core.items()
        }

        /// Whether nothing was in it at a moment during the call. What was put before it is seen.
        #[must_use]
        pub fn empty(&self) -> bool {
            self.core.items() == 0
        }

        /// Whether it had no room even for the smallest item at a moment during the call.
        #[must_use]
        pub fn full(&self) -> bool {
            !self.core.memory.ring().has_room(2)
        }

        /// What its items are encoded by.
        #[must_use]
        pub fn reducer(&self) -> Reducer {
            Reducer::of(self.core.memory.codec)
        }

        /// Gives up this process's share in it, as far as clones of this handle go: from now on
        /// they give errors. What was put stays in the queue. Twice is once.
        pub fn close(&self) {
            self.core.close();
        }

        /// Whether this handle, or a clone of it in this process, was closed.
        #[must_use]
        pub fn closed(&self) -> bool {
            self.core.is_closed()
        }

        /// Whether both are the same queue.
        #[must_use]
        pub fn is_same(&self, other: &Self) -> bool {
            self.core.is(&other.core)
        }
    };
}

/// Methods of those who take from a joinable queue; `self.core` is the queue.
macro_rules! task_methods {
    () => {
        /// Says that an item that was taken is done, as each taker must for each item.
        ///
        /// # Errors
        /// [`TooManyTasksDone`] when nothing is unfinished.
        pub fn task_done(&self) -> Result<(), TooManyTasksDone> {
            self.core.task_done(1)
        }

        /// Says it of so many items at once.
        ///
        /// # Errors
        /// [`TooManyTasksDone`] when fewer are unfinished; then none is counted.
        pub fn tasks_done(&self, items: u32) -> Result<(), TooManyTasksDone> {
            self.core.task_done(items)
        }

        /// How many items were put and are not done yet.
        #[must_use]
        pub fn unfinished(&self) -> usize {
            self.core.unfinished()
        }
    };
}

/// A handle's place among values: it travels, clones are the same queue, and it has a name.
macro_rules! queue_handle {
    ($name:ident, $side:ident, joinable: $joinable:literal) => {
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self { core: self.core.clone(), _items: PhantomData }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({} items)", self.core.name, self.core.items())
            }
        }

        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.core.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let core =
                    Core::deserialize(deserializer, stringify!($name), Side::$side, $joinable)?;
                Ok(Self { core: Arc::new(core), _items: PhantomData })
            }
        }
    };
}

/// A handle that gets, among what [`wait`](crate::wait) waits for.
macro_rules! waitable {
    ($name:ident) => {
        impl<T> crate::Waitable for $name<T> {
            fn watch(&self) -> io::Result<BorrowedFd<'_>> {
                self.core.watch()
            }

            fn is_ready(&self, signalled: bool) -> bool {
                if signalled {
                    self.core.settle();
                }
                self.core.is_ready()
            }
        }
    };
}

pub(super) use {
    common_methods, constructors, get_methods, put_methods, queue_handle, task_methods, waitable,
};
