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

/// Most words that one call of [`wait_among`] takes (`FUTEX_WAITV_MAX`).
pub(crate) const WORDS_MAX: usize = 128;

/// How a sleep on several words ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WokenAmong {
    /// Somebody woke it by the word at this place; perhaps by others too.
    At(usize),
    /// A word had another value already, a signal came, or the time passed.
    Perhaps,
    /// The system has no such call (before Linux 5.16, or it is forbidden).
    Unsupported,
}

/// Sleeps while all of these words have these values, at most so long. There may be
/// [`WORDS_MAX`] of them.
pub(crate) fn wait_among(words: &[(&AtomicU32, u32)], at_most: Duration) -> WokenAmong {
    /// `struct futex_waitv` of `linux/futex.h`.
    #[repr(C)]
    struct Waiter {
        value: u64,
        address: u64,
        flags: u32,
        reserved: u32,
    }
    /// A word of 32 bits, in memory that may be shared.
    const SIZE_U32: u32 = 2;
    let waiters = words.iter().map(|(word, expected)| Waiter {
        value: u64::from(*expected),
        address: word.as_ptr().expose_provenance() as u64,
        flags: SIZE_U32,
        reserved: 0,
    });
    let waiters = waiters.collect::<Vec<_>>();
    let until = super::clock::monotonic().saturating_add(at_most);
    let until = [until.as_secs().min(i64::MAX as u64), until.subsec_nanos().into()];
    // SAFETY: the list and the time outlive the call; the words do too, as they are borrowed. The
    // kernel only reads all of them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            waiters.as_ptr(),
            waiters.len() as libc::c_uint,
            0u32,
            // A `struct __kernel_timespec`: two numbers of 64 bits on every machine.
            until.as_ptr(),
            libc::CLOCK_MONOTONIC,
        )
    };
    if let Ok(place) = usize::try_from(done) {
        return WokenAmong::At(place);
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::ENOMEM) => WokenAmong::Unsupported,
        _ => WokenAmong::Perhaps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_words_wakes() {
        let words = [const { AtomicU32::new(7) }; 3];
        let all = words.each_ref().map(|word| (word, 7));
        if wait_among(&all, Duration::ZERO) == WokenAmong::Unsupported {
            return;
        }
        let begun = std::time::Instant::now();
        assert_eq!(wait_among(&all, Duration::from_millis(20)), WokenAmong::Perhaps);
        assert!(begun.elapsed() >= Duration::from_millis(20));
        let changed = [(&words[0], 7), (&words[1], 8)];
        assert_eq!(wait_among(&changed, Duration::from_secs(60)), WokenAmong::Perhaps);
        std::thread::scope(|scope| {
            scope.spawn(|| while wake(&words[2], 1) == 0 {});
            assert_eq!(wait_among(&all, Duration::from_secs(60)), WokenAmong::At(2));
        });
    }
}
