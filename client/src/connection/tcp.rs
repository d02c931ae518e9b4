//! Calling a listener over the network, on every platform.

use super::frame::Fault;
use crate::deadline::Deadline;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};

/// Calls each address that the name means, until one answers.
pub(super) fn connect(address: (&str, u16), deadline: &Deadline) -> Result<TcpStream, Fault> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        let connected = match deadline.left() {
            None => TcpStream::connect(address),
            Some(left) if left.is_zero() => return Err(Fault::TimedOut),
            Some(left) => TcpStream::connect_timeout(&address, left),
        };
        match connected {
            Ok(stream) => {
                // Messages are written whole, so there is nothing to gather.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    if deadline.left().is_some_and(|left| left.is_zero()) {
        return Err(Fault::TimedOut);
    }
    Err(last.into())
}
