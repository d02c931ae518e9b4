//! Who is at the other end of a Unix socket, beyond `SO_PEERCRED`.
//!
//! Contract: both functions ask about the process that connected (or listened, or made the pair),
//! as it was then; nothing here looks anything up by number.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Groups that fit the first question: almost everybody has fewer.
const GROUPS: usize = 64;
/// Groups that a process can have (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// The supplementary groups that the peer had when it connected (`SO_PEERGROUPS`, Linux 4.13).
///
/// # Errors
/// As `getsockopt(2)`.
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; GROUPS];
    loop {
        let mut bytes = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `bytes` bytes to the buffer, which has them, and then
        // how many there are to `bytes`.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<u32>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE)
            || !(groups.len()..=GROUPS_MAX).contains(&count)
        {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// The peer itself (`SO_PEERPIDFD`, Linux 6.5), whatever became of its pid.
///
/// # Errors
/// As `getsockopt(2)`: `ENOPROTOOPT` from an older kernel, `ESRCH` or `EINVAL` when the peer has
/// ended.
pub fn pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut number: libc::c_int = -1;
    let mut bytes = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes one int.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            (&raw mut number).cast(),
            &raw mut bytes,
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = nix::unistd::getgroups().unwrap();
        let mut own = own.iter().map(|gid| gid.as_raw()).collect::<Vec<_>>();
        let mut told = groups(one.as_fd()).unwrap();
        own.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, own);
        match pidfd(one.as_fd()) {
            Ok(pidfd) => {
                let info =
                    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
                let line = format!("Pid:\t{}", std::process::id());
                assert!(info.unwrap().contains(&line));
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT)),
        }
    }
}
