//! What the algorithms beside this file stand on. Their models replace this one file by another
//! that explores every order of events, deaths included.

use crate::sys::identity::Identity;
use std::time::{Duration, Instant};

pub(crate) use crate::sys::futex::{Woken, wait, wake};
pub(crate) use crate::sys::mapping::shared_struct;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The word of a 64-bit atomic on which one can sleep: its low half.
#[inline]
pub(crate) fn low_half(word: &AtomicU64) -> &AtomicU32 {
    crate::sys::halves::low(word)
}

/// This process, as it stands in shared words.
#[inline]
pub(crate) fn own_identity() -> u64 {
    Identity::own().0
}

/// This thread, among all threads of all processes, dead ones included. Never zero.
#[inline]
pub(crate) fn own_thread() -> u64 {
    crate::sys::identity::thread_tag()
}

/// Whether the process whose bits these are has ended.
pub(crate) fn is_dead(bits: u64) -> bool {
    Identity::from_bits(bits).is_some_and(Identity::is_dead)
}

/// Bits of a word that say which process.
pub(crate) use crate::sys::identity::IDENTITY_MASK;

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// For ever.
    pub(crate) const NEVER: Self = Self(None);

    /// So long from now; a time beyond what the clock can express is for ever.
    pub(crate) fn within(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// So long from now, or for ever.
    pub(crate) fn of(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::NEVER, Self::within)
    }

    /// How long one may sleep now: not longer than `nap`; `None` when the time has passed.
    pub(crate) fn nap(self, nap: Duration) -> Option<Duration> {
        let Some(at) = self.0 else { return Some(nap) };
        let left = at.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.min(nap))
    }
}

/// Since when a waiter has waited.
#[derive(Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Whether that is longer than this.
    pub(crate) fn exceeds(&self, limit: Duration) -> bool {
        self.0.elapsed() > limit
    }
}
