//! The clock that all processes of a machine share and nobody sets.
//!
//! Contract: `CLOCK_MONOTONIC` stands still while the machine is suspended, so a sleep of the
//! machine makes nothing overdue.

use std::time::Duration;

/// Milliseconds since some moment in the past; the same moment for every process (but those in
/// another time namespace).
pub(crate) fn monotonic_millis() -> u64 {
    monotonic().as_millis() as u64
}

/// The same time, as exactly as the system tells it.
pub(crate) fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is this function's own; the call fills it or leaves it as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
