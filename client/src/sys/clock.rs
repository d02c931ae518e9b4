//! The clock that all processes of a machine share and nobody sets.
//!
//! Contract: `CLOCK_MONOTONIC` stands still while the machine is suspended, so a sleep of the
//! machine makes nothing overdue.

use std::time::Duration;

/// Milliseconds since some moment in the past; the same moment for every process (but those in
/// another time namespace).
pub(crate) fn monotonic_millis() -> u64 {
    monotonic_nanos() / 1_000_000
}

/// The same in nanoseconds.
#[inline]
pub(crate) fn monotonic_nanos() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// The same as of the last tick of the kernel, a few milliseconds ago: five times as cheap.
#[inline]
pub(crate) fn last_tick_nanos() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

#[inline]
fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is this function's own; the call fills it or leaves it as it is.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The same time as a duration.
pub(crate) fn monotonic() -> Duration {
    Duration::from_nanos(monotonic_nanos())
}
