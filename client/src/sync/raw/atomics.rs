//! What the algorithms beside this file stand on. Their models replace this one file by another
//! that explores every order of events, deaths included.

use crate::sys::identity::Identity;
use std::time::{Duration, Instant};

/// How often a lock is looked at before a waiter sleeps.
pub(crate) const SPINS: u32 = 40;
/// How often this process looks whether one and the same process is dead, if it only looks in
/// passing.
const PASSING: Duration = Duration::from_millis(10);

pub(crate) use std::hint::spin_loop as pause;

pub(crate) use crate::deadline::Deadline;
pub(crate) use crate::sys::futex::{Woken, wait, wake};
pub(crate) use crate::sys::mapping::shared_struct;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The part of a 64-bit atomic on which one can sleep.
pub(crate) type Half<'a> = &'a AtomicU32;

/// The word of a 64-bit atomic on which one can sleep: its low half.
#[inline]
pub(crate) fn low_half(word: &AtomicU64) -> Half<'_> {
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

/// Makes a value visible, and that before anything is [looked](look) at afterwards: of two who
/// publish and then look at what the other publishes, one at least sees the other's.
#[inline]
pub(crate) fn publish(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::SeqCst);
}

/// See [`publish`].
#[inline]
pub(crate) fn look(word: &AtomicU64) -> u64 {
    word.load(Ordering::SeqCst)
}

/// [`look`] for a word on which one can sleep.
#[inline]
pub(crate) fn look_at_half(word: &AtomicU32) -> u32 {
    word.load(Ordering::SeqCst)
}

/// [`publish`] for a word on which one can sleep: sets bits and gives the word as it is then.
#[inline]
pub(crate) fn publish_bits(word: &AtomicU32, bits: u32) -> u32 {
    word.fetch_or(bits, Ordering::SeqCst) | bits
}

/// How many [pauses](pause) to make before a sleep: some two microseconds where others run beside
/// this thread, none where they cannot.
#[inline]
pub(crate) fn pauses_before_sleep() -> u32 {
    static PAUSES: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *PAUSES.get_or_init(|| {
        let beside = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
        if beside { 64 } else { 0 }
    })
}

/// The pid in the bits of an identity.
pub(crate) fn pid_of(bits: u64) -> u32 {
    Identity::from_bits(bits).map_or(0, Identity::pid)
}

/// Whether that process has ended, for who asks often without waiting: looks once in a while only.
#[cold]
pub(crate) fn seems_dead(bits: u64) -> bool {
    static WHO: AtomicU64 = AtomicU64::new(0);
    static LOOKED: AtomicU64 = AtomicU64::new(0);
    let known = WHO.swap(bits & IDENTITY_MASK, Ordering::Relaxed) == bits & IDENTITY_MASK;
    let due = is_due(&LOOKED, PASSING);
    (due || !known) && is_dead(bits)
}

/// Whether so long has passed since this last was true, for any process that shares the word. One
/// caller only gets the answer yes.
pub(crate) fn is_due(last: &AtomicU64, period: Duration) -> bool {
    let now = crate::sys::clock::monotonic_millis();
    let before = last.load(Ordering::Relaxed);
    // A time in the future is that of a machine that has started since, or nonsense.
    u128::from(now.wrapping_sub(before)) >= period.as_millis()
        && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Bits of a word that say which process.
pub(crate) use crate::sys::identity::IDENTITY_MASK;

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
