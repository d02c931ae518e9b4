//! Frames: a length of four bytes, big-endian and signed, before each message; −1 and eight more
//! bytes for one beyond `i32`. This is the format of CPython since 3.3.
//!
//! What has come of a message is kept here when the time of a call passes, and the next call goes
//! on with it. No more is ever read than belongs to the message, so between two messages all that
//! has come is still in the kernel: whoever polls the descriptor, or gets it, misses nothing. For
//! that a stream is read twice for each message, first the header and then the body.
//!
//! Both ends of a pipe are ours. They keep packets apart, so one that holds a header and what
//! follows is received by one call: no packet has bytes of two messages, none is longer than
//! [`PACKET_BYTES`], and the first of a message not longer than [`FIRST_PACKET_BYTES`]. The two
//! parts of a long header are packets of their own.

use super::error::ConnectionError;
use crate::deadline::Deadline;
use crate::error::BufferTooShort;
use crate::handles::SharedFd;
use mpserverd_proto::limits::FRAME_FDS_MAX;
use std::io;

/// Room for a message before any of it has come. What is longer gets room as it arrives, for a
/// length alone is only a claim.
const ROOM_FIRST: usize = 1 << 20;
/// There is at most so many times more room than what has come. Room costs nothing before
/// something lies in it, but moving what is there does.
const ROOM_FACTOR: usize = 7;
/// How long the first packet of a message may be, where there are packets: a header and so much
/// that what follows is aligned, which makes the copies of large messages half as fast again.
pub(super) const FIRST_PACKET_BYTES: usize = 4 + (16 << 10);
/// How long any other may be.
pub(super) const PACKET_BYTES: usize = 128 << 10;
/// A longer message has the long form of a header.
const SHORT_MAX: usize = i32::MAX as usize;

/// Why a call on the stream below failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The time passed before anything happened.
    TimedOut,
    /// The system refused.
    System(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Descriptors that came with a message.
#[derive(Debug, Default)]
pub(super) struct Handles {
    pub(super) fds: Vec<SharedFd>,
    /// Some could not be taken.
    pub(super) lost: bool,
}

impl Handles {
    /// Adds some; what exceeds any message of ours is closed at once.
    #[cfg(target_os = "linux")]
    pub(super) fn add(&mut self, fds: Vec<std::os::fd::OwnedFd>) {
        let most = mpserverd_proto::limits::JOB_FDS_MAX;
        let room = most.saturating_sub(self.fds.len());
        self.fds.extend(fds.into_iter().take(room).map(SharedFd::from));
    }
}

/// A stream of bytes in both directions, with descriptors where it can carry them.
///
/// An interrupted call is repeated inside; 0 bytes are the end.
pub(super) trait Wire {
    /// Whether it keeps apart what was written by different calls.
    fn has_packets(&self) -> bool {
        false
    }

    /// Reads some bytes, at least one.
    fn read(
        &self,
        into: &mut [u8],
        handles: Option<&mut Handles>,
        deadline: &Deadline,
    ) -> Result<usize, Fault>;

    /// Appends some bytes, at least one and at most `most`, to a buffer that has room for them.
    fn append(
        &self,
        into: &mut Vec<u8>,
        most: usize,
        handles: Option<&mut Handles>,
        deadline: &Deadline,
    ) -> Result<usize, Fault>;

    /// Writes some bytes, at least one, with descriptors, which are gone with the first of them.
    fn write(&self, parts: &[&[u8]], fds: &[SharedFd], deadline: &Deadline)
    -> Result<usize, Fault>;
}

/// What has come of a message.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    header: [u8; 12],
    /// How many bytes of the header have come.
    have: usize,
    body: Vec<u8>,
    handles: Handles,
    /// Where the first packet of a message arrives, where there are packets.
    packet: Vec<u8>,
}

/// How a message ended that was to be put into a buffer of the caller's.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is there; so many bytes.
    There(usize),
    /// It did not fit.
    TooShort(BufferTooShort),
}

impl Incoming {
    /// Whether a message has come in part.
    pub(super) fn is_begun(&self) -> bool {
        self.have > 0
    }

    /// Waits for the first byte of the next message.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn begin<W: Wire>(
        &mut self,
        wire: &W,
        deadline: &Deadline,
    ) -> Result<(), ConnectionError> {
        self.header_until(wire, 1, true, deadline)
    }

    /// Takes the next message; descriptors only if `keep` is set.
    pub(super) fn message<W: Wire>(
        &mut self,
        wire: &W,
        limit: u64,
        keep: bool,
        deadline: &Deadline,
    ) -> Result<(Vec<u8>, Handles), ConnectionError> {
        let length = self.length(wire, keep, deadline)?;
        if length > limit {
            return Err(ConnectionError::TooLong { length, limit });
        }
        self.body(wire, length, keep, deadline)?;
        Ok(self.take())
    }

    /// All of a message; the next one may come.
    fn take(&mut self) -> (Vec<u8>, Handles) {
        self.have = 0;
        (std::mem::take(&mut self.body), std::mem::take(&mut self.handles))
    }

    /// Takes the next message straight into a buffer, if it fits.
    pub(super) fn message_into<W: Wire>(
        &mut self,
        wire: &W,
        into: &mut [u8],
        deadline: &Deadline,
    ) -> Result<Placed, ConnectionError> {
        let length = self.length(wire, false, deadline)?;
        let fitting = usize::try_from(length).ok().filter(|length| *length <= into.len());
        let Some(length) = fitting else {
            self.body(wire, length, false, deadline)?;
            return Ok(Placed::TooShort(BufferTooShort(self.take().0)));
        };
        let mut have = self.body.len();
        into[..have].copy_from_slice(&self.body);
        while have < length {
            match wire.read(&mut into[have..length], None, deadline) {
                Ok(0) => return Err(self.end()),
                Ok(got) => have += got,
                Err(fault) => {
                    let kept = self.body.len();
                    self.body.extend_from_slice(&into[kept..have]);
                    return Err(self.fault(fault, deadline));
                }
            }
        }
        self.take();
        Ok(Placed::There(length))
    }

    /// The length of the message, once its header has come.
    fn length<W: Wire>(
        &mut self,
        wire: &W,
        keep: bool,
        deadline: &Deadline,
    ) -> Result<u64, ConnectionError> {
        if wire.has_packets() && !self.is_begun() {
            self.first_packet(wire, keep, deadline)?;
        }
        self.header_until(wire, 4, keep, deadline)?;
        let short = self.short_length();
        if short != -1 {
            return u64::try_from(short).map_err(|_| ConnectionError::BadLength(short.into()));
        }
        self.header_until(wire, 12, keep, deadline)?;
        let [_, _, _, _, long @ ..] = self.header;
        let long = u64::from_be_bytes(long);
        match i64::try_from(long) {
            Ok(_) => Ok(long),
            Err(_) => Err(ConnectionError::BadLength(long.cast_signed())),
        }
    }

    fn short_length(&self) -> i32 {
        let [a, b, c, d, ..] = self.header;
        i32::from_be_bytes([a, b, c, d])
    }

    /// Receives a header and what came along with it.
    fn first_packet<W: Wire>(
        &mut self,
        wire: &W,
        keep: bool,
        deadline: &Deadline,
    ) -> Result<(), ConnectionError> {
        self.packet.clear();
        self.packet.reserve_exact(FIRST_PACKET_BYTES);
        let handles = keep.then_some(&mut self.handles);
        let got = wire.append(&mut self.packet, FIRST_PACKET_BYTES, handles, deadline);
        if got.map_err(|fault| self.fault(fault, deadline))? == 0 {
            return Err(self.end());
        }
        let used = self.packet.len().min(4);
        self.header[..used].copy_from_slice(&self.packet[..used]);
        self.have = used;
        let follows = &self.packet[used..];
        let length = i64::from(self.short_length());
        if follows.len() as i64 > length.max(0) {
            return Err(ConnectionError::BadLength(length));
        }
        self.body.extend_from_slice(follows);
        Ok(())
    }

    fn header_until<W: Wire>(
        &mut self,
        wire: &W,
        end: usize,
        keep: bool,
        deadline: &Deadline,
    ) -> Result<(), ConnectionError> {
        while self.have < end {
            let handles = keep.then_some(&mut self.handles);
            match wire.read(&mut self.header[self.have..end], handles, deadline) {
                Ok(0) => return Err(self.end()),
                Ok(got) => self.have += got,
                Err(fault) => return Err(self.fault(fault, deadline)),
            }
        }
        Ok(())
    }

    fn body<W: Wire>(
        &mut self,
        wire: &W,
        length: u64,
        keep: bool,
        deadline: &Deadline,
    ) -> Result<(), ConnectionError> {
        let no_room = || io::Error::from(io::ErrorKind::OutOfMemory);
        let length = usize::try_from(length).map_err(|_| no_room())?;
        // The first descriptors of a message come with its first byte, or none do.
        let keep = keep && (self.handles.lost || !self.handles.fds.is_empty());
        while self.body.len() < length {
            let have = self.body.len();
            // A packet is received whole, or its end is lost.
            let needed = if wire.has_packets() { PACKET_BYTES.min(length - have) } else { 1 };
            if self.body.capacity() - have < needed {
                let more = (length - have).min((have * ROOM_FACTOR).max(ROOM_FIRST));
                self.body.try_reserve_exact(more).map_err(|_| no_room())?;
                #[cfg(target_os = "linux")]
                crate::sys::room::prefer_huge(&mut self.body);
            }
            let handles = keep.then_some(&mut self.handles);
            match wire.append(&mut self.body, length - have, handles, deadline) {
                Ok(0) => return Err(self.end()),
                Ok(_) => {}
                Err(fault) => return Err(self.fault(fault, deadline)),
            }
        }
        Ok(())
    }

    /// What the end of the stream means here.
    fn end(&self) -> ConnectionError {
        if self.is_begun() { ConnectionError::EofInMessage } else { ConnectionError::Eof }
    }

    fn fault(&self, fault: Fault, deadline: &Deadline) -> ConnectionError {
        match fault {
            Fault::TimedOut => deadline.error().into(),
            // A peer that ends with something unread resets the connection.
            Fault::System(error) if error.kind() == io::ErrorKind::ConnectionReset => self.end(),
            Fault::System(error) => error.into(),
        }
    }
}

/// A message that was not sent, and how much of it is gone all the same.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) error: ConnectionError,
    /// Whether the peer will take what follows for the rest of it.
    pub(super) cut: bool,
}

/// A message on its way, of which the body is in two pieces.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    header: [u8; 12],
    /// How many bytes of the header there are.
    used: usize,
    body: [&'a [u8]; 2],
    /// Those that are not gone yet.
    fds: &'a [SharedFd],
    sent: usize,
    total: usize,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(body: [&'a [u8]; 2], fds: &'a [SharedFd]) -> Self {
        let length = body[0].len() + body[1].len();
        let (header, used) = header(length);
        Self { header, used, body, fds, sent: 0, total: used + length }
    }

    /// Whether a part of it is gone, and a part is not.
    #[cfg(target_os = "linux")]
    pub(super) fn is_under_way(&self) -> bool {
        (1..self.total).contains(&self.sent)
    }

    /// Sends what is left of it, in as few calls as it takes. When the time has passed, it can be
    /// gone on with.
    ///
    /// Descriptors beyond what one call takes go with the last bytes, one for each further lot.
    #[inline]
    pub(super) fn go_on<W: Wire>(&mut self, wire: &W, deadline: &Deadline) -> Result<(), Fault> {
        while self.sent < self.total {
            // A byte is left for each further lot of descriptors.
            let (now, later) = self.fds.split_at(self.fds.len().min(FRAME_FDS_MAX));
            let mut most = self.total - self.sent - later.len().div_ceil(FRAME_FDS_MAX);
            if wire.has_packets() {
                most = most.min(packet(self.sent, self.used));
            }
            let parts = [&self.header[..self.used], self.body[0], self.body[1]];
            let [a, b, c] = rest(parts, self.sent, most);
            let written = if c.is_empty() && b.is_empty() {
                wire.write(&[a], now, deadline)
            } else if b.is_empty() {
                wire.write(&[a, c], now, deadline)
            } else {
                wire.write(&[a, b, c], now, deadline)
            };
            match written? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                some => self.sent += some,
            }
            self.fds = later;
        }
        Ok(())
    }

    /// What it means that it was not sent.
    pub(super) fn unsent(&self, fault: Fault, deadline: &Deadline) -> Unsent {
        let error = match fault {
            Fault::System(error) => match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    ConnectionError::BrokenPipe
                }
                _ => error.into(),
            },
            Fault::TimedOut if self.sent > 0 => ConnectionError::TimedOutInMessage {
                sent: self.sent as u64,
                length: self.total as u64,
                timeout: deadline.given(),
            },
            Fault::TimedOut => deadline.error().into(),
        };
        // Where nobody reads, nobody takes anything for something else.
        let cut = self.sent > 0 && !matches!(error, ConnectionError::BrokenPipe);
        Unsent { error, cut }
    }
}

/// Sends a message.
#[inline]
pub(super) fn send<W: Wire>(
    wire: &W,
    body: [&[u8]; 2],
    fds: &[SharedFd],
    deadline: &Deadline,
) -> Result<(), Unsent> {
    let mut outgoing = Outgoing::new(body, fds);
    let done = outgoing.go_on(wire, deadline);
    done.map_err(|fault| outgoing.unsent(fault, deadline))
}

/// How long the next packet may be, when so much is sent, of which so much is the header.
fn packet(sent: usize, header: usize) -> usize {
    match (sent, header) {
        (0..4, 12) => 4 - sent,
        (4..12, 12) => 12 - sent,
        (0, _) => FIRST_PACKET_BYTES,
        _ => PACKET_BYTES,
    }
}

/// The header of a message of that length, and how many bytes of it are used.
fn header(length: usize) -> ([u8; 12], usize) {
    let mut header = [0; 12];
    if length > SHORT_MAX {
        header[..4].copy_from_slice(&(-1i32).to_be_bytes());
        header[4..].copy_from_slice(&(length as u64).to_be_bytes());
        return (header, 12);
    }
    header[..4].copy_from_slice(&(length as u32).to_be_bytes());
    (header, 4)
}

/// What is left of the parts behind the first `skip` bytes, and at most `most` of it.
fn rest(parts: [&[u8]; 3], mut skip: usize, mut most: usize) -> [&[u8]; 3] {
    parts.map(|part| {
        let skipped = skip.min(part.len());
        skip -= skipped;
        let part = &part[skipped..];
        let part = &part[..most.min(part.len())];
        most -= part.len();
        part
    })
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
