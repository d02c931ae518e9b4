//! The stream of bytes on Linux: any descriptor. Sockets by `sendmsg` and `recvmsg`, so that
//! descriptors can travel; anything else by `read` and `write`.
//!
//! Without a deadline the system waits, in the one call that also does the work. With one, calls
//! do not wait, and `ppoll` does.

use super::error::ConnectionError;
use super::frame::{Fault, Handles, Incoming, PACKET_BYTES, Wire as Stream};
use super::stream::{READABLE, WRITABLE};
use super::turn::Turn;
use crate::deadline::Deadline;
use crate::handles::{SharedFd, tells_who_is_left};
use crate::reactor::Interest;
use crate::sys::{fd, scm};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage};
use nix::sys::socket::{getsockname, getsockopt, setsockopt, socketpair, sockopt};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// As much as a pipe takes without waiting once it says that it takes something (`pipe(7)`).
const PIPE_PIECE: usize = 4096;

/// A message of so many bytes, header included, is cheaper to copy than to describe to the system.
const SMALL: usize = 512;

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A Unix socket: descriptors can travel.
    Unix,
    /// A Unix socket that keeps packets apart, for two ends of ours.
    Packets,
    /// Another socket.
    Socket,
    /// A pipe, a terminal and so on.
    File,
}

/// A descriptor that is a stream.
#[derive(Debug)]
pub(super) struct Wire {
    fd: SharedFd,
    kind: Kind,
}

impl Wire {
    /// A connected pair: of packets, where the system has room for ours.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (mut first, mut second) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let mut kind = Kind::Packets;
        if !has_room(&first) || !has_room(&second) {
            (first, second) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
            kind = Kind::Unix;
        }
        let wire = |fd| Ok::<_, io::Error>(Self::over(fd::raise(fd, 3)?, kind));
        Ok((wire(first)?, wire(second)?))
    }

    fn over(fd: OwnedFd, kind: Kind) -> Self {
        let fd = SharedFd::from(fd);
        // A fork that runs a task gets connections as arguments; one that it has by inheritance
        // would keep the peer from seeing the end.
        tells_who_is_left(&fd);
        Self { fd, kind }
    }

    /// A stream socket of the Unix family.
    pub(super) fn unix_socket(fd: OwnedFd) -> Self {
        Self::over(fd, Kind::Unix)
    }

    /// A stream socket of any other family.
    pub(super) fn network_socket(fd: OwnedFd) -> Self {
        Self::over(fd, Kind::Socket)
    }

    /// A pipe, or anything else that is read and written.
    pub(super) fn file(fd: OwnedFd) -> Self {
        Self::over(fd, Kind::File)
    }

    /// A descriptor that is a stream, and the directions in which it goes.
    pub(super) fn new(fd: OwnedFd) -> io::Result<(Self, u8)> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        match getsockopt(&fd, sockopt::SockType) {
            Ok(sort) => {
                let name = getsockname::<SockaddrStorage>(fd.as_raw_fd())?;
                let kind = match (sort, name.family() == Some(AddressFamily::Unix)) {
                    (SockType::Stream, true) => Kind::Unix,
                    (SockType::SeqPacket, true) if has_room(&fd) => Kind::Packets,
                    (SockType::Stream, false) => Kind::Socket,
                    _ => return Err(invalid("Connection: the socket is not a stream")),
                };
                Ok((Self::over(fd, kind), READABLE | WRITABLE))
            }
            Err(Errno::ENOTSOCK) => {
                let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
                if flags.contains(OFlag::O_PATH) {
                    return Err(invalid("Connection: the descriptor can only be passed on"));
                }
                let mode = flags & OFlag::O_ACCMODE;
                let can = if mode == OFlag::O_RDONLY {
                    READABLE
                } else if mode == OFlag::O_WRONLY {
                    WRITABLE
                } else {
                    READABLE | WRITABLE
                };
                Ok((Self::file(fd), can))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why no descriptor can travel over it, if none can.
    pub(super) fn without_handles(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Unix | Kind::Packets => None,
            Kind::Socket => Some("a network socket"),
            Kind::File => Some("a pipe"),
        }
    }

    /// Whether something is there; all that has not been received is with the system.
    pub(super) fn poll(
        &self,
        _: &Turn<Incoming>,
        deadline: &Deadline,
    ) -> Result<bool, ConnectionError> {
        Ok(ready(self.fd.as_fd(), PollFlags::POLLIN, deadline)?)
    }

    /// Gives up what the descriptor refers to.
    pub(super) fn close(&self) {
        let fd = self.fd.as_fd();
        crate::reactor::let_go(fd.as_raw_fd(), || fd::hollow_out(fd));
    }

    /// Waits until a call may have something to do, without keeping a thread.
    pub(super) async fn ready_async(&self, interest: Interest) {
        crate::reactor::ready(Arc::new(self.fd.clone()), interest).await;
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        self.fd.into_owned()
    }

    /// Does it, and waits for the descriptor whenever it would have to wait. `attempt` is told
    /// whether it must not wait itself.
    #[inline]
    fn until<R>(
        &self,
        events: PollFlags,
        deadline: &Deadline,
        mut attempt: impl FnMut(bool) -> io::Result<R>,
    ) -> Result<R, Fault> {
        let bounded = !deadline.is_never();
        // A file has no call that does not wait, so it is asked first.
        let mut ask = bounded && self.kind == Kind::File;
        loop {
            if ask && !ready(self.fd.as_fd(), events, deadline)? {
                return Err(Fault::TimedOut);
            }
            match attempt(bounded) {
                // Also where there is no deadline, if somebody made the descriptor non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ask = true,
                done => return Ok(done?),
            }
        }
    }

    /// Receives with descriptors.
    fn receive(
        &self,
        handles: &mut Handles,
        deadline: &Deadline,
        mut part: impl FnMut(&mut Vec<OwnedFd>, bool) -> io::Result<scm::Part>,
    ) -> Result<usize, Fault> {
        let mut fds = Vec::new();
        let got = self.until(PollFlags::POLLIN, deadline, |bounded| part(&mut fds, bounded))?;
        handles.lost |= got.lost;
        if !fds.is_empty() {
            handles.add(fds);
        }
        Ok(got.bytes)
    }
}

impl Stream for Wire {
    #[inline]
    fn has_packets(&self) -> bool {
        self.kind == Kind::Packets
    }

    #[inline]
    fn read(
        &self,
        into: &mut [u8],
        handles: Option<&mut Handles>,
        deadline: &Deadline,
    ) -> Result<usize, Fault> {
        let (fd, events) = (self.fd.as_fd(), PollFlags::POLLIN);
        match (self.kind, handles) {
            (Kind::File, _) => self.until(events, deadline, |_| read(fd, into)),
            (Kind::Unix | Kind::Packets, Some(handles)) => {
                self.receive(handles, deadline, |fds, bounded| {
                    scm::receive_part(fd, into, fds, bounded)
                })
            }
            _ => self.until(events, deadline, |bounded| scm::receive_plain(fd, into, bounded)),
        }
    }

    #[inline]
    fn append(
        &self,
        into: &mut Vec<u8>,
        most: usize,
        handles: Option<&mut Handles>,
        deadline: &Deadline,
    ) -> Result<usize, Fault> {
        let (fd, events) = (self.fd.as_fd(), PollFlags::POLLIN);
        match (self.kind, handles) {
            (Kind::File, _) => self.until(events, deadline, |_| fd::append(fd, into, most)),
            (Kind::Unix | Kind::Packets, Some(handles)) => {
                self.receive(handles, deadline, |fds, bounded| {
                    scm::append_part(fd, into, most, fds, bounded)
                })
            }
            _ => self.until(events, deadline, |bounded| scm::append_plain(fd, into, most, bounded)),
        }
    }

    #[inline]
    fn write(
        &self,
        parts: &[&[u8]],
        fds: &[SharedFd],
        deadline: &Deadline,
    ) -> Result<usize, Fault> {
        let (fd, events) = (self.fd.as_fd(), PollFlags::POLLOUT);
        if self.kind == Kind::File {
            return self.until(events, deadline, |bounded| {
                write(fd, parts, if bounded { PIPE_PIECE } else { usize::MAX })
            });
        }
        if !fds.is_empty() {
            let fds = fds.iter().map(AsFd::as_fd).collect::<Vec<_>>();
            return self.until(events, deadline, |bounded| scm::send(fd, parts, &fds, bounded));
        }
        let mut room = [0; SMALL];
        if let Some(small) = gather(parts, &mut room) {
            return self.until(events, deadline, |bounded| scm::send_plain(fd, small, bounded));
        }
        self.until(events, deadline, |bounded| scm::send(fd, parts, &[], bounded))
    }
}

/// All parts in one piece, if they fit.
#[inline]
fn gather<'a>(parts: &[&[u8]], room: &'a mut [u8; SMALL]) -> Option<&'a [u8]> {
    let mut used = 0;
    for part in parts {
        room.get_mut(used..used + part.len())?.copy_from_slice(part);
        used += part.len();
    }
    Some(&room[..used])
}

/// Whether a socket takes two of our largest packets at once, so that one is received while
/// another is sent. It is asked for as much as systems allow by default (`socket(7)`, `wmem_max`).
fn has_room(fd: &OwnedFd) -> bool {
    let _ = setsockopt(fd, sockopt::SndBuf, &(2 * PACKET_BYTES));
    getsockopt(fd, sockopt::SndBuf).is_ok_and(|room| room > 2 * PACKET_BYTES)
}

fn read(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::read(fd, into) {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

fn write(fd: BorrowedFd<'_>, parts: &[&[u8]], mut most: usize) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); 3];
    for (slice, part) in slices.iter_mut().zip(parts) {
        let part = &part[..part.len().min(most)];
        most -= part.len();
        *slice = IoSlice::new(part);
    }
    loop {
        match nix::sys::uio::writev(fd, &slices) {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Waits until a descriptor is ready, or at its end; false when the time passes first.
pub(super) fn ready(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    deadline: &Deadline,
) -> io::Result<bool> {
    ready_any(&mut [PollFd::new(fd, events)], deadline)
}

/// The same, for one of several.
pub(super) fn ready_any(fds: &mut [PollFd<'_>], deadline: &Deadline) -> io::Result<bool> {
    loop {
        match ppoll(fds, deadline.left().map(time), None) {
            Ok(0) if deadline.left().is_none_or(|left| left.is_zero()) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A time as `ppoll` takes it; longer ones than a century are asked for again.
fn time(left: Duration) -> TimeSpec {
    TimeSpec::from_duration(left.min(Duration::from_secs(100 * 366 * 24 * 60 * 60)))
}
