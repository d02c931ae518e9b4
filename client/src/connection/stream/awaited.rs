//! A [`Connection`] that is awaited: calls that do not wait, and a future between them.

use super::{CUT, Connection, ConnectionError, limit, values};
use crate::connection::frame::{Fault, Handles, Outgoing};
use crate::connection::values::VALUE_BYTES_MAX;
use crate::deadline::Deadline;
use crate::handles::SharedFd;
use crate::reactor::Interest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::Ordering;

/// A message under way. If it is dropped in the middle, nothing can be sent after it.
struct Sending<'a> {
    connection: &'a Connection,
    outgoing: Outgoing<'a>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.outgoing.is_under_way() {
            self.connection.can.fetch_or(CUT, Ordering::Relaxed);
        }
    }
}

impl Connection {
    async fn transmit_async(
        &self,
        body: [&[u8]; 2],
        fds: &[SharedFd],
    ) -> Result<(), ConnectionError> {
        let _mine = self.writing.take_async().await;
        self.check_writable()?;
        let mut sending = Sending { connection: self, outgoing: Outgoing::new(body, fds) };
        loop {
            let now = Deadline::now();
            match sending.outgoing.go_on(&self.wire, &now) {
                Ok(()) => return Ok(()),
                Err(Fault::TimedOut) => self.wire.ready_async(Interest::Write).await,
                Err(fault) => return Err(self.unsent(sending.outgoing.unsent(fault, &now))),
            }
            self.directions()?;
        }
    }

    async fn receive_async(
        &self,
        limit: u64,
        keep: bool,
    ) -> Result<(Vec<u8>, Handles), ConnectionError> {
        self.check_readable()?;
        let mut reading = self.reading.take_async().await;
        loop {
            // What others have found out meanwhile.
            self.check_readable()?;
            match reading.message(&self.wire, limit, keep, &Deadline::now()) {
                Err(ConnectionError::TimedOut(_)) => self.wire.ready_async(Interest::Read).await,
                done => return done.map_err(|error| self.failed(error)),
            }
        }
    }

    /// Sends a value without keeping a thread: the awaited [`send`](Self::send). The value is
    /// encoded by this call, so the future does not borrow it.
    ///
    /// Dropping the future before any of the message was sent sends nothing. When a part was, the
    /// rest cannot follow, so the connection can no longer be written
    /// ([`ConnectionError::Cut`]), as after a timeout. A message that the system takes at once is
    /// sent in one poll.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (ours, theirs) = mp::pipe(true)?;
    /// let (sent, received) = tokio::join!(ours.send_async(&"hello"), theirs.recv_async::<String>());
    /// sent?;
    /// assert_eq!(received?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_async<T: Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> impl Future<Output = Result<(), ConnectionError>> + Send + use<'_, T> {
        let packed = self.check_writable().and_then(|()| self.pack(value));
        async move {
            let out = packed?;
            self.transmit_async([out.preamble.bytes(), &out.parcel.bytes], &out.parcel.fds).await
        }
    }

    /// Receives a value without keeping a thread: the awaited [`recv`](Self::recv).
    ///
    /// Dropping the future loses nothing: what has come of a message is kept for the next call.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_async<T: DeserializeOwned>(&self) -> Result<T, ConnectionError> {
        let (message, handles) = self.receive_async(VALUE_BYTES_MAX, true).await?;
        values::unpack(self.reducer.codec(), &message, handles)
    }

    /// Sends bytes as one message: the awaited [`send_bytes`](Self::send_bytes). For what dropping
    /// the future does see [`send_async`](Self::send_async).
    ///
    /// # Errors
    /// As [`send_bytes`](Self::send_bytes).
    pub async fn send_bytes_async(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.check_writable()?;
        self.transmit_async([&[], bytes], &[]).await
    }

    /// Receives a message as bytes: the awaited [`recv_bytes`](Self::recv_bytes).
    ///
    /// Dropping the future loses nothing: what has come of a message is kept for the next call.
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes).
    pub async fn recv_bytes_async(
        &self,
        maxlength: Option<usize>,
    ) -> Result<Vec<u8>, ConnectionError> {
        Ok(self.receive_async(limit(maxlength), false).await?.0)
    }

    /// Waits until something is there to be received, or the peer is gone, without keeping a
    /// thread: the awaited [`poll`](Self::poll). It takes nothing of any message.
    ///
    /// # Errors
    /// `Closed`, `WrongDirection`, `System`.
    pub async fn poll_async(&self) -> Result<(), ConnectionError> {
        while !self.poll(Some(std::time::Duration::ZERO))? {
            self.wire.ready_async(Interest::Read).await;
        }
        Ok(())
    }

    /// Sends a message of the handshake.
    pub(in crate::connection) async fn greet_async(
        &self,
        bytes: &[u8],
    ) -> Result<(), ConnectionError> {
        self.transmit_async([&[], bytes], &[]).await
    }

    /// Receives a message of the handshake, of so many bytes at most.
    pub(in crate::connection) async fn heed_async(
        &self,
        most: usize,
    ) -> Result<Vec<u8>, ConnectionError> {
        Ok(self.receive_async(most as u64, false).await?.0)
    }
}
