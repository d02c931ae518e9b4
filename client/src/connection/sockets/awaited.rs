//! Accepting and connecting without keeping a thread.

use super::{Acceptor, invalid};
use crate::connection::address::Address;
use crate::connection::wire::Wire;
use crate::handles::SharedFd;
use crate::reactor::{Interest, ready, until};
use crate::sync::raw::lock::{NAP_LONGEST, NAP_SHORTEST};
use crate::sys::fd;
use crate::transport::shorten;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect,
    getsockopt, socket, sockopt,
};
use std::future::poll_fn;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

impl Acceptor {
    /// Takes the next caller. Ends when the listener is closed, with whatever error.
    pub(in crate::connection) async fn accept_async(
        &self,
        closed: &AtomicBool,
    ) -> io::Result<(Wire, Address)> {
        // A copy that a fork made sees the end of the original, too, and goes on.
        let mut heeds_closing = true;
        loop {
            if let Some(accepted) = self.take_any(closed)? {
                return Ok(accepted);
            }
            let mut caller = ready(Arc::new(self.socket.clone()), Interest::Read);
            let mut closing = ready(Arc::new(self.closing.clone()), Interest::Read);
            let is_closing = poll_fn(|cx| {
                if heeds_closing && Pin::new(&mut closing).poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                Pin::new(&mut caller).poll(cx).map(|()| false)
            });
            heeds_closing &= !is_closing.await || closed.load(Ordering::SeqCst);
        }
    }
}

/// Calls a listener. The name of a host is looked up by this thread.
pub(in crate::connection) async fn connect_async(address: &Address) -> io::Result<Wire> {
    match address {
        Address::Path(path) => {
            let short = shorten(path)?;
            connect_unix(&UnixAddr::new(&short.path)?).await
        }
        Address::Abstract(name) => connect_unix(&UnixAddr::new_abstract(name)?).await,
        Address::Tcp(host, port) => connect_tcp((host, *port)).await,
        Address::Pipe(_) => Err(invalid("named pipes exist on Windows only")),
        Address::Unnamed => Err(invalid("nobody can listen there")),
    }
}

fn new_socket(family: AddressFamily) -> io::Result<SharedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    Ok(fd::raise(fd, 3)?.into())
}

/// What others expect of it: a socket that waits, and that nobody else has.
fn connected(fd: SharedFd) -> io::Result<OwnedFd> {
    fd::set_nonblocking(fd.as_fd(), false)?;
    fd.into_owned()
}

/// Nobody tells when the listener's queue has room again, so it is asked, ever more rarely.
async fn connect_unix(address: &UnixAddr) -> io::Result<Wire> {
    let fd = new_socket(AddressFamily::Unix)?;
    let mut nap = NAP_SHORTEST;
    loop {
        match connect(fd.as_fd().as_raw_fd(), address) {
            Ok(()) => return Ok(Wire::unix_socket(connected(fd)?)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                until(Instant::now() + nap).await;
                nap = (nap * 2).min(NAP_LONGEST);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn connect_tcp(address: (&str, u16)) -> io::Result<Wire> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match connect_to(SockaddrStorage::from(address)).await {
            Ok(fd) => {
                let stream = TcpStream::from(connected(fd)?);
                // Messages are written whole, so there is nothing to gather.
                stream.set_nodelay(true)?;
                return Ok(Wire::network_socket(stream.into()));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(address: SockaddrStorage) -> io::Result<SharedFd> {
    let family = address.family().ok_or_else(|| invalid("an address of no family"))?;
    let fd = new_socket(family)?;
    match connect(fd.as_fd().as_raw_fd(), &address) {
        Ok(()) => return Ok(fd),
        // Interrupted or not, it goes on, and the socket is writable when it is over.
        Err(Errno::EINPROGRESS | Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        ready(Arc::new(fd.clone()), Interest::Write).await;
        let error = getsockopt(&fd, sockopt::SocketError)?;
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // It may have been ready for nothing.
        match nix::sys::socket::getpeername::<SockaddrStorage>(fd.as_fd().as_raw_fd()) {
            Ok(_) => return Ok(fd),
            Err(Errno::ENOTCONN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
