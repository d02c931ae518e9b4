//! `SimpleQueue`: a queue that can do less.

use super::error::{GetError, PutError};
use super::handle::Queue;
use super::item::QueueItem;
use super::options::QueueOptions;
use crate::reducer::Reducer;
use crate::shared::ShareError;
use serde::{Deserialize, Serialize};

/// A queue that can only `put`, `get`, say whether it is `empty` and `close`, as
/// `multiprocessing.SimpleQueue`. It is a [`Queue`] underneath, with all that holds for one.
///
/// ```
/// use mpserverd_client as mp;
///
/// let queue = mp::SimpleQueue::<String>::new()?;
/// queue.put(&"hello".to_owned())?;
/// assert!(!queue.empty()?);
/// assert_eq!(queue.get()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SimpleQueue<T>(Queue<T>);

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: QueueItem> SimpleQueue<T> {
    /// A new queue.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptors for it.
    pub fn new() -> Result<Self, ShareError> {
        Self::with_reducer(Reducer::default())
    }

    /// A new queue whose items are encoded by this reducer.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_reducer(reducer: Reducer) -> Result<Self, ShareError> {
        Queue::named("SimpleQueue", &QueueOptions::new().reducer(reducer)).map(Self)
    }

    /// What its items are encoded by.
    #[must_use]
    pub fn reducer(&self) -> Reducer {
        self.0.reducer()
    }

    /// Puts an item.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put(&self, item: &T) -> Result<(), PutError> {
        self.0.put(item)
    }

    /// Takes the next item, waiting for it.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get()
    }

    /// Puts an item: the awaited [`put`](Self::put). It is encoded by this call; dropping the
    /// future puts nothing.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put_async(
        &self,
        item: &T,
    ) -> impl Future<Output = Result<(), PutError>> + Send + use<'_, T> {
        self.0.put_async(item)
    }

    /// Takes the next item: the awaited [`get`](Self::get). Dropping the future takes none.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.get_async().await
    }

    /// Whether nothing was in it at a moment during the call.
    ///
    /// # Errors
    /// [`GetError::Closed`].
    pub fn empty(&self) -> Result<bool, GetError> {
        if self.0.closed() { Err(self.0.core.get_closed()) } else { Ok(self.0.empty()) }
    }

    /// Gives up this process's share in it; see [`Queue::close`].
    pub fn close(&self) {
        self.0.close();
    }
}
