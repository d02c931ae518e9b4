//! `Connection`: messages over a stream, in one direction or both.

use super::error::ConnectionError;
use super::frame::{self, Handles, Incoming, Placed, Unsent};
use super::turn::{Mine, Turn};
use super::values::{self, VALUE_BYTES_MAX};
use super::wire::Wire;
use crate::deadline::Deadline;
use crate::handles::SharedFd;
use crate::reducer::Reducer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

#[cfg(target_os = "linux")]
mod awaited;

const NAME: &str = "Connection";

pub(super) const READABLE: u8 = 1;
pub(super) const WRITABLE: u8 = 2;
const CLOSED: u8 = 4;
const CUT: u8 = 8;

/// One end of a connection, as `multiprocessing.connection.Connection`: whole messages, in the
/// order in which they were sent.
///
/// A message is a value ([`send`](Self::send), [`recv`](Self::recv)) or bytes
/// ([`send_bytes`](Self::send_bytes), [`recv_bytes`](Self::recv_bytes)). Bytes are framed as
/// CPython does it, so its `send_bytes` and `recv_bytes` may be at the other end; values are this
/// library's own. A value may have handles in it, descriptors and shared objects and other
/// connections, where the connection is a Unix socket: those of [`pipe`], of [`Listener`] and
/// [`Client`] at a path or an abstract name.
///
/// All methods take `&self`: threads of one process take turns, one to send and one to receive at
/// a time, and no message is mixed with another. *Processes* that share one end do not: a stream
/// has one writer and one reader. Whoever is killed in the middle of a message leaves a part of it,
/// and the other side gets [`ConnectionError::EofInMessage`] once nobody holds that end any more:
/// so close the ends that you passed on.
///
/// Every call that may wait has a form with a deadline. When it passes, a message that has come in
/// part is kept and the next call goes on with it; one that was sent in part cannot be taken back,
/// so the connection can then no longer be written ([`ConnectionError::TimedOutInMessage`]).
///
/// Sending to a peer that is gone is [`ConnectionError::BrokenPipe`]: sockets never raise
/// `SIGPIPE`, and for a pipe the signal must be ignored, as every Rust program does from its start
/// on.
///
/// Dropping it closes it.
///
/// ```
/// use mpserverd_client as mp;
///
/// let (ours, theirs) = mp::pipe(true)?;
/// ours.send(&("sum", vec![1, 2, 3]))?;
/// let (what, numbers): (String, Vec<i32>) = theirs.recv()?;
/// theirs.send_bytes(format!("{what}: {}", numbers.iter().sum::<i32>()).as_bytes())?;
/// assert_eq!(ours.recv_bytes(None)?, b"sum: 6");
/// # Ok::<(), mp::ConnectionError>(())
/// ```
///
/// [`Listener`]: super::Listener
/// [`Client`]: super::Client
pub struct Connection {
    pub(super) wire: Wire,
    can: AtomicU8,
    pub(super) reading: Turn<Incoming>,
    writing: Turn<()>,
    reducer: Reducer,
}

/// Two connected ends, as `multiprocessing.Pipe`: both for both directions if `duplex` is set, else
/// the first only receives and the second only sends.
///
/// It is a pair of Unix sockets either way, so that handles can travel (on Windows, a named pipe).
/// On Linux they keep packets apart, for then one call of the system receives a message, where a
/// stream takes two; both ends are for this library, and not to be read as a stream of bytes. To
/// give one to CPython, or to read it yourself, make connections of `UnixStream::pair()`.
///
/// ```
/// let (receiver, sender) = mpserverd_client::pipe(false)?;
/// sender.send(&7)?;
/// assert_eq!(receiver.recv::<i32>()?, 7);
/// assert!(receiver.send(&7).is_err() && !sender.readable());
/// # Ok::<(), mpserverd_client::ConnectionError>(())
/// ```
///
/// # Errors
/// [`ConnectionError::System`] when there is no descriptor left.
pub fn pipe(duplex: bool) -> Result<(Connection, Connection), ConnectionError> {
    let (first, second) = Wire::pair()?;
    let (receives, sends) =
        if duplex { (READABLE | WRITABLE, READABLE | WRITABLE) } else { (READABLE, WRITABLE) };
    Ok((Connection::over(first, receives), Connection::over(second, sends)))
}

impl Connection {
    pub(super) fn over(wire: Wire, can: u8) -> Self {
        let reading = Turn::new(Incoming::default());
        let (can, writing) = (AtomicU8::new(can), Turn::new(()));
        Self { wire, can, reading, writing, reducer: Reducer::default() }
    }

    /// The same with another reducer: see [`set_reducer`](Self::set_reducer).
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let (ours, theirs) = mp::pipe(true)?;
    /// let ours = ours.with_reducer(mp::Reducer::json());
    /// ours.send(&[1, 2])?;
    /// let error = theirs.recv::<Vec<u8>>().unwrap_err().to_string();
    /// assert!(error.contains("json") && error.contains("bincode"));
    ///
    /// let theirs = theirs.with_reducer(mp::Reducer::json());
    /// ours.send(&[1, 2])?;
    /// assert_eq!(theirs.recv_bytes(None)?[8..], *b"[1,2]");
    /// # Ok::<(), mp::ConnectionError>(())
    /// ```
    #[must_use]
    pub fn with_reducer(mut self, reducer: Reducer) -> Self {
        self.reducer = reducer;
        self
    }

    /// What values are encoded by from now on; bytes are not concerned. The other end must have
    /// the same, or it gets [`ConnectionError::ReducerMismatch`], as this one does. Where the
    /// connection travels to, it has this one.
    pub fn set_reducer(&mut self, reducer: Reducer) {
        self.reducer = reducer;
    }

    /// What values are encoded by.
    #[must_use]
    pub fn reducer(&self) -> Reducer {
        self.reducer
    }

    fn can(&self) -> u8 {
        self.can.load(Ordering::Relaxed)
    }

    /// The directions in which it goes, as long as it is open.
    pub(super) fn directions(&self) -> Result<u8, ConnectionError> {
        match self.can() {
            can if can & CLOSED != 0 => Err(ConnectionError::Closed { object: NAME }),
            can => Ok(can),
        }
    }

    fn check_readable(&self) -> Result<(), ConnectionError> {
        if self.directions()? & READABLE == 0 {
            return Err(ConnectionError::WrongDirection { is: "write-only" });
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<(), ConnectionError> {
        match self.directions()? {
            can if can & CUT != 0 => Err(ConnectionError::Cut),
            can if can & WRITABLE == 0 => Err(ConnectionError::WrongDirection { is: "read-only" }),
            _ => Ok(()),
        }
    }

    fn reader(&self, deadline: &Deadline) -> Result<Mine<'_, Incoming>, ConnectionError> {
        self.check_readable()?;
        let mine = self.reading.take(deadline).ok_or_else(|| deadline.error())?;
        // What another thread has found out meanwhile.
        self.check_readable()?;
        Ok(mine)
    }

    /// Notes what an error means for the calls to come.
    fn failed(&self, error: ConnectionError) -> ConnectionError {
        match error {
            // As CPython: the rest of the message would be taken for the next one.
            ConnectionError::TooLong { .. } | ConnectionError::BadLength(_) => {
                if self.can() & WRITABLE != 0 {
                    self.can.fetch_and(!READABLE, Ordering::Relaxed);
                } else {
                    self.close();
                }
                error
            }
            // Another thread has closed it under this call.
            ConnectionError::System(_) => self.directions().err().unwrap_or(error),
            error => error,
        }
    }

    fn transmit(
        &self,
        body: [&[u8]; 2],
        fds: &[SharedFd],
        deadline: &Deadline,
    ) -> Result<(), ConnectionError> {
        let _mine = self.writing.take(deadline).ok_or_else(|| deadline.error())?;
        self.check_writable()?;
        frame::send(&self.wire, body, fds, deadline).map_err(|unsent| self.unsent(unsent))
    }

    /// Notes what an unsent message means for the calls to come.
    fn unsent(&self, Unsent { error, cut }: Unsent) -> ConnectionError {
        if cut {
            self.can.fetch_or(CUT, Ordering::Relaxed);
        }
        self.failed(error)
    }

    fn receive(
        &self,
        limit: u64,
        keep: bool,
        deadline: &Deadline,
    ) -> Result<(Vec<u8>, Handles), ConnectionError> {
        let mut reading = self.reader(deadline)?;
        reading.message(&self.wire, limit, keep, deadline).map_err(|error| self.failed(error))
    }

    fn send_value<T: Serialize + ?Sized>(
        &self,
        value: &T,
        deadline: Deadline,
    ) -> Result<(), ConnectionError> {
        self.check_writable()?;
        let out = self.pack(value)?;
        self.transmit([out.preamble.bytes(), &out.parcel.bytes], &out.parcel.fds, &deadline)
    }

    fn pack<T: Serialize + ?Sized>(&self, value: &T) -> Result<values::Outgoing, ConnectionError> {
        let out = values::pack(self.reducer.codec(), value)?;
        if let (count @ 1.., Some(over)) = (out.parcel.fds.len(), self.wire.without_handles()) {
            return Err(ConnectionError::NoDescriptorsHere { count, over });
        }
        Ok(out)
    }

    fn recv_value<T: DeserializeOwned>(&self, deadline: Deadline) -> Result<T, ConnectionError> {
        let (message, handles) = self.receive(VALUE_BYTES_MAX, true, &deadline)?;
        values::unpack(self.reducer.codec(), &message, handles)
    }

    /// Sends a value.
    ///
    /// It waits while the other side does not read and the buffers of the system are full.
    ///
    /// # Errors
    /// [`ConnectionError`]: `Closed`, `WrongDirection`, `Cut`, `BrokenPipe`; `Codec` for a value
    /// without an encoding or of more than 2 GiB; `NoDescriptorsHere` and `TooManyDescriptors`,
    /// before anything is sent.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ConnectionError> {
        self.send_value(value, Deadline::NEVER)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// As [`send`](Self::send); `TimedOut` if nothing was sent, `TimedOutInMessage` if a part was.
    pub fn send_timeout<T: Serialize + ?Sized>(
        &self,
        value: &T,
        timeout: Duration,
    ) -> Result<(), ConnectionError> {
        self.send_value(value, Deadline::within(timeout))
    }

    /// Receives a value, however long that takes.
    ///
    /// # Errors
    /// [`ConnectionError`]: `Closed`, `WrongDirection`; `Eof` when the peer is gone and all that it
    /// sent was received, `EofInMessage` when it went in the middle of one. The connection goes on
    /// after `Codec`, `ReducerMismatch`, `DescriptorsLost` and `DescriptorsMissing`: the message is
    /// gone.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<T, ConnectionError> {
        self.recv_value(Deadline::NEVER)
    }

    /// The same, waiting no longer than this. The time is that of the whole message.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and `TimedOut`: nothing is lost then.
    pub fn recv_timeout<T: DeserializeOwned>(
        &self,
        timeout: Duration,
    ) -> Result<T, ConnectionError> {
        self.recv_value(Deadline::within(timeout))
    }

    /// Sends bytes as one message. An empty one is a message too.
    ///
    /// # Errors
    /// As [`send`](Self::send), without `Codec` and what concerns descriptors.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.check_writable()?;
        self.transmit([&[], bytes], &[], &Deadline::NEVER)
    }

    /// The same, waiting no longer than this.
    ///
    /// # Errors
    /// As [`send_bytes`](Self::send_bytes); `TimedOut` if nothing was sent, `TimedOutInMessage` if
    /// a part was.
    pub fn send_bytes_timeout(
        &self,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), ConnectionError> {
        self.check_writable()?;
        self.transmit([&[], bytes], &[], &Deadline::within(timeout))
    }

    /// Sends `size` bytes of a buffer from `offset` on, or all from there.
    ///
    /// # Errors
    /// As [`send_bytes`](Self::send_bytes); `Bounds` when the buffer does not have them.
    pub fn send_bytes_range(
        &self,
        buffer: &[u8],
        offset: usize,
        size: Option<usize>,
    ) -> Result<(), ConnectionError> {
        self.check_writable()?;
        let rest = buffer.get(offset..);
        let rest = rest.ok_or(ConnectionError::Bounds("buffer length < offset"))?;
        let part = rest.get(..size.unwrap_or(rest.len()));
        self.send_bytes(part.ok_or(ConnectionError::Bounds("buffer length < offset + size"))?)
    }

    /// Receives a message as bytes, one that was sent as a value too; descriptors in it are closed.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), without `Codec` and what concerns descriptors. `TooLong` for a
    /// message of more than `maxlength` bytes: it is not received, and nothing after it can be. A
    /// connection for one direction is closed then.
    pub fn recv_bytes(&self, maxlength: Option<usize>) -> Result<Vec<u8>, ConnectionError> {
        Ok(self.receive(limit(maxlength), false, &Deadline::NEVER)?.0)
    }

    /// The same, waiting no longer than this. The time is that of the whole message.
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes), and `TimedOut`: nothing is lost then.
    pub fn recv_bytes_timeout(
        &self,
        maxlength: Option<usize>,
        timeout: Duration,
    ) -> Result<Vec<u8>, ConnectionError> {
        Ok(self.receive(limit(maxlength), false, &Deadline::within(timeout))?.0)
    }

    /// Receives a message as bytes into a buffer from `offset` on, and tells how many there were.
    /// Nothing is copied on the way.
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes). `Bounds` for an offset beyond the buffer;
    /// `BufferTooShort`, with the whole message, when it does not fit: it is received then.
    pub fn recv_bytes_into(
        &self,
        buffer: &mut [u8],
        offset: usize,
    ) -> Result<usize, ConnectionError> {
        self.receive_into(buffer, offset, &Deadline::NEVER)
    }

    /// The same, waiting no longer than this. The time is that of the whole message.
    ///
    /// # Errors
    /// As [`recv_bytes_into`](Self::recv_bytes_into), and `TimedOut`: nothing is lost then, and
    /// what is in the buffer means nothing.
    pub fn recv_bytes_into_timeout(
        &self,
        buffer: &mut [u8],
        offset: usize,
        timeout: Duration,
    ) -> Result<usize, ConnectionError> {
        self.receive_into(buffer, offset, &Deadline::within(timeout))
    }

    fn receive_into(
        &self,
        buffer: &mut [u8],
        offset: usize,
        deadline: &Deadline,
    ) -> Result<usize, ConnectionError> {
        self.check_readable()?;
        let room = buffer.get_mut(offset..);
        let room = room.ok_or(ConnectionError::Bounds("offset too large"))?;
        let mut reading = self.reader(deadline)?;
        match reading.message_into(&self.wire, room, deadline) {
            Ok(Placed::There(length)) => Ok(length),
            Ok(Placed::TooShort(error)) => Err(error.into()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Sends a message of the handshake.
    pub(super) fn greet(&self, bytes: &[u8], deadline: &Deadline) -> Result<(), ConnectionError> {
        self.transmit([&[], bytes], &[], deadline)
    }

    /// Receives a message of the handshake, of so many bytes at most.
    pub(super) fn heed(
        &self,
        most: usize,
        deadline: &Deadline,
    ) -> Result<Vec<u8>, ConnectionError> {
        Ok(self.receive(most as u64, false, deadline)?.0)
    }

    /// Whether something is there to be received, within this time; `None` waits for ever. True
    /// also when the peer is gone. It takes nothing of any message.
    ///
    /// # Errors
    /// `Closed`, `WrongDirection`, `System`.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool, ConnectionError> {
        self.check_readable()?;
        let deadline = Deadline::of(timeout);
        self.wire.poll(&self.reading, &deadline).map_err(|error| self.failed(error))
    }

    /// Closes this end; again, if you like. Any later use is [`ConnectionError::Closed`].
    ///
    /// A call of another thread that waits just then goes on until it is done: the peer sees the
    /// end after that. The number of the descriptor is given back when the connection is dropped,
    /// so that nobody who borrowed it gets at something else.
    pub fn close(&self) {
        if self.can.fetch_or(CLOSED, Ordering::Relaxed) & CLOSED == 0 {
            self.wire.close();
        }
    }

    /// Whether this end was closed.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.can() & CLOSED != 0
    }

    /// Whether it goes this way. No longer after [`ConnectionError::TooLong`].
    #[must_use]
    pub fn readable(&self) -> bool {
        self.can() & READABLE != 0
    }

    /// Whether it goes that way. No longer after a message was cut off.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.can() & (WRITABLE | CUT) == WRITABLE
    }
}

fn limit(maxlength: Option<usize>) -> u64 {
    maxlength.map_or(u64::MAX, |length| length as u64)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME)
            .field("over", &self.wire)
            .field("closed", &self.closed())
            .field("readable", &self.readable())
            .field("writable", &self.writable())
            .finish_non_exhaustive()
    }
}
