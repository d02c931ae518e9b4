//! What needs `unsafe`: dispositions of signals, and handlers of `fork`.
//!
//! Contract: a disposition is only ever set to "ignore", so no code of ours runs in a handler; the
//! fork handler sleeps and touches nothing.

use nix::sys::signal::{SigHandler, Signal, signal};
use std::io;

/// Ignores a signal for the rest of this process's life.
pub(crate) fn ignore(which: Signal) -> io::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(which, SigHandler::SigIgn) }?;
    Ok(())
}

extern "C" fn sleep_for_ever() {
    loop {
        // SAFETY: `sleep` has no preconditions and may be called after fork.
        unsafe { libc::sleep(3600) };
    }
}

/// Makes every fork of this process hang in the child.
pub(crate) fn hang_forks() -> io::Result<()> {
    // SAFETY: the handler takes nothing, never unwinds, and lives as long as the object, which is
    // never unloaded.
    match unsafe { libc::pthread_atfork(None, None, Some(sleep_for_ever)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
