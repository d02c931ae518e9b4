//! References to plain data in shared memory, for who vouches that nobody writes meanwhile.
//!
//! Contract: bounds and alignment are those of the cells that are lent, and any bits are a valid
//! value. What a reference promises beyond that, no library can: that no thread of *any* process
//! writes what a shared reference points to, or touches what an exclusive one does. Hence every
//! function here is `unsafe`, guards included: a lock keeps out only those who ask for it, a
//! recursive one lets its owner in twice, and a plain one may be released by anybody.

use super::cell::SharedCell;
use crate::shared::{ArrayGuard, Plain, RawArray, ShareError, SharedMemory};

/// # Safety
/// Nobody writes the cells while they are lent.
unsafe fn slice<T: Plain>(cells: &[SharedCell<T>]) -> &[T] {
    // SAFETY: cells have the layout of what is in them; the caller vouches for the rest.
    unsafe { std::slice::from_raw_parts(SharedCell::as_ptr(cells), cells.len()) }
}

/// # Safety
/// Nobody reads or writes the cells while they are lent.
#[allow(clippy::mut_from_ref, reason = "cells are written through shared references")]
unsafe fn slice_mut<T: Plain>(cells: &[SharedCell<T>]) -> &mut [T] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(SharedCell::as_ptr(cells), cells.len()) }
}

impl<T: Plain> RawArray<T> {
    /// The elements in place, as plain values.
    ///
    /// # Safety
    /// Nobody, in any process, writes to the array while they are borrowed.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[T] {
        // SAFETY: the caller vouches for it.
        unsafe { slice(self.cells()) }
    }

    /// The elements in place, as plain values to be changed.
    ///
    /// # Safety
    /// Nobody else, in any process, reads or writes the array while they are borrowed.
    #[must_use]
    #[allow(clippy::mut_from_ref, reason = "handles are shared; the caller vouches for the memory")]
    pub unsafe fn as_mut_slice(&self) -> &mut [T] {
        // SAFETY: the caller vouches for it.
        unsafe { slice_mut(self.cells()) }
    }
}

impl<T: Plain> ArrayGuard<'_, T> {
    /// The elements in place, as plain values.
    ///
    /// # Safety
    /// While they are borrowed, nobody writes to the array, but after taking its lock as others
    /// must: this thread not through another guard of a recursive lock, nobody through
    /// [`get_obj`](super::super::Array::get_obj), and nobody releases the lock for this guard.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[T] {
        // SAFETY: the lock keeps out all but those for whom the caller vouches.
        unsafe { slice(self.obj().cells()) }
    }

    /// The elements in place, as plain values to be changed.
    ///
    /// # Safety
    /// As [`as_slice`](Self::as_slice), and for reading too.
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { slice_mut(self.cells()) }
    }
}

impl SharedMemory {
    /// All bytes in place.
    ///
    /// # Safety
    /// While they are borrowed, nobody in any process writes to the segment or makes it shorter.
    ///
    /// # Errors
    /// As [`cells`](Self::cells).
    pub unsafe fn as_slice(&self) -> Result<&[u8], ShareError> {
        let cells = self.cells::<u8>(0, self.size())?;
        // SAFETY: the caller vouches for it.
        Ok(unsafe { slice(cells) })
    }

    /// All bytes in place, to be changed.
    ///
    /// # Safety
    /// While they are borrowed, nobody else in any process reads or writes the segment, or makes
    /// it shorter.
    ///
    /// # Errors
    /// As [`cells`](Self::cells).
    #[allow(clippy::mut_from_ref, reason = "handles are shared; the caller vouches for the memory")]
    pub unsafe fn as_mut_slice(&self) -> Result<&mut [u8], ShareError> {
        let cells = self.cells::<u8>(0, self.size())?;
        // SAFETY: the caller vouches for it.
        Ok(unsafe { slice_mut(cells) })
    }
}
