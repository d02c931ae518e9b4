//! What connections are made of and turn into, and how they and listeners travel as values.

use super::address::Address;
use super::error::ConnectionError;
use super::greeting::Key;
use super::listener::Listener;
use super::sockets::Acceptor;
use super::stream::{Connection, READABLE, WRITABLE};
use super::wire::Wire;
use crate::codec::Codec;
use crate::handles::{SharedFd, assert_spawning};
use crate::reducer::Reducer;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use std::io::{PipeReader, PipeWriter};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

impl Connection {
    /// Messages over a descriptor: a stream socket, or a pipe, which goes one way and carries no
    /// handles. Whoever makes it non-blocking does not change what the calls do.
    ///
    /// # Errors
    /// `System` with `InvalidInput` for a socket that is not a stream.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, ConnectionError> {
        let (wire, can) = Wire::new(fd)?;
        Ok(Self::over(wire, can))
    }

    /// The descriptor, to be used otherwise. It is between two messages.
    ///
    /// # Errors
    /// `Closed`; `InMessage` when a part of a message was received already.
    pub fn into_fd(self) -> Result<OwnedFd, ConnectionError> {
        self.directions()?;
        let Self { wire, reading, .. } = self;
        if reading.into_inner().is_none_or(|incoming| incoming.is_begun()) {
            return Err(ConnectionError::InMessage);
        }
        Ok(wire.into_fd()?)
    }

    /// The number of the descriptor.
    ///
    /// # Errors
    /// `Closed`.
    pub fn fileno(&self) -> Result<RawFd, ConnectionError> {
        self.directions()?;
        Ok(self.as_raw_fd())
    }
}

/// Between two messages, all that was sent and not received is in the descriptor: poll it as you
/// like. After [`close`](Connection::close) it is one that cannot be used for anything.
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.wire.as_fd().as_raw_fd()
    }
}

impl From<UnixStream> for Connection {
    fn from(stream: UnixStream) -> Self {
        Self::over(Wire::unix_socket(stream.into()), READABLE | WRITABLE)
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        Self::over(Wire::network_socket(stream.into()), READABLE | WRITABLE)
    }
}

impl From<PipeReader> for Connection {
    fn from(pipe: PipeReader) -> Self {
        Self::over(Wire::file(pipe.into()), READABLE)
    }
}

impl From<PipeWriter> for Connection {
    fn from(pipe: PipeWriter) -> Self {
        Self::over(Wire::file(pipe.into()), WRITABLE)
    }
}

impl TryFrom<OwnedFd> for Connection {
    type Error = ConnectionError;

    fn try_from(fd: OwnedFd) -> Result<Self, ConnectionError> {
        Self::from_fd(fd)
    }
}

impl TryFrom<Connection> for OwnedFd {
    type Error = ConnectionError;

    fn try_from(connection: Connection) -> Result<Self, ConnectionError> {
        connection.into_fd()
    }
}

/// A duplicate travels: this end is held by both then, so close it here if the peer is to see the
/// end of the other.
impl Serialize for Connection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_spawning("Connection").map_err(S::Error::custom)?;
        let can = self.directions().map_err(S::Error::custom)?;
        if self.reading.peek(|incoming| incoming.is_begun()) == Some(true) {
            return Err(S::Error::custom(ConnectionError::InMessage));
        }
        let fd = self.as_fd().try_clone_to_owned().map_err(S::Error::custom)?;
        (SharedFd::from(fd), can, self.reducer().codec()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fd, can, codec) = <(SharedFd, u8, Codec)>::deserialize(deserializer)?;
        let fd = fd.into_owned().map_err(D::Error::custom)?;
        let (wire, able) = Wire::new(fd).map_err(D::Error::custom)?;
        Ok(Self::over(wire, can & able).with_reducer(Reducer::of(codec)))
    }
}

/// The listener with its key, if it has one, and its times. The process that made it goes on
/// listening too, and keeps the file.
impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_spawning("Listener").map_err(S::Error::custom)?;
        let acceptor = self.acceptor().map_err(S::Error::custom)?;
        let fd = acceptor.as_fd().try_clone_to_owned().map_err(S::Error::custom)?;
        let (address, key, handshake) = self.terms();
        let codec = self.reducer().codec();
        (SharedFd::from(fd), address, key.map(Key::bytes), handshake, codec).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Terms = (SharedFd, Address, Option<Vec<u8>>, Option<Duration>, Codec);
        let (fd, address, key, handshake, codec) = Terms::deserialize(deserializer)?;
        let fd = fd.into_owned().map_err(D::Error::custom)?;
        let acceptor = Acceptor::from_fd(fd).map_err(D::Error::custom)?;
        let key = key.map(|key| Key::of(&key));
        Ok(Self::with(acceptor, address, key, handshake, None, Reducer::of(codec)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening().as_fd()
    }
}
