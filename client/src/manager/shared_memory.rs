//! `SharedMemoryManager`.

use crate::shared::{ListItem, ShareError, ShareableList, SharedMemory};
use std::sync::{Mutex, PoisonError};

/// Segments that go together, as `multiprocessing.managers.SharedMemoryManager`: made by
/// [`Context::shared_memory_manager`](crate::Context::shared_memory_manager).
///
/// When it is shut down or dropped, the names of all segments that were made by it are removed.
/// Whoever has one of them open keeps it until he drops it.
///
/// It needs no process of its own. Every segment is tracked, so that the names go also if this
/// process is killed: with the last process that holds them, as [`SharedMemory`] says.
///
/// ```
/// use mpserverd_client as mp;
///
/// let manager = mp::get_context(mp::StartMethod::Spawn).shared_memory_manager();
/// let segment = manager.shared_memory(4096)?;
/// let list = manager.shareable_list(["a".into(), 1.into()])?;
/// segment.write(0, b"hello")?;
/// let name = segment.name().to_owned();
/// manager.shutdown();
/// assert!(mp::SharedMemory::attach(&name).is_err());
/// assert_eq!(list.get(1)?, mp::ListItem::Int(1));
/// # Ok::<(), mp::ShareError>(())
/// ```
#[derive(Debug)]
pub struct SharedMemoryManager {
    segments: Mutex<Vec<SharedMemory>>,
    /// The process that made it: a fork of that leaves the names alone.
    owner: u32,
}

impl SharedMemoryManager {
    pub(super) fn new() -> Self {
        Self { segments: Mutex::default(), owner: std::process::id() }
    }

    fn keep(&self, segment: &SharedMemory) {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.push(segment.clone());
    }

    /// A segment of so many bytes, all zero.
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    pub fn shared_memory(&self, size: usize) -> Result<SharedMemory, ShareError> {
        let segment = SharedMemory::create(None, size)?;
        self.keep(&segment);
        Ok(segment)
    }

    /// A list of these items, in a segment.
    ///
    /// # Errors
    /// As [`ShareableList::new`].
    pub fn shareable_list(
        &self,
        items: impl IntoIterator<Item = ListItem>,
    ) -> Result<ShareableList, ShareError> {
        let list = ShareableList::new(items)?;
        self.keep(list.shm());
        Ok(list)
    }

    /// The names of all segments that were made by it.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.iter().map(|segment| segment.name().to_owned()).collect()
    }

    /// Removes the names. The same as dropping it.
    pub fn shutdown(self) {}
}

impl Drop for SharedMemoryManager {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        let segments = self.segments.get_mut().unwrap_or_else(PoisonError::into_inner);
        for segment in segments.drain(..) {
            // Somebody may have unlinked it already.
            let _ = segment.unlink();
        }
    }
}
