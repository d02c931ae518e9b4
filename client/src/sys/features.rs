//! Whether the kernel, and whatever filters its calls, lets this process use a feature.
//!
//! Contract: each function tries the call itself in a form that changes nothing.

use super::futex::{self, WokenAmong};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Whether `close_range(2)` works (Linux 5.9 and later).
#[must_use]
pub fn close_range() -> bool {
    // SAFETY: no descriptor has such a number, so none is closed.
    unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0u32) == 0 }
}

/// Whether `futex_waitv(2)` works (Linux 5.16 and later).
#[must_use]
pub fn futex_waitv() -> bool {
    let word = AtomicU32::new(0);
    // Another value is expected, so the call returns at once.
    futex::wait_among(&[(&word, 1)], Duration::ZERO) != WokenAmong::Unsupported
}

/// The version of Landlock's interface; `None` where there is no Landlock, or it is not active.
#[must_use]
pub fn landlock_abi() -> Option<u32> {
    /// Asks for the version instead of a rule set.
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes no memory: the pointer must be null.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_changes_nothing() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let (first, abi) = ((close_range(), futex_waitv()), landlock_abi());
        assert_eq!(((close_range(), futex_waitv()), landlock_abi()), (first, abi));
        assert!(file.metadata().is_ok());
    }
}
