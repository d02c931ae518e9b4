//! Binding, accepting and connecting where the library starts no processes: TCP, Unix sockets by
//! path, and the named pipes of Windows.
//!
//! As below, nothing waits in the system: see `wire_portable`.

use super::address::Address;
use super::frame::Fault;
use super::tcp;
use super::wire::{Channel, Wire};
use crate::deadline::Deadline;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

#[cfg(windows)]
use super::wire::{PipeStream, Piped};
#[cfg(windows)]
use interprocess::os::windows::named_pipe::{PipeListener, PipeListenerOptions, pipe_mode::Bytes};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};

/// The sleep between two looks for a caller.
const NAP: Duration = Duration::from_millis(5);
/// Bytes that a named pipe holds for its reader.
#[cfg(windows)]
const PIPE_BYTES: u32 = 64 << 10;

/// A socket that listens, never blocking.
pub(super) struct Acceptor {
    socket: RwLock<Option<Socket>>,
}

enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
    #[cfg(windows)]
    Pipe(PipeListener<Bytes, Bytes>),
}

fn unsupported(address: &Address) -> io::Error {
    let what = format!("{address}: this platform has no such address");
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// A named pipe with room for callers.
#[cfg(windows)]
pub(super) fn named_pipe(name: &str) -> io::Result<PipeListener<Bytes, Bytes>> {
    PipeListenerOptions::new()
        .path(name)
        .input_buffer_size_hint(PIPE_BYTES)
        .output_buffer_size_hint(PIPE_BYTES)
        .create_duplex()
}

impl Acceptor {
    /// Listens, with the system's own backlog; gives the address with what the system chose of it.
    pub(super) fn bind(address: &Address, _backlog: u32) -> io::Result<(Self, Address)> {
        let (socket, bound) = match address {
            Address::Tcp(host, port) => {
                let listener = TcpListener::bind((host.as_str(), *port))?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                (Socket::Tcp(listener), bound.into())
            }
            #[cfg(unix)]
            Address::Path(path) => {
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                (Socket::Unix(listener), address.clone())
            }
            #[cfg(windows)]
            Address::Pipe(name) => {
                let listener = named_pipe(name)?;
                listener.set_nonblocking(true)?;
                (Socket::Pipe(listener), address.clone())
            }
            _ => return Err(unsupported(address)),
        };
        Ok((Self { socket: RwLock::new(Some(socket)) }, bound))
    }

    /// Takes the next caller. Ends when the listener is closed, with whatever error.
    pub(super) fn accept(
        &self,
        closed: &AtomicBool,
        deadline: &Deadline,
    ) -> Result<(Wire, Address), Fault> {
        loop {
            if closed.load(Ordering::SeqCst) {
                return Err(io::Error::from(io::ErrorKind::NotConnected).into());
            }
            let socket = self.socket.read().unwrap_or_else(PoisonError::into_inner);
            let accepted = match socket.as_ref() {
                None => continue,
                Some(socket) => socket.accept(),
            };
            drop(socket);
            match accepted {
                Ok((channel, peer)) => return Ok((Wire::over(channel)?, peer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            }
            let left = deadline.left();
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Fault::TimedOut);
            }
            std::thread::sleep(left.map_or(NAP, |left| left.min(NAP)));
        }
    }

    /// Stops listening.
    pub(super) fn close(&self) {
        self.socket.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Socket {
    fn accept(&self) -> io::Result<(Channel, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok((Channel::Tcp(stream), peer.into()))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok((Channel::Unix(listener.accept()?.0), Address::Unnamed)),
            #[cfg(windows)]
            Self::Pipe(listener) => {
                Ok((Channel::Pipe(Piped::new(listener.accept()?)?), Address::Unnamed))
            }
        }
    }
}

/// Calls a listener.
pub(super) fn connect(address: &Address, deadline: &Deadline) -> Result<Wire, Fault> {
    let channel = match address {
        Address::Tcp(host, port) => Channel::Tcp(tcp::connect((host, *port), deadline)?),
        #[cfg(unix)]
        Address::Path(path) => Channel::Unix(UnixStream::connect(path)?),
        #[cfg(windows)]
        Address::Pipe(name) => Channel::Pipe(Piped::new(connect_pipe(name, deadline)?)?),
        _ => return Err(unsupported(address).into()),
    };
    Ok(Wire::over(channel)?)
}

#[cfg(windows)]
fn connect_pipe(name: &str, deadline: &Deadline) -> Result<PipeStream, Fault> {
    use interprocess::ConnectWaitMode;
    let left = deadline.left();
    let mode = left.map_or(ConnectWaitMode::Unbounded, ConnectWaitMode::Timeout);
    PipeStream::connect_by_path_with_wait_mode(name, mode).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Fault::TimedOut,
        _ => error.into(),
    })
}
