//! An [`RLock`] that is awaited. Its owner cannot be a thread, since tasks change theirs; so it is
//! the guard.

use super::{OwnerDied, RLock, Taken};
use crate::sync::awaited;
use crate::sync::raw::atomics::own_identity;
use crate::sys::identity::fresh_tag;

/// A held [`RLock`], for tasks: the guard *is* the owner, and may go to another thread. Releases
/// the lock once when dropped, in the process that took it.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct AsyncRLockGuard<'a> {
    lock: &'a RLock,
    owner: u64,
    taken_by: u64,
}

impl RLock {
    /// Takes it, however long that takes, without keeping a thread.
    ///
    /// The owner is not a thread then, nor a task, of which this library knows nothing: it is the
    /// guard. Whoever has that can [take it again](AsyncRLockGuard::again); all others wait, those
    /// of the same thread or task too. Methods of the lock that ask for a thread's lock
    /// ([`release`](Self::release), [`make_consistent`](Self::make_consistent)) say `NotOwner`.
    ///
    /// Dropping the future leaves the lock to others.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = mp::RLock::new()?;
    /// let guard = lock.lock_async().await.unwrap();
    /// {
    ///     let _inner = guard.again().unwrap();
    /// }
    /// assert!(matches!(lock.try_lock(), Err(mp::TryLockError::WouldBlock)));
    /// drop(guard);
    /// assert!(!lock.locked());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if its last owner died with it.
    pub async fn lock_async(&self) -> Result<AsyncRLockGuard<'_>, OwnerDied<AsyncRLockGuard<'_>>> {
        let taken = awaited::lock(&self.0, |state| state.raw.word()).await;
        let owner = fresh_tag();
        let taken = self.raw().enter_as(owner, taken, 1);
        self.owned(owner, taken)
    }

    fn owned(
        &self,
        owner: u64,
        taken: Taken,
    ) -> Result<AsyncRLockGuard<'_>, OwnerDied<AsyncRLockGuard<'_>>> {
        let guard = AsyncRLockGuard { lock: self, owner, taken_by: own_identity() };
        match taken {
            Taken::Clean => Ok(guard),
            Taken::OwnerDied => Err(OwnerDied(guard)),
        }
    }
}

impl AsyncRLockGuard<'_> {
    /// Takes it once more. It is free when all guards of it are gone.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, as long as nobody has said that all is well.
    ///
    /// # Panics
    /// In a fork of the process that took it.
    pub fn again(&self) -> Result<Self, OwnerDied<Self>> {
        let own = self.taken_by == own_identity();
        let taken = self.lock.raw().again_as(self.owner).filter(|_| own);
        self.lock.owned(self.owner, taken.expect("the guard of the process that took the lock"))
    }

    /// Says that what the lock protects is in order again, after its owner died.
    pub fn make_consistent(&self) {
        self.lock.raw().word().make_consistent();
    }
}

impl Drop for AsyncRLockGuard<'_> {
    fn drop(&mut self) {
        // In a fork it is a copy: the lock is the parent's.
        if self.taken_by == own_identity() {
            let _ = self.lock.raw().unlock_as(self.owner);
        }
    }
}
