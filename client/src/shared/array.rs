//! `Array`: many values that processes share, with a lock.

use super::accessors::accessors;
use super::any_lock::{AnyLock, Held};
use super::array_guard::ArrayGuard;
use super::error::ShareError;
use super::plain::{Number, Plain};
use super::raw_array::RawArray;
use crate::sync::{Acquired, OwnerDied, RLock, SyncError, TryLockError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeBounds;
use std::time::Duration;

/// An array that processes share, with a lock, as `multiprocessing.Array`. Clones are the same
/// array, here and in every process that a clone travels to. What `lock=False` gives is a
/// [`RawArray`].
///
/// Each method takes the lock for itself. [`lock`](Self::lock) gives a guard for more than that,
/// which reads and writes whole slices, in place too.
///
/// The array knows whether somebody is changing it. Whoever dies with the lock and has only read
/// does no harm. Whoever dies while writing leaves it half-changed: from then on the methods here
/// fail with [`ShareError::OwnerDied`], until somebody who has [taken](Self::lock) the lock and
/// put it in order [says so](ArrayGuard::make_consistent).
///
/// ```
/// use mpserverd_client as mp;
///
/// let array = mp::Array::from_slice(&[1, 2, 3, 4i32])?;
/// array.set(0, 10)?;
/// {
///     let guard = array.lock().unwrap_or_else(mp::OwnerDied::into_inner);
///     let sum = guard.iter().sum();
///     guard.set(3, sum)?;
/// }
/// assert_eq!(array.slice(..)?, [10, 2, 3, 19]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Array<T: Plain> {
    raw: RawArray<T>,
    lock: AnyLock,
}

impl<T: Plain> Array<T> {
    /// So many elements, all zeros, with a recursive lock of their own.
    ///
    /// # Errors
    /// As [`RawArray::zeroed`].
    pub fn zeroed(length: usize) -> Result<Self, ShareError> {
        Ok(Self::synchronized(RawArray::zeroed(length)?, RLock::new()?))
    }

    /// A copy of these elements, with a recursive lock of its own.
    ///
    /// # Errors
    /// As [`RawArray::zeroed`].
    pub fn from_slice(elements: &[T]) -> Result<Self, ShareError> {
        Self::with_lock(elements, RLock::new()?)
    }

    /// A copy of these elements, with a lock that others may use too.
    ///
    /// # Errors
    /// As [`RawArray::zeroed`].
    pub fn with_lock(elements: &[T], lock: impl Into<AnyLock>) -> Result<Self, ShareError> {
        Ok(Self::synchronized(RawArray::from_slice(elements)?, lock))
    }

    /// A lock before an array that exists, as `multiprocessing.sharedctypes.synchronized`.
    pub fn synchronized(raw: RawArray<T>, lock: impl Into<AnyLock>) -> Self {
        Self { raw, lock: lock.into() }
    }

    /// Its lock.
    #[must_use]
    pub fn get_lock(&self) -> &AnyLock {
        &self.lock
    }

    /// The array without the lock.
    #[must_use]
    pub fn get_obj(&self) -> &RawArray<T> {
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

    fn guard<'a>(&'a self, held: Held<'a>) -> ArrayGuard<'a, T> {
        ArrayGuard::new(&self.raw, held)
    }

    /// Takes its lock for more than one access.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if the lock's last owner died with it.
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, OwnerDied<ArrayGuard<'_, T>>> {
        let (held, died) = self.lock.hold();
        let guard = self.guard(held);
        if died { Err(OwnerDied(guard)) } else { Ok(guard) }
    }

    /// The same, if the lock is free.
    ///
    /// # Errors
    /// [`TryLockError`].
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, TryLockError<ArrayGuard<'_, T>>> {
        self.lock.guarded(false, None, |held| self.guard(held))
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// [`TryLockError`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ArrayGuard<'_, T>, TryLockError<ArrayGuard<'_, T>>> {
        self.lock.guarded(true, Some(timeout), |held| self.guard(held))
    }

    /// Takes the lock for one access.
    fn access(&self) -> Result<ArrayGuard<'_, T>, ShareError> {
        let (held, died) = self.lock.hold();
        let guard = self.guard(held);
        if died && guard.is_half_changed() {
            return Err(ShareError::OwnerDied { object: "Array" });
        }
        Ok(guard)
    }

    accessors!(
        self,
        read: self.access()?,
        write: self.access()?,
        errors: "[`ShareError::OutOfRange`], [`ShareError::OwnerDied`]."
    );

    /// Replaces an element by what the function makes of it, under the lock, and gives the old one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn update(&self, index: usize, with: impl FnOnce(T) -> T) -> Result<T, ShareError> {
        let guard = self.access()?;
        let old = guard.get(index)?;
        guard.set(index, with(old))?;
        Ok(old)
    }

    /// A copy of all elements.
    ///
    /// # Errors
    /// [`ShareError::OwnerDied`].
    pub fn to_vec(&self) -> Result<Vec<T>, ShareError> {
        self.slice(..)
    }

    /// The elements as they are now, all at once.
    ///
    /// # Errors
    /// [`ShareError::OwnerDied`].
    pub fn iter(&self) -> Result<impl ExactSizeIterator<Item = T> + use<T>, ShareError> {
        Ok(self.to_vec()?.into_iter())
    }

    /// A new array with a new recursive lock, as `multiprocessing.sharedctypes.copy`.
    ///
    /// # Errors
    /// As [`RawArray::zeroed`]; [`ShareError::OwnerDied`].
    pub fn copy(&self) -> Result<Self, ShareError> {
        Self::from_slice(&self.to_vec()?)
    }

    /// Whether both are the same object.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.raw.is_same(&other.raw)
    }
}

impl<T: Number> Array<T> {
    /// Adds to an element, under the lock, and gives what was there before. Integers wrap around.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn fetch_add(&self, index: usize, value: T) -> Result<T, ShareError> {
        self.update(index, |old| old.add(value))
    }
}

/// What an array of characters has in `multiprocessing`.
impl Array<u8> {
    /// The bytes before the first zero, or all.
    ///
    /// # Errors
    /// [`ShareError::OwnerDied`].
    pub fn value(&self) -> Result<Vec<u8>, ShareError> {
        Ok(self.access()?.obj().value())
    }

    /// Replaces the first bytes, and ends them with a zero if there is room for it.
    ///
    /// # Errors
    /// [`ShareError::TooLong`], [`ShareError::OwnerDied`].
    pub fn set_value(&self, bytes: &[u8]) -> Result<(), ShareError> {
        self.access()?.changing().set_value(bytes)
    }

    /// All bytes.
    ///
    /// # Errors
    /// [`ShareError::OwnerDied`].
    pub fn raw(&self) -> Result<Vec<u8>, ShareError> {
        self.to_vec()
    }

    /// Replaces the first bytes.
    ///
    /// # Errors
    /// As [`set_value`](Self::set_value).
    pub fn set_raw(&self, bytes: &[u8]) -> Result<(), ShareError> {
        self.access()?.changing().set_raw(bytes)
    }
}

impl<T: Plain> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), lock: self.lock.clone() }
    }
}

impl<T: Plain> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("array", &self.raw).field("lock", &self.lock).finish()
    }
}
