//! `ArrayGuard`: an array whose lock is held.

use super::accessors::accessors;
use super::any_lock::Held;
use super::error::ShareError;
use super::plain::Plain;
use super::raw_array::RawArray;
use crate::sync::raw::atomics::Ordering;
use crate::sys::cell::SharedCell;
use std::cell::Cell;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::atomic::fence;

/// An [`Array`](super::Array) whose lock is held; released when dropped. It stays with its thread.
#[must_use = "the lock is released when the guard is dropped"]
pub struct ArrayGuard<'a, T: Plain> {
    raw: &'a RawArray<T>,
    /// Whether this guard was the first to change it.
    changing: Cell<bool>,
    held: Held<'a>,
}

impl<'a, T: Plain> ArrayGuard<'a, T> {
    pub(super) fn new(raw: &'a RawArray<T>, held: Held<'a>) -> Self {
        Self { raw, changing: Cell::new(false), held }
    }

    pub(crate) fn obj(&self) -> &RawArray<T> {
        self.raw
    }

    /// Whether somebody has begun to change it and not come to an end.
    pub(super) fn is_half_changed(&self) -> bool {
        self.raw.state().changing.load(Ordering::Relaxed) != 0
    }

    /// The array, which from now on counts as being changed until the guard is dropped.
    pub(super) fn changing(&self) -> &RawArray<T> {
        if !self.changing.get() {
            let before = self.raw.state().changing.swap(1, Ordering::Relaxed);
            // Whatever is written from now on is written after that.
            fence(Ordering::SeqCst);
            self.changing.set(before == 0);
        }
        self.raw
    }

    accessors!(self, read: self.raw, write: self.changing(), errors: "[`ShareError::OutOfRange`].");

    /// The elements.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + '_ {
        self.raw.iter()
    }

    /// The elements, in place: to read and change them without a copy. The array counts as being
    /// changed until the guard is dropped.
    #[must_use]
    pub fn cells(&self) -> &[SharedCell<T>] {
        self.changing().cells()
    }

    /// Says that the array, and whatever else the lock protects, is in order again, after the
    /// owner of the lock died.
    pub fn make_consistent(&self) {
        self.raw.state().changing.store(0, Ordering::Relaxed);
        self.changing.set(false);
        self.held.make_consistent();
    }
}

impl<T: Plain> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        if self.changing.get() {
            self.raw.state().changing.store(0, Ordering::Release);
        }
    }
}

impl<T: Plain> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArrayGuard").field(self.raw).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::Array;

    #[test]
    fn it_counts_as_changing_while_somebody_changes_it() {
        let array = Array::from_slice(&[1u64, 2, 3]).unwrap();
        let changing = || array.lock().unwrap().is_half_changed();
        {
            let outer = array.lock().unwrap();
            assert_eq!(outer.get(0).unwrap(), 1);
            assert!(!changing(), "reading is no change");
            outer.set(0, 5).unwrap();
            assert!(changing());
            array.set(1, 6).unwrap();
            assert!(changing(), "an inner change is no end of the outer one");
        }
        assert!(!changing());
        assert_eq!(array.to_vec().unwrap(), [5, 6, 3]);
    }

    #[test]
    fn cells_are_the_elements() {
        let array = Array::zeroed(4).unwrap();
        let guard = array.lock().unwrap();
        guard.cells()[2].set(7u16);
        assert!(guard.is_half_changed());
        drop(guard);
        assert_eq!(array.to_vec().unwrap(), [0, 0, 7, 0]);
    }
}
