//! `sendmsg` and `recvmsg` with descriptors (`SCM_RIGHTS`, `unix(7)`).
//!
//! Contract: received descriptors are close-on-exec and owned by the returned values from the
//! first moment; a truncated control message closes what came and is an error. nix's iterator
//! refuses truncated control data and so would leak the descriptors that did arrive.

use mpserverd_proto::limits::FRAME_FDS_MAX;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

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

/// How long to wait before descriptors that were [`crowded`] out are sent again: nothing says when
/// there is room.
pub const CROWDED_PAUSE: Duration = Duration::from_millis(20);

/// Whether an error of [`send`] means that too many descriptors are in flight. What all processes of
/// a user have there is limited by what the sender may have open (`ETOOMANYREFS`, `unix(7)`), so
/// others may be at fault, and the peer is still there.
#[must_use]
pub fn crowded(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ETOOMANYREFS)
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
    let flags = libc::MSG_NOSIGNAL | dont_wait(nonblocking);
    uninterrupted(|| {
        // SAFETY: vectors and control outlive the call; both are only read.
        unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) }
    })
}

/// Makes a call that returns a count, again if a signal interrupted it.
#[inline]
fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
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
    receive_raw(socket, room, fds, dont_wait(nonblocking))
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
    let got = receive_raw(socket, bytes.spare_capacity_mut(), fds, dont_wait(nonblocking))?;
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
    receive_raw(socket, room, fds, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

fn dont_wait(nonblocking: bool) -> libc::c_int {
    if nonblocking { libc::MSG_DONTWAIT } else { 0 }
}

/// Sends bytes of a stream without descriptors, by the cheapest call there is; never raises
/// `SIGPIPE`. Returns how many bytes were taken.
///
/// # Errors
/// As `send(2)`.
pub(crate) fn send_plain(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    nonblocking: bool,
) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | dont_wait(nonblocking);
    uninterrupted(|| {
        // SAFETY: the kernel reads so many bytes of a slice that outlives the call.
        unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) }
    })
}

/// Receives bytes of a stream. Descriptors that came with them are closed by the kernel before
/// they are anybody's. 0 is the end.
///
/// # Errors
/// As `recv(2)`.
pub(crate) fn receive_plain(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    nonblocking: bool,
) -> io::Result<usize> {
    let flags = dont_wait(nonblocking);
    uninterrupted(|| {
        // SAFETY: the kernel writes at most so many bytes to a slice that outlives the call.
        unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags) }
    })
}

/// The same, appended to `bytes`: at most `most`, and never more than it has room for. Nothing is
/// zeroed.
///
/// # Errors
/// As [`receive_plain`].
pub(crate) fn append_plain(
    socket: BorrowedFd<'_>,
    bytes: &mut Vec<u8>,
    most: usize,
    nonblocking: bool,
) -> io::Result<usize> {
    let before = bytes.len();
    let room = bytes.spare_capacity_mut();
    let most = most.min(room.len());
    let flags = dont_wait(nonblocking);
    let got = uninterrupted(|| {
        // SAFETY: the kernel writes at most `most` bytes to the spare room, which has them.
        unsafe { libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), most, flags) }
    })?;
    // SAFETY: so many bytes from the start of the spare room on are written now.
    unsafe { bytes.set_len(before + got) };
    Ok(got)
}

/// What one call took from a stream that carries descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// How many bytes; 0 is the end.
    pub(crate) bytes: usize,
    /// Descriptors came with them for which there was no room in this process.
    pub(crate) lost: bool,
}

/// Receives bytes of a stream, and appends the descriptors that came with them. Bytes are never
/// lost on the way.
///
/// # Errors
/// As `recvmsg(2)`.
pub(crate) fn receive_part(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    nonblocking: bool,
) -> io::Result<Part> {
    // SAFETY: a slice of bytes is one of bytes that need not be initialised; the kernel only
    // writes to it.
    let room = unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) };
    receive_some(socket, room, fds, nonblocking)
}

/// The same, appended to `bytes`: at most `most`, and never more than it has room for. Nothing is
/// zeroed.
///
/// # Errors
/// As [`receive_part`].
pub(crate) fn append_part(
    socket: BorrowedFd<'_>,
    bytes: &mut Vec<u8>,
    most: usize,
    fds: &mut Vec<OwnedFd>,
    nonblocking: bool,
) -> io::Result<Part> {
    let before = bytes.len();
    let room = bytes.spare_capacity_mut();
    let most = most.min(room.len());
    let part = receive_some(socket, &mut room[..most], fds, nonblocking)?;
    // SAFETY: the kernel has written so many bytes from the start of the spare room on, and never
    // more than there was room for.
    unsafe { bytes.set_len(before + part.bytes) };
    Ok(part)
}

fn receive_some(
    socket: BorrowedFd<'_>,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut Vec<OwnedFd>,
    nonblocking: bool,
) -> io::Result<Part> {
    let before = fds.len();
    let (bytes, flags) = receive_message(socket, bytes, fds, dont_wait(nonblocking))?;
    let mut lost = flags & libc::MSG_CTRUNC != 0;
    lost = lost || raise_low(&mut fds[before..]).is_err();
    if lost {
        fds.truncate(before);
    }
    Ok(Part { bytes, lost })
}

fn receive_raw(
    socket: BorrowedFd<'_>,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut Vec<OwnedFd>,
    flags: libc::c_int,
) -> io::Result<usize> {
    let before = fds.len();
    let (got, flags) = receive_message(socket, bytes, fds, flags)?;
    if flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0 {
        fds.truncate(before);
        let lost = flags & libc::MSG_CTRUNC != 0;
        let what: Box<dyn std::error::Error + Send + Sync> = if lost {
            DescriptorsLost.into()
        } else {
            "message longer than any of this protocol".into()
        };
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    raise_low(&mut fds[before..])?;
    Ok(got)
}

/// In a process that has closed its standard streams, the kernel gives out their numbers.
fn raise_low(fds: &mut [OwnedFd]) -> io::Result<()> {
    for low in fds.iter_mut().filter(|fd| fd.as_raw_fd() < 3) {
        *low = super::fd::duplicate_from(low.as_fd(), 3)?;
    }
    Ok(())
}

/// One `recvmsg(2)`: how many bytes came, and the flags of the message.
fn receive_message(
    socket: BorrowedFd<'_>,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut Vec<OwnedFd>,
    flags: libc::c_int,
) -> io::Result<(usize, libc::c_int)> {
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL_WORDS];
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_CMSG_CLOEXEC | flags;
    let got = uninterrupted(|| {
        // SAFETY: the kernel writes at most iov_len bytes to `bytes` and msg_controllen bytes to
        // `control`, both of which outlive the call.
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) }
    })?;
    collect(&message, fds);
    Ok((got, message.msg_flags))
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
