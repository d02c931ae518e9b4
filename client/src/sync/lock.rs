//! `Lock`: mutual exclusion between processes, with an owner that may die.

use super::error::{Acquired, OwnerDied, SyncError, TryLockError};
use super::raw::atomics::{Deadline, shared_struct};
use super::raw::lock::{RawLock, Taken};
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::time::Duration;

mod awaited;

pub use awaited::AsyncLockGuard;

shared_struct! {
    /// A lock as it lies in memory.
    pub(crate) struct LockState {
        pub(super) raw: RawLock,
    }
}

impl Object for LockState {
    const KIND: u32 = 1;
    const NAME: &'static str = "Lock";
}

/// A lock between processes, not recursive, as `multiprocessing.Lock`. Clones are the same lock,
/// here and in every process that a clone travels to.
///
/// Its owner is a *process*: any thread of it, and indeed anybody, may [`release`](Self::release)
/// it. When the owner dies, whoever waits gets the lock within 100 ms and learns it. A thread that
/// ends without releasing leaves it locked while its process lives, and so does a process that
/// replaces itself by `exec`.
///
/// An uncontended pair of `lock` and drop makes no system call. Waiters sleep; those that have
/// waited more than a millisecond take turns in the order in which they began to sleep, so none
/// starves.
///
/// ```
/// use mpserverd_client as mp;
///
/// let lock = mp::Lock::new()?;
/// {
///     let _guard = lock.lock().unwrap();
///     assert!(lock.locked());
/// }
/// assert!(lock.acquire(true, None).is_held());
/// lock.release()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lock(Shareable<LockState>);

/// A held [`Lock`]; releases it when dropped.
///
/// It cannot go to another thread, so that a thread that ends takes its guards along. What must be
/// released elsewhere is taken with [`Lock::acquire`].
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    _not_send: PhantomData<*const ()>,
}

impl Lock {
    /// A new lock, free.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptor for it.
    pub fn new() -> Result<Self, ShareError> {
        Shareable::new(|_| ()).map(Self)
    }

    pub(super) fn handle(&self) -> &Shareable<LockState> {
        &self.0
    }

    pub(super) fn raw(&self) -> &RawLock {
        &self.0.raw
    }

    fn guard(&self) -> LockGuard<'_> {
        LockGuard { lock: self, _not_send: PhantomData }
    }

    fn guarded(&self, taken: Taken) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        match taken {
            Taken::Clean => Ok(self.guard()),
            Taken::OwnerDied => Err(OwnerDied(self.guard())),
        }
    }

    /// Takes it, however long that takes.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if its last owner died with it.
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        loop {
            if let Ok(taken) = self.0.raw.lock(Deadline::NEVER) {
                return self.guarded(taken);
            }
        }
    }

    /// Takes it if it is free.
    ///
    /// # Errors
    /// [`TryLockError`].
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        let taken = self.0.raw.try_lock().ok_or(TryLockError::WouldBlock)?;
        Ok(self.guarded(taken)?)
    }

    /// Takes it, waiting no longer than this.
    ///
    /// # Errors
    /// [`TryLockError`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        let taken = self.0.raw.lock(Deadline::within(timeout));
        Ok(self.guarded(taken.map_err(|_| TryLockError::WouldBlock)?)?)
    }

    /// Takes it as `multiprocessing` does: waits if `block` is set, for ever without a timeout. A
    /// timeout without `block` is ignored.
    pub fn acquire(&self, block: bool, timeout: Option<Duration>) -> Acquired {
        let taken =
            if block { self.0.raw.lock(Deadline::of(timeout)).ok() } else { self.0.raw.try_lock() };
        Acquired::from(taken)
    }

    /// Releases it, whichever process holds it.
    ///
    /// # Errors
    /// [`SyncError::NotHeld`] if nobody does.
    pub fn release(&self) -> Result<(), SyncError> {
        self.0.raw.unlock().map_err(|_| SyncError::NotHeld { object: LockState::NAME })
    }

    /// Whether somebody holds it just now.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.0.raw.is_locked()
    }

    /// Says that what the lock protects is in order again, after its owner died. To be called
    /// while this process holds it.
    ///
    /// # Errors
    /// [`SyncError::NotOwner`] if this process does not hold it.
    pub fn make_consistent(&self) -> Result<(), SyncError> {
        if !self.0.raw.is_own() {
            return Err(SyncError::NotOwner { object: LockState::NAME });
        }
        self.0.raw.make_consistent();
        Ok(())
    }

    /// Whether both are the same lock.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }
}

impl From<Option<Taken>> for Acquired {
    fn from(taken: Option<Taken>) -> Self {
        match taken {
            Some(Taken::Clean) => Self::Yes,
            Some(Taken::OwnerDied) => Self::OwnerDied,
            None => Self::No,
        }
    }
}

impl LockGuard<'_> {
    /// Says that what the lock protects is in order again, after its owner died.
    pub fn make_consistent(&self) {
        self.lock.0.raw.make_consistent();
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // Somebody who called `release` on a lock that he does not hold may have been faster.
        let _ = self.lock.0.raw.unlock();
    }
}
