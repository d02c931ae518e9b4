//! What needs `unsafe`: dispositions of signals, handlers of `fork`, and memory that is code.
//!
//! Contract: a disposition is only ever set to "ignore", so no code of ours runs in a handler; the
//! fork handler sleeps and touches nothing; memory that could be run is given back and never run.

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

/// Asks for a page that can be written and run, as compilers at run time do, and gives it back.
pub(crate) fn make_code() -> io::Result<()> {
    let (size, rights) = (4096, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at a place of the kernel's choice.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), size, rights, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page was made above, and nobody else knows it.
    unsafe { libc::munmap(page, size) };
    Ok(())
}
