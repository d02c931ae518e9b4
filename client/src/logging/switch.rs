//! A value that changes a few times in the life of a process and is read at every event.
//!
//! Reading takes no lock, so that a fork at any moment, and a signal handler, find it usable.
//! Values are never dropped: there is room for [`PLACES`] of them, which is as deep as processes
//! can be forked out of each other that each collect.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const PLACES: usize = 32;

/// Such a value, or none.
#[derive(Debug)]
pub(super) struct Switch<T> {
    places: [OnceLock<T>; PLACES],
    /// Which place holds it, from 1 on; 0 for none.
    now: AtomicUsize,
}

impl<T> Switch<T> {
    pub(super) const fn new() -> Self {
        Self { places: [const { OnceLock::new() }; PLACES], now: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        let at = self.now.load(Ordering::Acquire).checked_sub(1)?;
        self.places.get(at)?.get()
    }

    /// Replaces it; gives the new one back if there is no room left.
    pub(super) fn set(&self, mut value: T) -> Result<(), T> {
        for (at, place) in self.places.iter().enumerate() {
            match place.set(value) {
                Ok(()) => {
                    self.now.store(at + 1, Ordering::Release);
                    return Ok(());
                }
                Err(back) => value = back,
            }
        }
        Err(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_until_there_is_no_room() {
        let switch = Switch::new();
        assert_eq!(switch.get(), None);
        for value in 0..PLACES {
            assert_eq!(switch.set(value), Ok(()));
            assert_eq!(switch.get(), Some(&value));
        }
        assert_eq!(switch.set(99), Err(99));
        assert_eq!(switch.get(), Some(&(PLACES - 1)));
    }
}
