//! Plain data in memory that other threads and processes change at any time.
//!
//! Contract: a [`SharedCell`] is only ever a reference into a mapping, made by [`cells`], which
//! checks bounds and alignment: one of 1, 2, 4 or 8 bytes lies at a multiple of its size, so a
//! single atomic instruction reads or writes it. Larger ones are copied, as a [`Region`] copies:
//! a mixture of two writes is possible and, as any bits are a valid `T`, harmless to memory.

use super::mapping::{Region, Shared};
use crate::shared::Plain;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::{MaybeUninit, align_of, size_of};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A `T` in shared memory: read and written through a shared reference, by any process.
///
/// For a `T` of 1, 2, 4 or 8 bytes each [`get`](Self::get) and [`set`](Self::set) is one atomic
/// instruction: nobody ever reads half of a write, and what a thread wrote before it set a cell is
/// seen by whoever then reads the cell. A larger `T` is copied: whoever reads it while it is
/// written may get a mixture. Numbers have atomic arithmetic too, see
/// [`fetch_add`](Self::fetch_add).
#[repr(transparent)]
pub struct SharedCell<T: Plain>(UnsafeCell<T>);

// SAFETY: all access is by atomics, or by copies that promise nothing; see the contract.
unsafe impl<T: Plain> Sync for SharedCell<T> {}
// SAFETY: plain data belongs to no thread.
unsafe impl<T: Plain> Send for SharedCell<T> {}

/// At which multiples a `T` must lie, to be read and written at once where that is possible.
pub(crate) const fn natural_align<T>() -> usize {
    match size_of::<T>() {
        size @ (1 | 2 | 4 | 8) if size > align_of::<T>() => size,
        _ => align_of::<T>(),
    }
}

/// Whether a `T` is read and written by one instruction.
pub(crate) const fn is_atomic<T>() -> bool {
    matches!(size_of::<T>(), 1 | 2 | 4 | 8)
}

/// So many elements that begin at an offset, in bytes; `None` if they are not all inside, or not
/// aligned as the contract says.
#[inline]
pub(crate) fn cells<T: Plain>(
    region: &Region,
    offset: usize,
    length: usize,
) -> Option<&[SharedCell<T>]> {
    let bytes = length.checked_mul(size_of::<T>())?;
    if offset.checked_add(bytes)? > region.len() {
        return None;
    }
    // SAFETY: inside the region, as just checked.
    let at = unsafe { region.as_ptr().add(offset) };
    if !at.addr().is_multiple_of(natural_align::<T>()) {
        return None;
    }
    // SAFETY: inside and aligned; `Plain` types are valid for any bits, cells are `Sync` and have
    // the layout of what is in them; the region keeps the memory for as long as it is borrowed.
    Some(unsafe { std::slice::from_raw_parts(at.cast(), length) })
}

impl<T: Plain> SharedCell<T> {
    /// The value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        const AT: Ordering = Ordering::Acquire;
        match size_of::<T>() {
            1 => bytemuck::cast(self.atomic::<AtomicU8>().load(AT)),
            2 => bytemuck::cast(self.atomic::<AtomicU16>().load(AT)),
            4 => bytemuck::cast(self.atomic::<AtomicU32>().load(AT)),
            8 => bytemuck::cast(self.atomic::<AtomicU64>().load(AT)),
            _ => {
                let mut value = MaybeUninit::<T>::uninit();
                // SAFETY: the cell lies in a mapping, the value on this stack; afterwards it is
                // initialised, and any bits are a valid `T`.
                unsafe {
                    std::ptr::copy_nonoverlapping(self.0.get(), value.as_mut_ptr(), 1);
                    value.assume_init()
                }
            }
        }
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: T) {
        const AT: Ordering = Ordering::Release;
        match size_of::<T>() {
            1 => self.atomic::<AtomicU8>().store(bytemuck::cast(value), AT),
            2 => self.atomic::<AtomicU16>().store(bytemuck::cast(value), AT),
            4 => self.atomic::<AtomicU32>().store(bytemuck::cast(value), AT),
            8 => self.atomic::<AtomicU64>().store(bytemuck::cast(value), AT),
            // SAFETY: as in `get`, in the other direction.
            _ => unsafe { std::ptr::copy_nonoverlapping(&raw const value, self.0.get(), 1) },
        }
    }

    /// The cell as an atomic of its size.
    #[inline]
    pub(crate) fn atomic<A: Shared>(&self) -> &A {
        assert!(size_of::<A>() == size_of::<T>() && align_of::<A>() <= natural_align::<T>());
        // SAFETY: the size is the same, the alignment by the contract; `Shared` types are valid
        // for any bits.
        unsafe { &*self.0.get().cast::<A>() }
    }

    /// Where it lies, for the fence that lends plain references.
    pub(super) fn as_ptr(cells: &[Self]) -> *mut T {
        cells.as_ptr().cast_mut().cast()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for SharedCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedCell").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mapping::{Mapping, sealed_memory};
    use std::sync::Arc;

    fn region(length: usize) -> Region {
        let fd = sealed_memory(length).expect("memfd");
        let mapping = Arc::new(Mapping::of(&fd).expect("maps"));
        Region::new(&mapping, 0, length, 1).expect("inside")
    }

    #[test]
    fn values_of_every_size_come_back() {
        let region = region(4096);
        fn check<T: Plain + PartialEq + fmt::Debug>(region: &Region, value: T) {
            let cells = cells::<T>(region, 64, 3).expect("inside");
            cells[1].set(value);
            assert_eq!(cells[1].get(), value);
            assert_eq!((cells[0].get(), cells[2].get()), (T::zeroed(), T::zeroed()));
            cells[1].set(T::zeroed());
        }
        check(&region, 200u8);
        check(&region, -2i16);
        check(&region, [1u8, 2, 3]);
        check(&region, 1.5f32);
        check(&region, [7u16; 4]);
        check(&region, u64::MAX - 1);
        check(&region, [1.0f64, 2.0, 3.0]);
        check(&region, [9u8; 300]);
    }

    #[test]
    fn bounds_and_alignment_are_checked() {
        let region = region(4096);
        assert!(cells::<u64>(&region, 4088, 1).is_some());
        assert!(cells::<u64>(&region, 4096, 0).is_some());
        for (offset, length) in [(4089, 1), (4088, 2), (4, 1), (0, usize::MAX), (usize::MAX, 1)] {
            assert!(cells::<u64>(&region, offset, length).is_none(), "{offset} {length}");
        }
        // Aligned as a `[u16; 4]`, but not so that one instruction writes it.
        assert!(cells::<[u16; 4]>(&region, 2, 1).is_none());
        assert!(cells::<[u8; 3]>(&region, 1, 1).is_some());
    }
}
