//! `sendmsg` and `recvmsg` with descriptors (`SCM_RIGHTS`, `unix(7)`).
//!
//! Contract: received descriptors are close-on-exec and owned by the returned values from the
//! first moment; a truncated control message closes what came and is an error. nix's iterator
//! refuses truncated control data and so would leak the descriptors that did arrive.

use mpserverd_proto::limits::FRAME_FDS_MAX;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors came that this process has no room for. They are closed, and so is whatever else
/// was in the message.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("descriptors were lost on the way: raise RLIMIT_NOFILE (`ulimit -n`)")]
pub struct DescriptorsLost;

impl DescriptorsLost {
    /// Whether an error of [`receive`] is this.
    #[must_use]
    pub fn is(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::EMFILE)
            || error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

const FD_BYTES: usize = size_of::<RawFd>();
/// Room for one control message with all descriptors that the kernel passes at once.
const CONTROL_WORDS: usize = (FRAME_FDS_MAX * FD_BYTES + 64) / size_of::<u64>();

/// Sends bytes (as one message on a message socket) with descriptors; never raises `SIGPIPE`.
/// Returns how many bytes were taken.
///
/// # Errors
/// As `sendmsg(2)`; `InvalidInput` for more than [`FRAME_FDS_MAX`] descriptors.
pub fn send(
    socket: BorrowedFd<'_>,
    parts: &[&[u8]],
    fds: &[BorrowedFd<'_>],
    nonblocking: bool,
) -> io::Result<usize> {
    if fds.len() > FRAME_FDS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 4];
    for (vector, part) in vectors.iter_mut().zip(parts) {
        *vector = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
    }
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: an all-zero msghdr is valid: no address, no vectors, no control data.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = parts.len().min(vectors.len()) as _;
    if !fds.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE is arithmetic.
        message.msg_controllen = unsafe { libc::CMSG_SPACE((fds.len() * FD_BYTES) as u32) } as _;
        // SAFETY: the control buffer is large enough for FRAME_FDS_MAX descriptors (checked
        // above) and aligned as u64; CMSG_FIRSTHDR and CMSG_DATA point into it.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN((fds.len() * FD_BYTES) as u32) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (at, fd) in fds.iter().enumerate() {
                data.add(at).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    let flags = libc::MSG_NOSIGNAL | if nonblocking { libc::MSG_DONTWAIT } else { 0 };
    loop {
        // SAFETY: vectors and control outlive the call; both are only read.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Receives bytes (one message, on a message socket) and appends its descriptors to `fds`.
/// Returns how many bytes came; 0 is the end.
///
/// # Errors
/// As `recvmsg(2)`; `InvalidData` for truncated control data (the descriptor table is full:
/// [`DescriptorsLost`]) and for a message longer than `bytes`.
pub fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    nonblocking: bool,
) -> io::Result<usize> {
    // SAFETY: a slice of bytes is one of bytes that need not be initialised; the kernel only
    // writes to it.
    let room = unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) };
    receive_raw(socket, room, fds, nonblocking)
}

/// The same, into the room that `bytes` has; what was in it is gone. Memory that the message does
/// not fill is never touched, which is what makes a large buffer cheap in a fresh process.
///
/// # Errors
/// As [`receive`].
pub fn receive_into(
    socket: BorrowedFd<'_>,
    bytes: &mut Vec<u8>,
    fds: &mut Vec<OwnedFd>,
    nonblocking: bool,
) -> io::Result<usize> {
    bytes.clear();
    let got = receive_raw(socket, bytes.spare_capacity_mut(), fds, nonblocking)?;
    // SAFETY: the kernel has written so many bytes from the start of the spare room on, and never
    // more than there was room for.
    unsafe { bytes.set_len(got) };
    Ok(got)
}

/// The same as [`receive`], without waiting, and without taking the message: the next one who
/// receives gets it again, with descriptors of his own.
///
/// # Errors
/// As [`receive`].
pub fn peek(socket: BorrowedFd<'_>, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    // SAFETY: as in `receive`.
    let room = unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) };
    receive_flags(socket, room, fds, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

fn receive_raw(
    socket: BorrowedFd<'_>,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut Vec<OwnedFd>,
    nonblocking: bool,
) -> io::Result<usize> {
    receive_flags(socket, bytes, fds, if nonblocking { libc::MSG_DONTWAIT } else { 0 })
}

fn receive_flags(
    socket: BorrowedFd<'_>,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut Vec<OwnedFd>,
    flags: libc::c_int,
) -> io::Result<usize> {
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL_WORDS];
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    let got = loop {
        // SAFETY: the kernel writes at most iov_len bytes to `bytes` and msg_controllen bytes to
        // `control`, both of which outlive the call.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(got) {
            Ok(got) => break got,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    let before = fds.len();
    collect(&message, fds);
    if message.msg_flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0 {
        fds.truncate(before);
        let lost = message.msg_flags & libc::MSG_CTRUNC != 0;
        let what: Box<dyn std::error::Error + Send + Sync> = if lost {
            DescriptorsLost.into()
        } else {
            "message longer than any of this protocol".into()
        };
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    // In a process that has closed its standard streams, the kernel gives out their numbers.
    for low in fds[before..].iter_mut().filter(|fd| fd.as_raw_fd() < 3) {
        *low = super::fd::duplicate_from(low.as_fd(), 3)?;
    }
    Ok(got)
}

/// Takes ownership of every descriptor in the control data of a received message.
fn collect(message: &libc::msghdr, fds: &mut Vec<OwnedFd>) {
    // SAFETY: `message` was filled by recvmsg; the CMSG macros walk the control buffer within
    // msg_controllen. Every descriptor found was just made for this process and has no owner.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let empty = libc::CMSG_LEN(0) as usize;
                let count = ((*header).cmsg_len as usize).saturating_sub(empty) / FD_BYTES;
                fds.extend(
                    (0..count).map(|at| OwnedFd::from_raw_fd(data.add(at).read_unaligned())),
                );
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
