//! The stream of bytes where the library starts no processes: TCP, Unix sockets, and the named
//! pipes of Windows in byte mode (CPython's are in message mode: with it, use TCP).
//!
//! A named pipe has no time limits, so no stream uses those of the system: nothing waits there,
//! and who has to wait sleeps between attempts, five milliseconds at most. No handles travel.

use super::error::ConnectionError;
use super::frame::{Fault, Handles, Incoming, Wire as Stream};
use super::turn::Turn;
use crate::deadline::Deadline;
use crate::handles::SharedFd;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(windows)]
pub(super) type PipeStream = interprocess::os::windows::named_pipe::DuplexPipeStream<
    interprocess::os::windows::named_pipe::pipe_mode::Bytes,
>;

/// The first sleep between two attempts; each is twice as long as the one before.
const NAP_FIRST: Duration = Duration::from_micros(20);
const NAP_LONGEST: Duration = Duration::from_millis(5);
/// No more is written to a named pipe at once.
#[cfg(windows)]
const PIPE_PIECE: usize = 16 << 10;
/// Room for bytes on their way to a buffer that must not be zeroed first.
const PIECE: usize = 64 << 10;

/// A stream, never blocking.
pub(super) enum Channel {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(windows)]
    Pipe(Piped),
}

/// A stream that can be closed while others use it.
pub(super) struct Wire {
    channel: RwLock<Option<Channel>>,
}

impl Wire {
    pub(super) fn over(channel: Channel) -> io::Result<Self> {
        match &channel {
            Channel::Tcp(stream) => stream.set_nonblocking(true)?,
            #[cfg(unix)]
            Channel::Unix(stream) => stream.set_nonblocking(true)?,
            #[cfg(windows)]
            Channel::Pipe(pipe) => pipe.0.set_nonblocking(true)?,
        }
        Ok(Self { channel: RwLock::new(Some(channel)) })
    }

    /// A connected pair.
    #[cfg(unix)]
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (first, second) = UnixStream::pair()?;
        Ok((Self::over(Channel::Unix(first))?, Self::over(Channel::Unix(second))?))
    }

    /// A connected pair.
    #[cfg(windows)]
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (address, _) = super::place::arbitrary(super::address::Family::Pipe)?;
        let super::address::Address::Pipe(name) = address else { unreachable!("a pipe") };
        let listener = super::sockets::named_pipe(&name)?;
        let second = PipeStream::connect_by_path(name.as_str())?;
        let first = listener.accept()?;
        let wire = |stream| Self::over(Channel::Pipe(Piped::new(stream)?));
        Ok((wire(first)?, wire(second)?))
    }

    /// Why no descriptor can travel over it.
    pub(super) fn without_handles(&self) -> Option<&'static str> {
        Some("any connection of this platform")
    }

    /// Whether something is there. What tells it is the first byte of the next message, which is
    /// kept.
    pub(super) fn poll(
        &self,
        reading: &Turn<Incoming>,
        deadline: &Deadline,
    ) -> Result<bool, ConnectionError> {
        let Some(mut incoming) = reading.take(deadline) else { return Ok(false) };
        match incoming.begin(self, deadline) {
            Ok(()) | Err(ConnectionError::Eof) => Ok(true),
            Err(ConnectionError::TimedOut(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn close(&self) {
        self.channel.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Does it, again and again until it need not wait.
    fn until(
        &self,
        deadline: &Deadline,
        mut attempt: impl FnMut(&mut dyn ReadWrite) -> io::Result<usize>,
    ) -> Result<usize, Fault> {
        let mut nap = NAP_FIRST;
        loop {
            let channel = self.channel.read().unwrap_or_else(PoisonError::into_inner);
            let done = match channel.as_ref() {
                None => Err(io::ErrorKind::NotConnected.into()),
                Some(Channel::Tcp(stream)) => attempt(&mut { stream }),
                #[cfg(unix)]
                Some(Channel::Unix(stream)) => attempt(&mut { stream }),
                #[cfg(windows)]
                Some(Channel::Pipe(pipe)) => attempt(&mut { pipe }),
            };
            drop(channel);
            match done {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => return Ok(done?),
            }
            let left = deadline.left();
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Fault::TimedOut);
            }
            std::thread::sleep(left.map_or(nap, |left| left.min(nap)));
            nap = (2 * nap).min(NAP_LONGEST);
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

/// A named pipe that says in the words of other streams that it would have to wait. It is read by
/// position, which pipes ignore: a plain read takes "nothing yet" for the end.
#[cfg(windows)]
pub(super) struct Piped(PipeStream, std::fs::File);

#[cfg(windows)]
impl Piped {
    pub(super) fn new(stream: PipeStream) -> io::Result<Self> {
        use std::os::windows::io::AsHandle;
        let file = std::fs::File::from(stream.as_handle().try_clone_to_owned()?);
        Ok(Self(stream, file))
    }
}

#[cfg(windows)]
impl Read for &Piped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        use std::os::windows::fs::FileExt;
        /// `ERROR_NO_DATA`: nothing yet.
        const NO_DATA: i32 = 232;
        /// `ERROR_BROKEN_PIPE`: nothing any more.
        const BROKEN_PIPE: i32 = 109;
        match self.1.seek_read(into, 0) {
            Err(error) if error.raw_os_error() == Some(NO_DATA) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) if error.raw_os_error() == Some(BROKEN_PIPE) => Ok(0),
            done => done,
        }
    }
}

#[cfg(windows)]
impl Write for &Piped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe may take all of a piece or nothing, so it must fit an empty one.
        let piece = &bytes[..bytes.len().min(PIPE_PIECE)];
        match Write::write(&mut &self.0, piece) {
            Ok(0) if !piece.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            done => done,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {
    fn read(
        &self,
        into: &mut [u8],
        _: Option<&mut Handles>,
        deadline: &Deadline,
    ) -> Result<usize, Fault> {
        self.until(deadline, |stream| stream.read(into))
    }

    fn append(
        &self,
        into: &mut Vec<u8>,
        most: usize,
        _: Option<&mut Handles>,
        deadline: &Deadline,
    ) -> Result<usize, Fault> {
        let mut piece = vec![0; most.min(PIECE)];
        let got = self.until(deadline, |stream| stream.read(&mut piece))?;
        into.extend_from_slice(&piece[..got]);
        Ok(got)
    }

    fn write(&self, parts: &[&[u8]], _: &[SharedFd], deadline: &Deadline) -> Result<usize, Fault> {
        // A short message goes whole, header included, as with CPython.
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        if length <= PIECE {
            let whole = parts.concat();
            return self.until(deadline, |stream| stream.write(&whole));
        }
        let slices = parts.iter().map(|part| IoSlice::new(part)).collect::<Vec<_>>();
        self.until(deadline, |stream| stream.write_vectored(&slices))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = self.channel.read().unwrap_or_else(PoisonError::into_inner);
        f.write_str(match channel.as_ref() {
            None => "nothing",
            Some(Channel::Tcp(_)) => "TCP",
            #[cfg(unix)]
            Some(Channel::Unix(_)) => "a Unix socket",
            #[cfg(windows)]
            Some(Channel::Pipe(_)) => "a named pipe",
        })
    }
}
