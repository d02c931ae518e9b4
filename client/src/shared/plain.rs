//! What may lie in shared memory: data without pointers, without padding, valid whatever its bits.

use crate::sys::cell::SharedCell;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
};

/// Types of which processes may share values: numbers, arrays of such types, and structs of them
/// that derive [`bytemuck::Pod`]. Whatever another process writes there is a valid value.
///
/// A type with pointers or padding is refused by the compiler:
///
/// ```
/// use mpserverd_client as mp;
/// use mp::bytemuck::{Pod, Zeroable};
///
/// #[derive(Clone, Copy, Debug, Pod, Zeroable)]
/// #[bytemuck(crate = "mp::bytemuck")]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// let value = mp::RawValue::new(Point { x: 1.0, y: 2.0 })?;
/// assert_eq!(value.get().y, 2.0);
/// # Ok::<(), mp::ShareError>(())
/// ```
///
/// ```compile_fail,E0277
/// // A vector points to memory of one process.
/// let value = mpserverd_client::RawValue::new(vec![1, 2, 3]);
/// ```
///
/// ```compile_fail,E0277
/// // So does a reference.
/// let value = mpserverd_client::RawValue::new("text");
/// ```
///
/// ```compile_fail
/// use mpserverd_client as mp;
/// use mp::bytemuck::{Pod, Zeroable};
///
/// // Seven bytes of padding, in which no value is defined.
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[bytemuck(crate = "mp::bytemuck")]
/// #[repr(C)]
/// struct Padded {
///     flag: u8,
///     number: u64,
/// }
/// ```
pub trait Plain: bytemuck::Pod {}

impl<T: bytemuck::Pod> Plain for T {}

/// Largest alignment of what may lie in shared memory.
pub(super) const ALIGN_MAX: usize = super::arena::ALIGN;

/// Checks at compile time that a type has bytes and can be aligned.
pub(super) const fn check<T>() {
    assert!(size_of::<T>() > 0, "a value without bytes cannot be shared");
    assert!(align_of::<T>() <= ALIGN_MAX, "shared values are aligned to 64 bytes at most");
}

mod sealed {
    use crate::sys::cell::SharedCell;

    /// What one atomic instruction (or a loop of them, for floats) does to a number.
    pub trait Arithmetic: super::Plain {
        fn fetch_add(cell: &SharedCell<Self>, value: Self) -> Self;
        fn fetch_sub(cell: &SharedCell<Self>, value: Self) -> Self;
        fn fetch_min(cell: &SharedCell<Self>, value: Self) -> Self;
        fn fetch_max(cell: &SharedCell<Self>, value: Self) -> Self;
        fn swap(cell: &SharedCell<Self>, value: Self) -> Self;
        fn exchange(cell: &SharedCell<Self>, from: Self, to: Self) -> Result<Self, Self>;
        /// As [`fetch_add`](Self::fetch_add), of two plain values.
        fn add(self, other: Self) -> Self;
    }

    pub trait Bits: Arithmetic {
        fn fetch_and(cell: &SharedCell<Self>, value: Self) -> Self;
        fn fetch_or(cell: &SharedCell<Self>, value: Self) -> Self;
        fn fetch_xor(cell: &SharedCell<Self>, value: Self) -> Self;
    }
}

/// Numbers that processes can do arithmetic with in place: integers and floats.
pub trait Number: sealed::Arithmetic {}

/// Numbers whose bits can be changed in place: integers.
pub trait Integer: Number + sealed::Bits {}

const AT: Ordering = Ordering::AcqRel;

macro_rules! integers {
    ($($number:ty as $atomic:ty),+ $(,)?) => {
        $(
            impl sealed::Arithmetic for $number {
                #[inline]
                fn fetch_add(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().fetch_add(value as _, AT) as _
                }
                #[inline]
                fn fetch_sub(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().fetch_sub(value as _, AT) as _
                }
                #[inline]
                fn fetch_min(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().fetch_min(value as _, AT) as _
                }
                #[inline]
                fn fetch_max(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().fetch_max(value as _, AT) as _
                }
                #[inline]
                fn swap(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().swap(value as _, AT) as _
                }
                #[inline]
                fn exchange(cell: &SharedCell<Self>, from: Self, to: Self) -> Result<Self, Self> {
                    let atomic = cell.atomic::<$atomic>();
                    let done = atomic.compare_exchange(from as _, to as _, AT, Ordering::Acquire);
                    done.map(|value| value as _).map_err(|value| value as _)
                }
                #[inline]
                fn add(self, other: Self) -> Self {
                    self.wrapping_add(other)
                }
            }

            impl sealed::Bits for $number {
                #[inline]
                fn fetch_and(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().fetch_and(value as _, AT) as _
                }
                #[inline]
                fn fetch_or(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().fetch_or(value as _, AT) as _
                }
                #[inline]
                fn fetch_xor(cell: &SharedCell<Self>, value: Self) -> Self {
                    cell.atomic::<$atomic>().fetch_xor(value as _, AT) as _
                }
            }

            impl Number for $number {}
            impl Integer for $number {}
        )+
    };
}

integers! {
    u8 as AtomicU8, u16 as AtomicU16, u32 as AtomicU32, u64 as AtomicU64,
    i8 as AtomicI8, i16 as AtomicI16, i32 as AtomicI32, i64 as AtomicI64,
}

#[cfg(target_pointer_width = "64")]
integers! { usize as AtomicU64, isize as AtomicI64 }

macro_rules! floats {
    ($($number:ty as $atomic:ty),+ $(,)?) => {
        $(
            impl sealed::Arithmetic for $number {
                fn fetch_add(cell: &SharedCell<Self>, value: Self) -> Self {
                    change(cell, |old| old + value)
                }
                fn fetch_sub(cell: &SharedCell<Self>, value: Self) -> Self {
                    change(cell, |old| old - value)
                }
                fn fetch_min(cell: &SharedCell<Self>, value: Self) -> Self {
                    change(cell, |old| old.min(value))
                }
                fn fetch_max(cell: &SharedCell<Self>, value: Self) -> Self {
                    change(cell, |old| old.max(value))
                }
                fn swap(cell: &SharedCell<Self>, value: Self) -> Self {
                    Self::from_bits(cell.atomic::<$atomic>().swap(value.to_bits(), AT))
                }
                fn exchange(cell: &SharedCell<Self>, from: Self, to: Self) -> Result<Self, Self> {
                    let (from, to) = (from.to_bits(), to.to_bits());
                    let atomic = cell.atomic::<$atomic>();
                    let done = atomic.compare_exchange(from, to, AT, Ordering::Acquire);
                    done.map(Self::from_bits).map_err(Self::from_bits)
                }
                fn add(self, other: Self) -> Self {
                    self + other
                }
            }

            impl Number for $number {}
        )+
    };
}

floats!(f32 as AtomicU32, f64 as AtomicU64);

/// Changes a number by what is no instruction of the machine. Whoever fails here does so because
/// somebody else succeeded.
fn change<T: Number>(cell: &SharedCell<T>, with: impl Fn(T) -> T) -> T {
    let mut old = cell.get();
    loop {
        match T::exchange(cell, old, with(old)) {
            Ok(old) => return old,
            Err(now) => old = now,
        }
    }
}

impl<T: Number> SharedCell<T> {
    /// Adds, atomically, and gives what was there before. Integers wrap around.
    #[inline]
    pub fn fetch_add(&self, value: T) -> T {
        T::fetch_add(self, value)
    }

    /// Subtracts, atomically, and gives what was there before. Integers wrap around.
    #[inline]
    pub fn fetch_sub(&self, value: T) -> T {
        T::fetch_sub(self, value)
    }

    /// Keeps the smaller one, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_min(&self, value: T) -> T {
        T::fetch_min(self, value)
    }

    /// Keeps the larger one, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_max(&self, value: T) -> T {
        T::fetch_max(self, value)
    }

    /// Replaces it, atomically, and gives what was there before.
    #[inline]
    pub fn swap(&self, value: T) -> T {
        T::swap(self, value)
    }

    /// Replaces it if it is `from`, atomically. Floats are compared by their bits.
    ///
    /// # Errors
    /// What is there instead.
    #[inline]
    pub fn compare_exchange(&self, from: T, to: T) -> Result<T, T> {
        T::exchange(self, from, to)
    }
}

impl<T: Integer> SharedCell<T> {
    /// Keeps the bits that are set in both, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_and(&self, value: T) -> T {
        T::fetch_and(self, value)
    }

    /// Sets bits, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_or(&self, value: T) -> T {
        T::fetch_or(self, value)
    }

    /// Flips bits, atomically, and gives what was there before.
    #[inline]
    pub fn fetch_xor(&self, value: T) -> T {
        T::fetch_xor(self, value)
    }
}
