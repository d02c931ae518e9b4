//! The lock of a `Value` or an `Array`, whichever it is.

use crate::sync::{Acquired, Lock, OwnerDied, RLock, SyncError, TryLockError};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::time::Duration;

/// The lock of a [`Value`](super::Value) or an [`Array`](super::Array): what `get_lock` gives in
/// `multiprocessing`. It may be the lock of many of them, and of other things.
///
/// ```
/// use mpserverd_client as mp;
///
/// let lock = mp::Lock::new()?;
/// let from = mp::Value::with_lock(100i64, &lock)?;
/// let to = mp::Value::with_lock(0i64, &lock)?;
/// assert!(from.get_lock().is_same(to.get_lock()));
///
/// // Both at once: the objects behind the lock, which is taken once.
/// let _guard = lock.lock().unwrap_or_else(mp::OwnerDied::into_inner);
/// from.get_obj().set(from.get_obj().get() - 30);
/// to.get_obj().set(to.get_obj().get() + 30);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AnyLock {
    /// One that its owner must not take again.
    Lock(Lock),
    /// One that its owner may take again.
    RLock(RLock),
}

impl AnyLock {
    /// Takes it: waits if `block` is set, for ever without a timeout. A timeout without `block` is
    /// ignored.
    pub fn acquire(&self, block: bool, timeout: Option<Duration>) -> Acquired {
        match self {
            Self::Lock(lock) => lock.acquire(block, timeout),
            Self::RLock(lock) => lock.acquire(block, timeout),
        }
    }

    /// Releases it.
    ///
    /// # Errors
    /// [`SyncError`], as the lock's own method.
    pub fn release(&self) -> Result<(), SyncError> {
        match self {
            Self::Lock(lock) => lock.release(),
            Self::RLock(lock) => lock.release(),
        }
    }

    /// Whether somebody holds it just now.
    #[must_use]
    pub fn locked(&self) -> bool {
        match self {
            Self::Lock(lock) => lock.locked(),
            Self::RLock(lock) => lock.locked(),
        }
    }

    /// Says that what the lock protects is in order again, after its owner died.
    ///
    /// # Errors
    /// [`SyncError`], as the lock's own method.
    pub fn make_consistent(&self) -> Result<(), SyncError> {
        match self {
            Self::Lock(lock) => lock.make_consistent(),
            Self::RLock(lock) => lock.make_consistent(),
        }
    }

    /// Whether both are the same lock.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lock(one), Self::Lock(other)) => one.is_same(other),
            (Self::RLock(one), Self::RLock(other)) => one.is_same(other),
            (Self::Lock(_), Self::RLock(_)) | (Self::RLock(_), Self::Lock(_)) => false,
        }
    }

    /// Takes it, however long that takes; tells whether its owner had died.
    #[inline]
    pub(super) fn hold(&self) -> (Held<'_>, bool) {
        loop {
            match self.acquire(true, None) {
                Acquired::Yes => return (Held::new(self), false),
                Acquired::OwnerDied => return (Held::new(self), true),
                Acquired::No => {}
            }
        }
    }

    /// A guard made of the lock once held, which is taken as `acquire` takes it.
    pub(super) fn guarded<'a, G>(
        &'a self,
        block: bool,
        timeout: Option<Duration>,
        guard: impl FnOnce(Held<'a>) -> G,
    ) -> Result<G, TryLockError<G>> {
        match self.acquire(block, timeout) {
            Acquired::Yes => Ok(guard(Held::new(self))),
            Acquired::OwnerDied => Err(OwnerDied(guard(Held::new(self))).into()),
            Acquired::No => Err(TryLockError::WouldBlock),
        }
    }
}

impl From<Lock> for AnyLock {
    fn from(lock: Lock) -> Self {
        Self::Lock(lock)
    }
}

impl From<&Lock> for AnyLock {
    fn from(lock: &Lock) -> Self {
        Self::Lock(lock.clone())
    }
}

impl From<RLock> for AnyLock {
    fn from(lock: RLock) -> Self {
        Self::RLock(lock)
    }
}

impl From<&RLock> for AnyLock {
    fn from(lock: &RLock) -> Self {
        Self::RLock(lock.clone())
    }
}

impl From<&Self> for AnyLock {
    fn from(lock: &Self) -> Self {
        lock.clone()
    }
}

/// The lock is held; it is released when this is dropped. It stays with its thread.
#[derive(Debug)]
pub(super) struct Held<'a> {
    lock: &'a AnyLock,
    _not_send: PhantomData<*const ()>,
}

impl<'a> Held<'a> {
    fn new(lock: &'a AnyLock) -> Self {
        Self { lock, _not_send: PhantomData }
    }

    pub(super) fn make_consistent(&self) {
        // It is held, unless somebody has released it for this thread: then it is theirs to say.
        let _ = self.lock.make_consistent();
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // Somebody may have released it for this thread.
        let _ = self.lock.release();
    }
}
