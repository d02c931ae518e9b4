//! A [`Client`] that is awaited.

use super::{Client, ClientBuilder, Connection, ConnectionError, READABLE, WRITABLE};
use super::{Deadline, greeting, sockets};
use crate::connection::address::Address;
use crate::reactor::{before, until};
use std::time::Instant;

impl Client {
    /// Connects, and authenticates both sides if a key is given, without keeping a thread: the
    /// awaited [`connect`](Self::connect). Dropping the future hangs up.
    ///
    /// The name of a host is looked up by the thread that polls; a runtime has its own way to do
    /// that, so give an address where it matters.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_async(
        address: impl Into<Address>,
        authkey: Option<&[u8]>,
    ) -> Result<Connection, ConnectionError> {
        let builder = Self::builder(address);
        match authkey {
            Some(key) => builder.authkey(key).connect_async().await,
            None => builder.connect_async().await,
        }
    }
}

impl ClientBuilder {
    /// Calls: the awaited [`connect`](Self::connect), with the times that were given. Dropping the
    /// future hangs up.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_async(self) -> Result<Connection, ConnectionError> {
        let deadline = Deadline::of(self.timeout);
        let at = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let called = before(sockets::connect_async(&self.address), &mut at.map(until)).await;
        let wire = match called {
            Some(Ok(wire)) => wire,
            None => return Err(deadline.error().into()),
            Some(Err(source)) => {
                return Err(ConnectionError::Connect { address: self.address, source });
            }
        };
        let connection = Connection::over(wire, READABLE | WRITABLE);
        if let Some(key) = &self.key {
            greeting::as_client_async(&connection, key, self.handshake).await?;
        }
        Ok(connection)
    }
}
