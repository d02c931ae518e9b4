//! Binding, accepting and connecting on Linux: Unix sockets, by path or abstract name, and TCP.

use super::address::Address;
use super::frame::Fault;
use super::tcp;
use super::wire::{Wire, ready_any};
use crate::deadline::Deadline;
use crate::handles::{SharedFd, tells_who_is_left};
use crate::sys::fd;
use crate::transport::shorten;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr,
    connect as connect_raw, getsockname, getsockopt, listen, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod awaited;

pub(super) use awaited::connect_async;

/// A socket that listens, and a way to wake who waits for callers.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: SharedFd,
    is_unix: bool,
    /// Readable, for ever, once the listener is closed.
    closing: SharedFd,
    close: OwnedFd,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl Acceptor {
    /// Listens; gives the address with what the system chose of it.
    pub(super) fn bind(address: &Address, backlog: u32) -> io::Result<(Self, Address)> {
        let (socket, bound): (OwnedFd, _) = match address {
            Address::Path(path) => {
                let listener = UnixListener::bind(&shorten(path)?.path)?;
                (listener.into(), address.clone())
            }
            Address::Abstract(name) => {
                let name = SocketAddr::from_abstract_name(name)?;
                (UnixListener::bind_addr(&name)?.into(), address.clone())
            }
            Address::Tcp(host, port) => {
                let listener = TcpListener::bind((host.as_str(), *port))?;
                let bound = listener.local_addr()?;
                (listener.into(), bound.into())
            }
            Address::Pipe(_) => return Err(invalid("named pipes exist on Windows only")),
            Address::Unnamed => return Err(invalid("nobody can listen there")),
        };
        // std chooses a backlog of its own; the last one counts.
        let most = i32::from(Backlog::MAXCONN);
        let backlog = i32::try_from(backlog).unwrap_or(most).min(most);
        listen(&socket, Backlog::new(backlog)?)?;
        let is_unix = !matches!(address, Address::Tcp(..));
        Ok((Self::over(fd::raise(socket, 3)?, is_unix)?, bound))
    }

    /// A listening socket that came from elsewhere.
    pub(super) fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if !getsockopt(&fd, sockopt::AcceptConn)? {
            return Err(invalid("Listener: the descriptor is no socket that listens"));
        }
        let name = getsockname::<SockaddrStorage>(fd.as_raw_fd())?;
        Self::over(fd, name.family() == Some(AddressFamily::Unix))
    }

    fn over(socket: OwnedFd, is_unix: bool) -> io::Result<Self> {
        // Others may have taken the caller that woke us.
        fd::set_nonblocking(socket.as_fd(), true)?;
        let (closing, close) = fd::pipe()?;
        let socket = SharedFd::from(socket);
        // Callers of a listener that is gone must not wait for a fork that has it by inheritance.
        tells_who_is_left(&socket);
        Ok(Self { socket, is_unix, closing: closing.into(), close })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes the next caller. Ends when the listener is closed, with whatever error.
    pub(super) fn accept(
        &self,
        closed: &AtomicBool,
        deadline: &Deadline,
    ) -> Result<(Wire, Address), Fault> {
        // A copy that a fork made sees the end of the original, too, and goes on.
        let mut heeds_closing = true;
        loop {
            if let Some(accepted) = self.take_any(closed)? {
                return Ok(accepted);
            }
            let listener = PollFd::new(self.socket.as_fd(), PollFlags::POLLIN);
            let closing = PollFd::new(self.closing.as_fd(), PollFlags::POLLIN);
            let mut fds = [listener, closing];
            let watched = if heeds_closing { 2 } else { 1 };
            if !ready_any(&mut fds[..watched], deadline)? {
                return Err(Fault::TimedOut);
            }
            heeds_closing &= fds[1].any() != Some(true) || closed.load(Ordering::SeqCst);
        }
    }

    /// Takes the next caller, if one is there.
    fn take_any(&self, closed: &AtomicBool) -> io::Result<Option<(Wire, Address)>> {
        loop {
            if closed.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            match self.take() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // That caller is gone, or its network.
                Err(error) if is_of_caller(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&self) -> io::Result<(Wire, Address)> {
        let fd = fd::accept(self.socket.as_fd())?;
        if self.is_unix {
            let stream = UnixStream::from(fd);
            let peer = stream.peer_addr().map_or(Address::Unnamed, |peer| {
                let name = peer.as_abstract_name().map(|name| Address::Abstract(name.to_vec()));
                name.or(peer.as_pathname().map(Address::from)).unwrap_or(Address::Unnamed)
            });
            return Ok((Wire::unix_socket(stream.into()), peer));
        }
        let stream = TcpStream::from(fd);
        // Fails for who is gone again; what is left to be read can be, all the same.
        let _ = stream.set_nodelay(true);
        let peer = stream.peer_addr().map_or(Address::Unnamed, Address::from);
        Ok((Wire::network_socket(stream.into()), peer))
    }

    /// Stops listening, here.
    pub(super) fn close(&self) {
        let _ = nix::unistd::write(&self.close, &[0]);
        fd::hollow_out(self.socket.as_fd());
    }
}

/// Errors of `accept(2)` that are those of one caller.
fn is_of_caller(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(
        number,
        Some(
            Errno::ECONNABORTED
                | Errno::ENETDOWN
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::EOPNOTSUPP
                | Errno::ENETUNREACH
        )
    )
}

/// Calls a listener.
pub(super) fn connect(address: &Address, deadline: &Deadline) -> Result<Wire, Fault> {
    match address {
        Address::Path(path) => {
            let short = shorten(path)?;
            connect_unix(&UnixAddr::new(&short.path).map_err(io::Error::from)?, deadline)
        }
        Address::Abstract(name) => {
            connect_unix(&UnixAddr::new_abstract(name).map_err(io::Error::from)?, deadline)
        }
        Address::Tcp(host, port) => {
            let stream = tcp::connect((host, *port), deadline)?;
            Ok(Wire::network_socket(fd::raise(stream.into(), 3)?))
        }
        Address::Pipe(_) => Err(invalid("named pipes exist on Windows only").into()),
        Address::Unnamed => Err(invalid("nobody can listen there").into()),
    }
}

/// The system waits while the listener's queue is full, in the order of the calls.
fn connect_unix(address: &UnixAddr, deadline: &Deadline) -> Result<Wire, Fault> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(io::Error::from)?;
    loop {
        // Zero means for ever there.
        let left = deadline.left().map(|left| left.max(Duration::from_micros(1)));
        if let Some(left) = left {
            limit_wait(&fd, left)?;
        }
        match connect_raw(fd.as_raw_fd(), address) {
            Ok(()) => break,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if deadline.left().is_some_and(|left| left.is_zero()) => {
                return Err(Fault::TimedOut);
            }
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    if !deadline.is_never() {
        limit_wait(&fd, Duration::ZERO)?;
    }
    Ok(Wire::unix_socket(fd::raise(fd, 3)?))
}

fn limit_wait(fd: &OwnedFd, time: Duration) -> io::Result<()> {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).min(1 << 30);
    let time = TimeVal::new(seconds, i64::from(time.subsec_micros()));
    Ok(setsockopt(fd, sockopt::SendTimeout, &time)?)
}
