//! What connections are made of where no handles travel, and that neither do they.

use super::error::ConnectionError;
use super::listener::Listener;
use super::stream::{Connection, READABLE, WRITABLE};
use super::wire::{Channel, Wire};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use std::net::TcpStream;

const NOT_HERE: &str = "handles do not travel on this platform";

impl TryFrom<TcpStream> for Connection {
    type Error = ConnectionError;

    fn try_from(stream: TcpStream) -> Result<Self, ConnectionError> {
        Ok(Self::over(Wire::over(Channel::Tcp(stream))?, READABLE | WRITABLE))
    }
}

#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixStream> for Connection {
    type Error = ConnectionError;

    fn try_from(stream: std::os::unix::net::UnixStream) -> Result<Self, ConnectionError> {
        Ok(Self::over(Wire::over(Channel::Unix(stream))?, READABLE | WRITABLE))
    }
}

impl Serialize for Connection {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(NOT_HERE))
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(NOT_HERE))
    }
}

impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(NOT_HERE))
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(NOT_HERE))
    }
}
