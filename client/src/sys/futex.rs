//! Sleeping on a word of shared memory, `futex(2)`.
//!
//! Contract: the words lie in mappings that other processes share, so the private flag is never
//! set: std's and `parking_lot`'s futexes are process-private and would not wake another process.
//! The kernel reads the word itself, which is why a reference to an atomic is all it takes.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody woke it, or a signal did.
    Perhaps,
    /// The word had another value already.
    Changed,
    /// The time passed (by `CLOCK_MONOTONIC`, which no clock jump moves).
    TimedOut,
}

/// Sleeps while the word has this value, at most so long.
pub(crate) fn wait(word: &AtomicU32, expected: u32, at_most: Duration) -> Woken {
    let time = libc::timespec {
        tv_sec: at_most.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: at_most.subsec_nanos() as _,
    };
    // SAFETY: the word and the time outlive the call; the kernel only reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const time,
            std::ptr::null::<u32>(),
            0u32,
        )
    };
    if done == 0 {
        return Woken::Perhaps;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Woken::Changed,
        Some(libc::ETIMEDOUT) => Woken::TimedOut,
        // EINTR: a signal, or the word lies in memory that is gone (which a mapping forbids).
        _ => Woken::Perhaps,
    }
}

/// Wakes at most so many sleepers, those that have slept longest first; returns how many.
///
/// Safe in a signal handler: one system call, `errno` is restored.
pub(crate) fn wake(word: &AtomicU32, at_most: u32) -> u32 {
    let at_most = at_most.min(i32::MAX as u32);
    // SAFETY: `errno` is this thread's own; the kernel uses the word as an address only.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let woken = libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE,
            at_most,
            std::ptr::null::<libc::timespec>(),
            std::ptr::null::<u32>(),
            0u32,
        );
        *errno = before;
        u32::try_from(woken).unwrap_or(0)
    }
}
