//! The one `fork` of the project.
//!
//! Contract: only a process that has proven to be single-threaded (or whose caller accepts what
//! POSIX says about forking a threaded one) comes here. glibc's `fork` is used, not a bare
//! `clone3`: it gives the child its own TID and robust list, without which a robust mutex that
//! the child holds is never recovered.

use std::io;

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one, with the pid of the new.
    Parent(u32),
}

/// Forks.
///
/// # Safety
/// No other thread may hold a lock that the child will want: either there is no other thread, or
/// all others are known to sleep in the kernel outside any lock, or the caller's user asked for it.
///
/// # Errors
/// As `fork(2)`: `EAGAIN` (pids), `ENOMEM`.
#[allow(clippy::disallowed_methods, reason = "this is the room for it")]
pub(crate) unsafe fn fork() -> io::Result<Side> {
    // SAFETY: the caller vouches for the threads.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid as u32)),
    }
}

/// Ends this process without running the template's destructors or `atexit` handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Flushes C's own output buffers, for modules that use stdio.
pub(crate) fn flush_stdio() {
    // SAFETY: a null stream means all output streams; other threads' use is serialised by stdio.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
