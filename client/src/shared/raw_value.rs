//! `RawValue`: one value that processes share, without a lock.

use super::error::ShareError;
use super::object::{Object, Shareable};
use super::plain::{self, Integer, Number, Plain};
use super::twin::Twin;
use crate::sync::raw::atomics::{AtomicU64, Ordering, shared_struct};
use crate::sys::cell::{SharedCell, cells, is_atomic, natural_align};
use crate::sys::mapping::Region;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

shared_struct! {
    /// Which type of value lies in an object: enough of it that no access is out of range.
    pub(super) struct Layout {
        size: AtomicU64,
        align: AtomicU64,
    }
}

impl Layout {
    pub(super) fn describe<T>(&self) {
        self.size.store(size_of::<T>() as u64, Ordering::Relaxed);
        self.align.store(align_of::<T>() as u64, Ordering::Relaxed);
    }

    pub(super) fn check<T>(&self, object: &'static str) -> Result<(), ShareError> {
        let there = self.size.load(Ordering::Relaxed);
        let there_align = self.align.load(Ordering::Relaxed);
        let (here, here_align) = (size_of::<T>(), align_of::<T>());
        if (there, there_align) == (here as u64, here_align as u64) {
            return Ok(());
        }
        let expected = std::any::type_name::<T>();
        Err(ShareError::Layout { object, expected, here, here_align, there, there_align })
    }
}

shared_struct! {
    /// What lies before the value.
    pub(super) struct ValueState {
        layout: Layout,
        twin: Twin,
    }
}

impl Object for ValueState {
    const KIND: u32 = 16;
    const NAME: &'static str = "RawValue";
}

/// A value that processes share, without a lock, as `multiprocessing.RawValue`. Clones are the
/// same value, here and in every process that a clone travels to.
///
/// Nobody ever reads a part of a write, whatever the size of the value, however many read and
/// write it, and wherever a writer is killed: then the old value stands. A value of 1, 2, 4 or 8
/// bytes is read and written by one atomic instruction. A larger one has two copies and a word
/// that says which is valid; writers take turns by a lock that notices the death of its owner, and
/// readers do not wait for them. (So a signal handler must not write a large value.)
///
/// What is not atomic is a [`get`](Self::get) followed by a [`set`](Self::set): use
/// [`fetch_add`](Self::fetch_add) and its like, or [`Value::update`](super::Value::update).
///
/// The memory returns to the system when no process has the object any more.
///
/// ```
/// use mpserverd_client as mp;
///
/// let counter = mp::RawValue::new(40u32)?;
/// let same = counter.clone();
/// same.fetch_add(2);
/// assert_eq!(counter.get(), 42);
///
/// let vector = mp::RawValue::<[f64; 3]>::zeroed()?;
/// vector.set([1.0, 2.0, 3.0]);
/// assert_eq!(vector.get()[2], 3.0);
/// # Ok::<(), mp::ShareError>(())
/// ```
pub struct RawValue<T: Plain> {
    object: Shareable<ValueState>,
    /// The value, or its two copies.
    data: Region,
    _of: PhantomData<fn() -> T>,
}

impl<T: Plain> RawValue<T> {
    const CHECKED: () = plain::check::<T>();
    /// Where the second copy lies; 0 if there is only one.
    const STRIDE: usize = if is_atomic::<T>() {
        0
    } else {
        size_of::<T>().next_multiple_of(if align_of::<T>() > 8 { align_of::<T>() } else { 8 })
    };
    const BYTES: usize = size_of::<T>() + Self::STRIDE;

    /// A value that is all zeros.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptor for it.
    pub fn zeroed() -> Result<Self, ShareError> {
        let () = Self::CHECKED;
        let align = natural_align::<T>();
        let object = Shareable::with_tail(Self::BYTES, align, |state: &ValueState| {
            state.layout.describe::<T>();
        })?;
        Self::of(object)
    }

    /// A value.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn new(value: T) -> Result<Self, ShareError> {
        let new = Self::zeroed()?;
        new.set(value);
        Ok(new)
    }

    fn of(object: Shareable<ValueState>) -> Result<Self, ShareError> {
        let () = Self::CHECKED;
        object.layout.check::<T>(ValueState::NAME)?;
        let damaged = ShareError::Damaged { object: ValueState::NAME };
        let data = object.tail(Self::BYTES, natural_align::<T>()).ok_or(damaged)?;
        Ok(Self { object, data, _of: PhantomData })
    }

    #[inline]
    fn cell(&self) -> &SharedCell<T> {
        match cells(&self.data, 0, 1) {
            Some([cell]) => cell,
            _ => unreachable!("checked when the handle was made"),
        }
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        if is_atomic::<T>() {
            return self.cell().get();
        }
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        self.object.twin.read(|copy| self.data.read(copy * Self::STRIDE, bytes));
        value
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: T) {
        if is_atomic::<T>() {
            return self.cell().set(value);
        }
        let bytes = bytemuck::bytes_of(&value);
        self.object.twin.write(|copy| self.data.write(copy * Self::STRIDE, bytes));
    }

    /// A new object with the same value, as `multiprocessing.sharedctypes.copy`.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn copy(&self) -> Result<Self, ShareError> {
        Self::new(self.get())
    }

    /// Whether both are the same object.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.object.is(&other.object)
    }
}

/// Changes the number in place; see [`SharedCell`].
impl<T: Number> RawValue<T> {
    /// Adds, atomically, and gives what was there before. Integers wrap around.
    #[inline]
    pub fn fetch_add(&self, value: T) -> T {
        self.cell().fetch_add(value)
    }

    /// Subtracts, atomically, and gives what was there before. Integers wrap around.
    #[inline]
    pub fn fetch_sub(&self, value: T) -> T {
        self.cell().fetch_sub(value)
    }

    /// Keeps the smaller one, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_min(&self, value: T) -> T {
        self.cell().fetch_min(value)
    }

    /// Keeps the larger one, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_max(&self, value: T) -> T {
        self.cell().fetch_max(value)
    }

    /// Replaces it, atomically, and gives what was there before.
    #[inline]
    pub fn swap(&self, value: T) -> T {
        self.cell().swap(value)
    }

    /// Replaces it if it is `from`, atomically. Floats are compared by their bits.
    ///
    /// # Errors
    /// What is there instead.
    #[inline]
    pub fn compare_exchange(&self, from: T, to: T) -> Result<T, T> {
        self.cell().compare_exchange(from, to)
    }
}

impl<T: Integer> RawValue<T> {
    /// Keeps the bits that are set in both, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_and(&self, value: T) -> T {
        self.cell().fetch_and(value)
    }

    /// Sets bits, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_or(&self, value: T) -> T {
        self.cell().fetch_or(value)
    }

    /// Flips bits, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_xor(&self, value: T) -> T {
        self.cell().fetch_xor(value)
    }
}

impl<T: Plain> Clone for RawValue<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), data: self.data.clone(), _of: PhantomData }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawValue").field(&self.get()).finish()
    }
}

impl<T: Plain> Serialize for RawValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for RawValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Shareable::deserialize(deserializer)?;
        Self::of(object).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;
    use crate::parcel::Parcel;

    fn travelled<T: Serialize, U: serde::de::DeserializeOwned>(value: &T) -> Result<U, String> {
        let parcel = Parcel::pack(Codec::Bincode, value).expect("encodes");
        parcel.unpack(Codec::Bincode).map_err(|error| error.to_string())
    }

    #[test]
    fn arithmetic_is_that_of_the_type() {
        let value = RawValue::new(250u8).unwrap();
        assert_eq!((value.fetch_add(10), value.get()), (250, 4));
        assert_eq!((value.fetch_sub(5), value.get()), (4, 255));
        let value = RawValue::new(-3i16).unwrap();
        assert_eq!((value.fetch_min(5), value.fetch_max(7), value.get()), (-3, -3, 7));
        assert_eq!((value.fetch_and(6), value.fetch_or(1), value.fetch_xor(2)), (7, 6, 7));
        assert_eq!(value.swap(1), 5);
        assert_eq!((value.compare_exchange(1, 2), value.compare_exchange(1, 3)), (Ok(1), Err(2)));
        let value = RawValue::new(1.5f64).unwrap();
        assert_eq!((value.fetch_add(1.0), value.fetch_max(9.0), value.get()), (1.5, 2.5, 9.0));
        assert_eq!(value.compare_exchange(9.0, -0.0), Ok(9.0));
        assert!(value.compare_exchange(0.0, 1.0).is_err(), "bits are compared");
        assert_eq!(RawValue::new(usize::MAX).unwrap().fetch_add(1), usize::MAX);
    }

    #[test]
    fn clones_and_travellers_are_the_same() {
        let value = RawValue::new([7u64; 9]).unwrap();
        let back: RawValue<[u64; 9]> = travelled(&value).unwrap();
        back.set([8; 9]);
        assert_eq!(value.clone().get(), [8; 9]);
        assert!(back.is_same(&value) && !value.copy().unwrap().is_same(&value));
    }

    #[test]
    fn another_type_of_value_is_refused() {
        let value = RawValue::new(1u32).unwrap();
        let error = travelled::<_, RawValue<u64>>(&value).unwrap_err();
        assert!(error.contains("RawValue: it holds values of 4 bytes"), "{error}");
        assert!(travelled::<_, RawValue<[u16; 2]>>(&value).is_err(), "another alignment");
        // The same size and alignment: other numbers, and no harm.
        assert!(travelled::<_, RawValue<f32>>(&value).is_ok());
        let error = travelled::<_, super::super::RawArray<u32>>(&value).unwrap_err();
        assert!(error.contains("RawArray: there is no such object"), "{error}");
    }
}
