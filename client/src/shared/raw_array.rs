//! `RawArray`: many values that processes share, without a lock.

use super::error::ShareError;
use super::object::{Object, Shareable};
use super::plain::{self, Number, Plain};
use super::raw_value::Layout;
use crate::sync::raw::atomics::{AtomicU32, AtomicU64, Ordering, shared_struct};
use crate::sys::cell::{SharedCell, cells, natural_align};
use crate::sys::mapping::Region;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Range, RangeBounds};

/// Large arrays begin here, so that copies run at the speed of memory.
const CACHE_LINE: usize = 64;

shared_struct! {
    /// What lies before the elements.
    pub(super) struct ArrayState {
        layout: Layout,
        length: AtomicU64,
        /// Whether whoever holds the lock of an `Array` is changing it.
        pub(super) changing: AtomicU32,
        reserved: AtomicU32,
    }
}

impl Object for ArrayState {
    const KIND: u32 = 17;
    const NAME: &'static str = "RawArray";
}

/// An array that processes share, without a lock, as `multiprocessing.RawArray`. Clones are the
/// same array, here and in every process that a clone travels to.
///
/// An element of 1, 2, 4 or 8 bytes is read and written by one atomic instruction. Larger ones,
/// and slices, are copied at the speed of memory: whoever reads them while somebody writes them may
/// get a mixture, and so may everybody after the death of one who wrote. Take an
/// [`Array`](super::Array) where that matters.
///
/// Every access is checked against the length that the array was made with, whatever others write
/// into its memory. The memory returns to the system when no process has the array any more.
///
/// ```
/// use mpserverd_client as mp;
///
/// let array = mp::RawArray::from_slice(&[1i64, 2, 3, 4])?;
/// array.set(0, -1)?;
/// array.fetch_add(3, 10)?;
/// assert_eq!(array.to_vec(), [-1, 2, 3, 14]);
/// assert_eq!(array.slice(1..3)?, [2, 3]);
/// assert_eq!(array.iter().sum::<i64>(), 18);
/// assert!(array.get(4).is_err());
/// # Ok::<(), mp::ShareError>(())
/// ```
pub struct RawArray<T: Plain> {
    object: Shareable<ArrayState>,
    data: Region,
    /// This process's own knowledge: nobody else can change it.
    length: usize,
    _of: PhantomData<fn() -> T>,
}

impl<T: Plain> RawArray<T> {
    const CHECKED: () = plain::check::<T>();
    const ALIGN: usize =
        if natural_align::<T>() > CACHE_LINE { natural_align::<T>() } else { CACHE_LINE };

    /// So many elements, all zeros. Memory is used as elements are first written.
    ///
    /// # Errors
    /// [`ShareError::Size`] for more than there can be; [`ShareError`] when the system has no
    /// memory or descriptor for it.
    pub fn zeroed(length: usize) -> Result<Self, ShareError> {
        let () = Self::CHECKED;
        let bytes = length.checked_mul(size_of::<T>()).ok_or_else(|| ShareError::Size {
            object: ArrayState::NAME,
            what: format!("{length} elements of {} bytes exceed memory", size_of::<T>()),
        })?;
        let object = Shareable::with_tail(bytes, Self::ALIGN, |state: &ArrayState| {
            state.layout.describe::<T>();
            state.length.store(length as u64, Ordering::Relaxed);
        })?;
        Self::of(object)
    }

    /// A copy of these elements.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn from_slice(elements: &[T]) -> Result<Self, ShareError> {
        let new = Self::zeroed(elements.len())?;
        new.copy_from(0, elements)?;
        Ok(new)
    }

    fn of(object: Shareable<ArrayState>) -> Result<Self, ShareError> {
        let () = Self::CHECKED;
        object.layout.check::<T>(ArrayState::NAME)?;
        let damaged = || ShareError::Damaged { object: ArrayState::NAME };
        let length = object.length.load(Ordering::Relaxed);
        let length = usize::try_from(length).map_err(|_| damaged())?;
        let bytes = length.checked_mul(size_of::<T>()).ok_or_else(damaged)?;
        let data = object.tail(bytes, Self::ALIGN).ok_or_else(damaged)?;
        Ok(Self { object, data, length, _of: PhantomData })
    }

    pub(super) fn state(&self) -> &ArrayState {
        &self.object
    }

    /// How many elements there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The elements, in place. Nothing is copied; see [`SharedCell`] for what happens to those
    /// that others write meanwhile.
    #[inline]
    #[must_use]
    pub fn cells(&self) -> &[SharedCell<T>] {
        cells(&self.data, 0, self.length).unwrap_or_default()
    }

    /// One element, in place.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`].
    #[inline]
    pub fn cell(&self, index: usize) -> Result<&SharedCell<T>, ShareError> {
        self.cells().get(index).ok_or_else(|| self.out_of_range(index, index.saturating_add(1)))
    }

    #[cold]
    fn out_of_range(&self, from: usize, to: usize) -> ShareError {
        ShareError::OutOfRange { object: ArrayState::NAME, from, to, length: self.length }
    }

    /// Which elements a range means.
    pub(super) fn resolve(
        &self,
        range: impl RangeBounds<usize>,
    ) -> Result<Range<usize>, ShareError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => self.length,
        };
        if from <= to && to <= self.length {
            Ok(from..to)
        } else {
            Err(self.out_of_range(from, to))
        }
    }

    /// As [`resolve`](Self::resolve), of so many elements from `from` on.
    fn span(&self, from: usize, length: usize) -> Result<Range<usize>, ShareError> {
        self.resolve(from..from.saturating_add(length))
    }

    /// An element.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`].
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ShareError> {
        self.cell(index).map(SharedCell::get)
    }

    /// Replaces an element.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`].
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), ShareError> {
        self.cell(index).map(|cell| cell.set(value))
    }

    /// Copies the elements from `from` on, as many as `into` has.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`] if there are not so many; nothing is copied then.
    pub fn copy_to(&self, from: usize, into: &mut [T]) -> Result<(), ShareError> {
        self.span(from, into.len())?;
        self.data.read(from * size_of::<T>(), bytemuck::cast_slice_mut(into));
        Ok(())
    }

    /// Replaces the elements from `at` on, as many as `from` has.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`] if there are not so many; nothing is copied then.
    pub fn copy_from(&self, at: usize, from: &[T]) -> Result<(), ShareError> {
        self.span(at, from.len())?;
        self.data.write(at * size_of::<T>(), bytemuck::cast_slice(from));
        Ok(())
    }

    /// A copy of a range of elements.
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`].
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, ShareError> {
        let range = self.resolve(range)?;
        let mut copy = bytemuck::zeroed_vec(range.len());
        self.copy_to(range.start, &mut copy)?;
        Ok(copy)
    }

    /// A copy of all elements.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.slice(..).unwrap_or_default()
    }

    /// The elements, each as it is when its turn comes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + '_ {
        self.cells().iter().map(SharedCell::get)
    }

    /// A new array with the same elements, as `multiprocessing.sharedctypes.copy`.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn copy(&self) -> Result<Self, ShareError> {
        Self::from_slice(&self.to_vec())
    }

    /// Whether both are the same object.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.object.is(&other.object)
    }
}

impl<T: Number> RawArray<T> {
    /// Adds to an element, atomically, and gives what was there before. Integers wrap around. For
    /// all other arithmetic see [`cell`](Self::cell).
    ///
    /// # Errors
    /// [`ShareError::OutOfRange`].
    #[inline]
    pub fn fetch_add(&self, index: usize, value: T) -> Result<T, ShareError> {
        self.cell(index).map(|cell| cell.fetch_add(value))
    }
}

/// What an array of characters has in `multiprocessing`.
impl RawArray<u8> {
    /// The bytes before the first zero, or all.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let mut bytes = self.to_vec();
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        bytes
    }

    /// Replaces the first bytes, and ends them with a zero if there is room for it.
    ///
    /// # Errors
    /// [`ShareError::TooLong`].
    pub fn set_value(&self, bytes: &[u8]) -> Result<(), ShareError> {
        self.set_raw(bytes)?;
        if bytes.len() < self.length { self.set(bytes.len(), 0) } else { Ok(()) }
    }

    /// All bytes.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.to_vec()
    }

    /// Replaces the first bytes.
    ///
    /// # Errors
    /// [`ShareError::TooLong`].
    pub fn set_raw(&self, bytes: &[u8]) -> Result<(), ShareError> {
        let room = self.length;
        if bytes.len() > room {
            return Err(ShareError::TooLong { object: "RawArray", bytes: bytes.len(), room });
        }
        self.copy_from(0, bytes)
    }
}

impl<T: Plain> Clone for RawArray<T> {
    fn clone(&self) -> Self {
        let data = self.data.clone();
        Self { object: self.object.clone(), data, length: self.length, _of: PhantomData }
    }
}

impl<T: Plain> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawArray<{}>({})", std::any::type_name::<T>(), self.length)
    }
}

impl<T: Plain> Serialize for RawArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for RawArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Shareable::deserialize(deserializer)?;
        Self::of(object).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        let array = RawArray::from_slice(&[1u16, 2, 3]).unwrap();
        assert_eq!(array.slice(1..).unwrap(), [2, 3]);
        assert_eq!(array.slice(..=1).unwrap(), [1, 2]);
        assert!(array.slice(3..3).unwrap().is_empty());
        #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        for range in [0..4, 4..4, 2..1, 0..usize::MAX, usize::MAX..usize::MAX] {
            let error = array.slice(range.clone()).unwrap_err();
            assert!(matches!(error, ShareError::OutOfRange { length: 3, .. }), "{range:?}");
        }
        assert!(array.slice(0..=usize::MAX).is_err());
        assert!(array.copy_to(2, &mut [0; 2]).is_err());
        assert!(array.copy_from(usize::MAX, &[0]).is_err());
        assert!(array.copy_from(3, &[]).is_ok());
        assert!(array.get(3).is_err() && array.set(usize::MAX, 1).is_err());
        assert_eq!(array.to_vec(), [1, 2, 3]);
    }

    #[test]
    fn sizes_that_cannot_be_are_errors() {
        for length in [usize::MAX, usize::MAX / 8, 1 << 50] {
            let error = RawArray::<u64>::zeroed(length).unwrap_err();
            assert!(matches!(error, ShareError::Size { .. }), "{length}: {error}");
        }
        let none = RawArray::<u64>::zeroed(0).unwrap();
        assert!(none.is_empty() && none.to_vec().is_empty() && none.get(0).is_err());
    }

    #[test]
    fn characters_end_with_a_zero() {
        let array = RawArray::<u8>::zeroed(5).unwrap();
        array.set_value(b"hello").unwrap();
        assert_eq!(array.value(), b"hello");
        array.set_value(b"hi").unwrap();
        assert_eq!((array.value(), array.raw()), (b"hi".to_vec(), b"hi\0lo".to_vec()));
        let error = array.set_value(b"too long").unwrap_err();
        assert!(matches!(error, ShareError::TooLong { bytes: 8, room: 5, .. }), "{error}");
        assert!(array.set_raw(&[0; 6]).is_err());
        array.set_raw(b"a\0b").unwrap();
        assert_eq!((array.value(), array.raw()), (b"a".to_vec(), b"a\0blo".to_vec()));
    }
}
