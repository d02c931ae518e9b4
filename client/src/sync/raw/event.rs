//! The event: one word.
//!
//! | bits | meaning |
//! |---|---|
//! | 0 `SET` | it is set |
//! | 1 `SLEEPERS` | somebody may sleep: whoever sets it wakes all |
//! | 2–31 | how often it was set, modulo 2³⁰ |
//!
//! A waiter that sleeps through a set and the clear after it sees another count. Setting is one
//! compare-and-swap loop and at most one system call, so a signal handler may do it whatever it
//! interrupts. A setter that dies before its wake-up leaves the event set, which the sleepers see
//! when their naps end.

use super::atomics::{AtomicU32, Deadline, Ordering, shared_struct, wait, wake};
use super::lock::NAP_LONGEST;

const SET: u32 = 1;
const SLEEPERS: u32 = 1 << 1;
const FLAGS: u32 = SET | SLEEPERS;
const ONE_SET: u32 = 1 << 2;

shared_struct! {
    /// An event in shared memory. All zeros is one that is not set.
    pub(crate) struct RawEvent {
        word: AtomicU32,
    }
}

/// What the event was when somebody began to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin(u32);

impl Begin {
    /// Whether it is set now, or was in between.
    fn is_over(self, word: u32) -> bool {
        word & SET != 0 || (word ^ self.0) & !FLAGS != 0
    }
}

impl RawEvent {
    /// Whether it is set.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Sets it and wakes all who wait.
    #[inline]
    pub(crate) fn set(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            // Setting what is set orders memory all the same: the setter may have written more.
            let to = match word & SET {
                0 => (word & !FLAGS).wrapping_add(ONE_SET) | SET,
                _ => word,
            };
            match self.word.compare_exchange(word, to, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if word & FLAGS == SLEEPERS {
            wake(&self.word, u32::MAX);
        }
    }

    /// Clears it.
    #[inline]
    pub(crate) fn clear(&self) {
        self.word.fetch_and(!SET, Ordering::Relaxed);
    }

    /// Waits until it is set, or was since the call began; tells whether that came in time.
    #[inline]
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        self.is_set() || self.wait_slow(deadline)
    }

    #[cold]
    fn wait_slow(&self, deadline: Deadline) -> bool {
        let begin = self.begin();
        loop {
            if begin.is_over(self.word.load(Ordering::Acquire)) {
                return true;
            }
            let Some(time) = deadline.nap(NAP_LONGEST) else { return false };
            let Some(expected) = self.look(begin) else { return true };
            wait(&self.word, expected, time);
        }
    }

    /// Begins to wait.
    pub(crate) fn begin(&self) -> Begin {
        Begin(self.word.load(Ordering::Acquire))
    }

    /// The word on which those sleep who wait.
    pub(crate) fn sleepers(&self) -> &AtomicU32 {
        &self.word
    }

    /// `None` if it is set, or was since then; else announces a sleeper, and gives the word.
    pub(crate) fn look(&self, begin: Begin) -> Option<u32> {
        let mut word = self.word.load(Ordering::Acquire);
        while !begin.is_over(word) {
            let to = word | SLEEPERS;
            match self.word.compare_exchange(word, to, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(to),
                Err(now) => word = now,
            }
        }
        None
    }
}
