//! Locks on open files that the kernel releases when the last descriptor is gone, `flock(2)`.
//!
//! Contract: a lock belongs to the open file description, not to a process: descriptors that were
//! duplicated, inherited or passed share it, so do mappings, and closing one of them releases
//! nothing. Nothing here unlocks, for the same reason: it would unlock for all of them. A lock that
//! is to be taken otherwise is given up first, even if others are in the way: so a file is taken
//! [`alone`] only through an opening that holds nothing.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Takes a file for oneself or, shared, together with others; false if others have it otherwise.
/// Never waits.
fn take(fd: &impl AsFd, how: libc::c_int) -> io::Result<bool> {
    loop {
        // SAFETY: flock has no memory effects.
        if unsafe { libc::flock(fd.as_fd().as_raw_fd(), how | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(false),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}

/// Becomes one of its holders; false if somebody has it alone.
pub(crate) fn share(fd: &impl AsFd) -> io::Result<bool> {
    take(fd, libc::LOCK_SH)
}

/// Takes it alone; false if it has holders.
pub(crate) fn alone(fd: &impl AsFd) -> io::Result<bool> {
    take(fd, libc::LOCK_EX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn duplicates_hold_together_and_others_apart() {
        let path = std::env::temp_dir().join(format!("mps-flock-{}", std::process::id()));
        let one = File::create(&path).expect("creates");
        let open = || File::open(&path).expect("opens");
        let (other, third) = (open(), open());
        std::fs::remove_file(&path).expect("removes");
        let copy = one.try_clone().expect("duplicates");
        assert!(share(&one).expect("flock") && share(&copy).expect("flock"));
        assert!(share(&other).expect("flock"));
        drop(one);
        assert!(!alone(&third).expect("flock"));
        drop(other);
        assert!(!alone(&third).expect("flock"));
        drop(copy);
        assert!(alone(&third).expect("flock"));
    }
}
