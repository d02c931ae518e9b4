//! `Value`: one value that processes share, with a lock.

use super::any_lock::{AnyLock, Held};
use super::error::ShareError;
use super::plain::{Number, Plain};
use super::raw_value::RawValue;
use crate::sync::{Acquired, OwnerDied, RLock, SyncError, TryLockError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A value that processes share, with a lock, as `multiprocessing.Value`. Clones are the same
/// value, here and in every process that a clone travels to. What `lock=False` gives is a
/// [`RawValue`].
///
/// Each method takes the lock for itself; [`update`](Self::update) and
/// [`fetch_add`](Self::fetch_add) read and write under it at once, as `value += 1` does not in
/// `multiprocessing`. [`lock`](Self::lock) gives a guard for more than that.
///
/// Whoever dies with the lock leaves the value whole: as it was, or as it was to be. So the methods
/// here say nothing of it, and [`lock`](Self::lock) and [`acquire`](Self::acquire) do.
///
/// ```
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn count(total: mp::Value<u64>, times: u32) {
///     for _ in 0..times {
///         total.fetch_add(1);
///     }
/// }
///
/// let total = mp::Value::new(5u64)?;
/// assert_eq!(total.fetch_add(1), 5);
/// assert_eq!(total.update(|value| value * 7), 6);
/// let guard = total.lock().unwrap_or_else(mp::OwnerDied::into_inner);
/// assert_eq!(guard.get(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Value<T: Plain> {
    raw: RawValue<T>,
    lock: AnyLock,
}

/// A [`Value`] whose lock is held; released when dropped. It stays with its thread.
#[must_use = "the lock is released when the guard is dropped"]
pub struct ValueGuard<'a, T: Plain> {
    raw: &'a RawValue<T>,
    held: Held<'a>,
}

impl<T: Plain> Value<T> {
    /// A value with a recursive lock of its own.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptor for it.
    pub fn new(value: T) -> Result<Self, ShareError> {
        Self::with_lock(value, RLock::new()?)
    }

    /// A value that is all zeros, with a recursive lock of its own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn zeroed() -> Result<Self, ShareError> {
        Self::new(T::zeroed())
    }

    /// A value with a lock that others may use too.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_lock(value: T, lock: impl Into<AnyLock>) -> Result<Self, ShareError> {
        Ok(Self::synchronized(RawValue::new(value)?, lock))
    }

    /// A lock before a value that exists, as `multiprocessing.sharedctypes.synchronized`.
    pub fn synchronized(raw: RawValue<T>, lock: impl Into<AnyLock>) -> Self {
        Self { raw, lock: lock.into() }
    }

    /// Its lock.
    #[must_use]
    pub fn get_lock(&self) -> &AnyLock {
        &self.lock
    }

    /// The value without the lock.
    #[must_use]
    pub fn get_obj(&self) -> &RawValue<T> {
        &self.raw
    }

    /// Takes its lock; see [`AnyLock::acquire`].
    pub fn acquire(&self, block: bool, timeout: Option<Duration>) -> Acquired {
        self.lock.acquire(block, timeout)
    }

    /// Releases its lock.
    ///
    /// # Errors
    /// As [`AnyLock::release`].
    pub fn release(&self) -> Result<(), SyncError> {
        self.lock.release()
    }

    /// Takes its lock for more than one access.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if the lock's last owner died with it.
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, OwnerDied<ValueGuard<'_, T>>> {
        let (held, died) = self.lock.hold();
        let guard = ValueGuard { raw: &self.raw, held };
        if died { Err(OwnerDied(guard)) } else { Ok(guard) }
    }

    /// The same, if the lock is free.
    ///
    /// # Errors
    /// [`TryLockError`].
    pub fn try_lock(&self) -> Result<ValueGuard<'_, T>, TryLockError<ValueGuard<'_, T>>> {
        self.lock.guarded(false, None, |held| ValueGuard { raw: &self.raw, held })
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// [`TryLockError`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ValueGuard<'_, T>, TryLockError<ValueGuard<'_, T>>> {
        self.lock.guarded(true, Some(timeout), |held| ValueGuard { raw: &self.raw, held })
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> T {
        let _held = self.lock.hold();
        self.raw.get()
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        let _held = self.lock.hold();
        self.raw.set(value);
    }

    /// Replaces the value by what the function makes of it, and gives the old one. Nobody who
    /// takes the lock sees anything in between, and if the function panics, or this process is
    /// killed, the old one stands.
    pub fn update(&self, with: impl FnOnce(T) -> T) -> T {
        let _held = self.lock.hold();
        let old = self.raw.get();
        self.raw.set(with(old));
        old
    }

    /// A new value with a new recursive lock, as `multiprocessing.sharedctypes.copy`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn copy(&self) -> Result<Self, ShareError> {
        Self::new(self.value())
    }

    /// Whether both are the same object.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.raw.is_same(&other.raw)
    }
}

impl<T: Number> Value<T> {
    /// Adds, under the lock, and gives what was there before. Integers wrap around.
    pub fn fetch_add(&self, value: T) -> T {
        self.update(|old| old.add(value))
    }
}

impl<T: Plain> ValueGuard<'_, T> {
    /// The value.
    #[must_use]
    pub fn get(&self) -> T {
        self.raw.get()
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        self.raw.set(value);
    }

    /// Says that what the lock protects is in order again, after its owner died.
    pub fn make_consistent(&self) {
        self.held.make_consistent();
    }
}

impl<T: Plain> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), lock: self.lock.clone() }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("value", &self.raw.get()).field("lock", &self.lock).finish()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ValueGuard").field(&self.raw.get()).finish()
    }
}
