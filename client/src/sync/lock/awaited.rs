//! A [`Lock`] that is awaited.

use super::{Acquired, Lock, OwnerDied, Taken};
use crate::sync::awaited;
use crate::sync::raw::atomics::own_identity;

/// A held [`Lock`], for tasks: it may go to another thread. Releases the lock when dropped, by the
/// process that took it.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct AsyncLockGuard<'a> {
    lock: &'a Lock,
    taken_by: u64,
}

impl Lock {
    /// Takes it, however long that takes, without keeping a thread: the awaited
    /// [`lock`](Self::lock). The owner is this process, as always.
    ///
    /// Dropping the future leaves the lock to others; a wake-up that was meant for it is passed on.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = mp::Lock::new()?;
    /// let guard = lock.lock_async().await.unwrap();
    /// assert!(lock.locked());
    /// drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if its last owner died with it.
    pub async fn lock_async(&self) -> Result<AsyncLockGuard<'_>, OwnerDied<AsyncLockGuard<'_>>> {
        let taken = awaited::lock(&self.0, |state| &state.raw).await;
        let guard = AsyncLockGuard { lock: self, taken_by: own_identity() };
        match taken {
            Taken::Clean => Ok(guard),
            Taken::OwnerDied => Err(OwnerDied(guard)),
        }
    }

    /// Takes it without a guard: the awaited [`acquire`](Self::acquire), which is
    /// [released](Self::release) by anybody.
    ///
    /// Dropping the future leaves the lock to others.
    pub async fn acquire_async(&self) -> Acquired {
        Acquired::from(Some(awaited::lock(&self.0, |state| &state.raw).await))
    }
}

impl AsyncLockGuard<'_> {
    /// Says that what the lock protects is in order again, after its owner died.
    pub fn make_consistent(&self) {
        self.lock.0.raw.make_consistent();
    }
}

impl Drop for AsyncLockGuard<'_> {
    fn drop(&mut self) {
        // In a fork it is a copy: the lock is the parent's.
        if self.taken_by == own_identity() {
            let _ = self.lock.0.raw.unlock();
        }
    }
}
