//! How long one looks whether something is there before one goes to sleep: ever more rarely where
//! that was in vain.
//!
//! Two that wait for each other, and need less time than it takes to wake somebody, never sleep
//! once both have looked for so long. So one looks for longer than it takes to wake the other, as
//! long as that pays; and once in a while whether it does again.

use crate::sync::raw::atomics::{pause, pauses_before_sleep};
use std::sync::atomic::{AtomicU32, Ordering};

/// After so many times in vain, only each time that doubles their number one is tried again.
const MISSES_MAX: u32 = 16;
/// Or, at last, each time that so many have passed.
const TRIES_AGAIN: u32 = 1024;
/// How many times as long as before a sleep that costs a wake-up on one side only: some ten
/// microseconds.
const TIMES: u32 = 6;
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
        let pays =
            misses < MISSES_MAX || misses.is_power_of_two() || misses.is_multiple_of(TRIES_AGAIN);
        let (mut left, mut pauses) = (if pays { TIMES * pauses_before_sleep() } else { 0 }, 4);
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
