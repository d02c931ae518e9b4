//! Giving up what makes a process more than its user: capabilities, and ways to get some back.
//!
//! Contract: every call changes this process only, for good, and takes away; none gives. They are
//! for a process of one thread: each acts on the calling thread.

use std::io;

fn check(done: libc::c_int) -> io::Result<()> {
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Empties the ambient set (`PR_CAP_AMBIENT_CLEAR_ALL`).
///
/// # Errors
/// As `prctl(2)`.
pub fn clear_ambient() -> io::Result<()> {
    // SAFETY: no memory arguments.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) })
}

/// Empties the bounding set, as far as `CAP_SETPCAP` is there for it (`PR_CAPBSET_DROP`).
///
/// # Errors
/// As `prctl(2)`: `EPERM` without that capability.
pub fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: no memory arguments.
        let held = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
        if held == -1 {
            // The kernel has no more.
            return Ok(());
        }
        if held == 1 {
            // SAFETY: no memory arguments.
            check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) })?;
        }
    }
    Ok(())
}

/// Version 3 of `capset(2)`: two words of each set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Empties the effective, permitted and inheritable sets.
///
/// # Errors
/// As `capset(2)`.
pub fn drop_capabilities() -> io::Result<()> {
    // A header (version, pid 0: this thread) and two times three empty sets (`capget(2)`).
    let header = [CAPABILITY_VERSION, 0];
    let sets = [0u32; 6];
    // SAFETY: the kernel reads both, which have the sizes of this version.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    check(done as libc::c_int)
}

/// From here on no program that is executed gains anything (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// As `prctl(2)`.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: no memory arguments.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
}

/// Keeps other processes of the same user out of this one's memory and descriptors, until it
/// executes another program (`PR_SET_DUMPABLE`).
///
/// # Errors
/// As `prctl(2)`.
pub fn forbid_inspection() -> io::Result<()> {
    // SAFETY: no memory arguments.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}
