//! `RLock`: a lock that its owner may take again.

use super::error::{Acquired, OwnerDied, SyncError, TryLockError};
use super::raw::atomics::{Deadline, shared_struct};
use super::raw::lock::Taken;
use super::raw::rlock::RawRLock;
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::time::Duration;

mod awaited;

pub use awaited::AsyncRLockGuard;

shared_struct! {
    /// A recursive lock as it lies in memory.
    pub(crate) struct RLockState {
        pub(super) raw: RawRLock,
    }
}

impl Object for RLockState {
    const KIND: u32 = 2;
    const NAME: &'static str = "RLock";
}

/// A recursive lock between processes, as `multiprocessing.RLock`. Clones are the same lock, here
/// and in every process that a clone travels to.
///
/// Its owner is a *thread* of a process: it may take the lock again, through any handle, and must
/// release it as often. When the owner's process dies, whoever waits gets the lock within 100 ms
/// and learns it, however deep the dead one was in it. A thread that ends without releasing leaves
/// it locked while its process lives.
///
/// Costs and fairness are those of [`Lock`](super::Lock); taking it again makes no system call.
///
/// ```
/// use mpserverd_client as mp;
///
/// let lock = mp::RLock::new()?;
/// let outer = lock.lock().unwrap();
/// {
///     let _inner = lock.lock().unwrap();
/// }
/// assert!(lock.locked());
/// drop(outer);
/// assert!(!lock.locked());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RLock(Shareable<RLockState>);

/// A held [`RLock`]; releases it once when dropped. It stays with its thread.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    _not_send: PhantomData<*const ()>,
}

impl RLock {
    /// A new lock, free.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptor for it.
    pub fn new() -> Result<Self, ShareError> {
        Shareable::new(|_| ()).map(Self)
    }

    pub(super) fn handle(&self) -> &Shareable<RLockState> {
        &self.0
    }

    pub(super) fn raw(&self) -> &RawRLock {
        &self.0.raw
    }

    fn guard(&self) -> RLockGuard<'_> {
        RLockGuard { lock: self, _not_send: PhantomData }
    }

    fn guarded(&self, taken: Taken) -> Result<RLockGuard<'_>, OwnerDied<RLockGuard<'_>>> {
        match taken {
            Taken::Clean => Ok(self.guard()),
            Taken::OwnerDied => Err(OwnerDied(self.guard())),
        }
    }

    /// Takes it, however long that takes.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if its last owner died with it, and until somebody says that
    /// all is well: to a thread that takes it again, too.
    #[inline]
    pub fn lock(&self) -> Result<RLockGuard<'_>, OwnerDied<RLockGuard<'_>>> {
        loop {
            if let Ok(taken) = self.raw().lock(Deadline::NEVER) {
                return self.guarded(taken);
            }
        }
    }

    /// Takes it if it is free or this thread's already.
    ///
    /// # Errors
    /// [`TryLockError`].
    #[inline]
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        let taken = self.raw().try_lock().ok_or(TryLockError::WouldBlock)?;
        Ok(self.guarded(taken)?)
    }

    /// Takes it, waiting no longer than this.
    ///
    /// # Errors
    /// [`TryLockError`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        let taken = self.raw().lock(Deadline::within(timeout));
        Ok(self.guarded(taken.map_err(|_| TryLockError::WouldBlock)?)?)
    }

    /// Takes it as `multiprocessing` does: waits if `block` is set, for ever without a timeout. A
    /// timeout without `block` is ignored.
    pub fn acquire(&self, block: bool, timeout: Option<Duration>) -> Acquired {
        let raw = self.raw();
        let taken = if block { raw.lock(Deadline::of(timeout)).ok() } else { raw.try_lock() };
        Acquired::from(taken)
    }

    /// Releases it once. It is free when it was released as often as it was taken.
    ///
    /// # Errors
    /// [`SyncError::NotOwner`] if this thread does not hold it.
    pub fn release(&self) -> Result<(), SyncError> {
        self.raw().unlock().map_err(|_| SyncError::NotOwner { object: RLockState::NAME })
    }

    /// Whether somebody holds it just now.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.raw().word().is_locked()
    }

    /// Says that what the lock protects is in order again, after its owner died. To be called
    /// by the thread that holds it.
    ///
    /// # Errors
    /// [`SyncError::NotOwner`] if this thread does not hold it.
    pub fn make_consistent(&self) -> Result<(), SyncError> {
        if !self.raw().is_own() {
            return Err(SyncError::NotOwner { object: RLockState::NAME });
        }
        self.raw().word().make_consistent();
        Ok(())
    }

    /// Whether both are the same lock.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }
}

impl RLockGuard<'_> {
    /// Says that what the lock protects is in order again, after its owner died.
    pub fn make_consistent(&self) {
        self.lock.raw().word().make_consistent();
    }
}

impl Drop for RLockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // This thread may have called `release` for it already.
        let _ = self.lock.raw().unlock();
    }
}
