//! `Client`: calling a listener.

use super::address::Address;
use super::error::ConnectionError;
use super::frame::Fault;
use super::greeting::{self, Key};
use super::sockets;
use super::stream::{Connection, READABLE, WRITABLE};
use crate::deadline::Deadline;
use crate::reducer::Reducer;
use std::time::Duration;

#[cfg(target_os = "linux")]
mod awaited;

/// Calls a [`Listener`](super::Listener), as `multiprocessing.connection.Client`; this library's
/// or CPython's.
#[derive(Clone, Copy, Debug)]
pub struct Client;

/// How to call a listener: see [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is called before `connect`"]
pub struct ClientBuilder {
    address: Address,
    key: Option<Key>,
    timeout: Option<Duration>,
    handshake: Option<Duration>,
    reducer: Reducer,
}

impl Client {
    /// Connects, and authenticates both sides if a key is given. The empty key is one; that of all
    /// relatives is [`current_process().authkey()`](crate::CurrentProcess::authkey).
    ///
    /// It waits for as long as the listener's queue is full, and for the handshake no longer than
    /// ten seconds; [`builder`](Self::builder) has both times.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let listener = mp::Listener::bind(("localhost", 0), Some(b"secret"))?;
    /// let address = listener.address().clone();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || {
    ///         let client = mp::Client::connect(address, Some(b"secret"))?;
    ///         client.send_bytes(b"hello")
    ///     });
    ///     assert_eq!(listener.accept()?.recv_bytes(None)?, b"hello");
    ///     Ok::<(), mp::ConnectionError>(())
    /// })?;
    /// # Ok::<(), mp::ConnectionError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectionError`]: `Connect` when nobody is there; `Authentication` when one side does not
    /// know the key, `Handshake` when the listener is silent, `Eof` when it hangs up.
    pub fn connect(
        address: impl Into<Address>,
        authkey: Option<&[u8]>,
    ) -> Result<Connection, ConnectionError> {
        let builder = Self::builder(address);
        match authkey {
            Some(key) => builder.authkey(key).connect(),
            None => builder.connect(),
        }
    }

    /// The same, step by step.
    pub fn builder(address: impl Into<Address>) -> ClientBuilder {
        ClientBuilder {
            address: address.into(),
            key: None,
            timeout: None,
            handshake: Some(greeting::TIMEOUT),
            reducer: Reducer::default(),
        }
    }
}

impl ClientBuilder {
    /// Authenticates both sides with this key.
    pub fn authkey(mut self, key: &[u8]) -> Self {
        self.key = Some(Key::of(key));
        self
    }

    /// How long to wait for the listener to take the call; without it, for ever. Looking up the
    /// name of a host is not part of it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long the handshake may take from then on, which includes the time in which the listener
    /// is busy with others: ten seconds, unless given here; `None` is for ever.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake = timeout.into();
        self
    }

    /// What values are encoded by: bincode, unless given here.
    pub fn reducer(mut self, reducer: Reducer) -> Self {
        self.reducer = reducer;
        self
    }

    /// Calls.
    ///
    /// # Errors
    /// As [`Client::connect`], and `TimedOut`.
    pub fn connect(self) -> Result<Connection, ConnectionError> {
        let deadline = Deadline::of(self.timeout);
        let wire = match sockets::connect(&self.address, &deadline) {
            Ok(wire) => wire,
            Err(Fault::TimedOut) => return Err(deadline.error().into()),
            Err(Fault::System(source)) => {
                return Err(ConnectionError::Connect { address: self.address, source });
            }
        };
        let connection = Connection::over(wire, READABLE | WRITABLE).with_reducer(self.reducer);
        if let Some(key) = &self.key {
            greeting::as_client(&connection, key, self.handshake)?;
        }
        Ok(connection)
    }
}
