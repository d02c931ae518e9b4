//! The baseline: `fork`, one instruction, `_exit`, `waitpid`, and nothing of ours.
//!
//! Contract: this is the only file of the benchmark with `unsafe`, and the only `fork` outside the
//! client's `sys/fork.rs`: a baseline that went through the code under test would be none. The
//! child calls nothing but `clock_gettime` and `_exit` and writes one atomic word, so it is safe
//! to fork in any process.

use super::driver::Sample;
use mpserverd_tests::bench::now;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A word that parent and child share, in a mapping that lives as long as the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedWord(&'static AtomicU64);

impl SharedWord {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is page-aligned, zeroed, large enough and never unmapped.
        Ok(Self(unsafe { &*memory.cast::<AtomicU64>() }))
    }
}

/// Forks a child that notes the time and ends; waits for it.
#[allow(clippy::disallowed_methods, reason = "the baseline must not use the code under test")]
pub(crate) fn start_and_join(word: SharedWord) -> io::Result<Sample> {
    let before = now();
    // SAFETY: the child calls async-signal-safe functions only, see above.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        word.0.store(now(), Ordering::Relaxed);
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(0) };
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call; the child is ours and nobody else waits for it.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {
        return Err(io::Error::last_os_error());
    }
    let first = word.0.load(Ordering::Relaxed).saturating_sub(before);
    Ok(Sample { first, total: now() - before })
}
