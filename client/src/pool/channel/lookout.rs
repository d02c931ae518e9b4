//! How long one looks whether something is there before one goes to sleep: not at all where that
//! has been in vain lately.

use crate::sync::raw::atomics::{pause, pauses_before_sleep};
use std::sync::atomic::{AtomicU32, Ordering};

/// After so many times in vain one looks once and sleeps.
const MISSES_MAX: u32 = 4;
/// But every so many times one looks for long: two that wait for each other, and always sleep,
/// stay awake from then on if each needs less time than it takes to wake the other.
const TRIES_AGAIN: u32 = 16;
/// How many times as long that is.
const LONG: u32 = 6;

/// Pauses between two looks, at most: so long one may be late.
const PAUSES_MAX: u32 = 16;

/// Whether it pays to look for longer than once. Of one process.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    misses: AtomicU32,
}

impl Lookout {
    /// Looks for a short time whether it is there, ever more rarely: each look takes the cache
    /// line from the one who is about to change it.
    #[inline]
    pub(crate) fn look_out(&self, there: impl Fn() -> bool) -> bool {
        there() || self.look_longer(there)
    }

    fn look_longer(&self, there: impl Fn() -> bool) -> bool {
        let misses = self.misses.load(Ordering::Relaxed);
        let times = match misses {
            0..MISSES_MAX => 1,
            _ if misses.is_multiple_of(TRIES_AGAIN) => LONG,
            _ => 0,
        };
        let (mut left, mut pauses) = (times * pauses_before_sleep(), 4);
        while left > 0 {
            for _ in 0..pauses {
                pause();
            }
            if there() {
                self.misses.store(0, Ordering::Relaxed);
                return true;
            }
            left = left.saturating_sub(pauses);
            pauses = (pauses * 2).min(PAUSES_MAX);
        }
        self.misses.store(misses.wrapping_add(1), Ordering::Relaxed);
        false
    }
}
