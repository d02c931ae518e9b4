//! The header of a message on a template's or worker's own socket (`SOCK_SEQPACKET`).
//!
//! `kind: u8, place: u8, fds: u16 LE, zero: u32, length: u64 LE`, then the body if it is inline.
//! A body in a memfd takes the *first* descriptor of the packet; it is not counted in `fds`.

use crate::limits::{FRAME_FDS_MAX, PACKET_INLINE_MAX, PAYLOAD_BYTES_MAX};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 16;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum Kind {
    /// Daemon to template, or starter to spawned worker: how to boot.
    Boot = 1,
    /// Daemon to template: a [`ToTemplate`](crate::template::ToTemplate).
    ToTemplate = 2,
    /// Template to daemon: a [`FromTemplate`](crate::template::FromTemplate).
    FromTemplate = 3,
    /// Client to worker: a [`Job`](crate::job::Job).
    Job = 4,
    /// Worker to client: an [`Ended`](crate::job::Ended).
    Outcome = 5,
    /// Further descriptors of the packet before, which had more than fit.
    MoreFds = 6,
    /// Daemon to a template that has yet to become a user: an
    /// [`Assume`](crate::template::Assume), with the program's descriptor if there is one.
    Assume = 7,
}

/// Where the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum Place {
    /// Behind the header.
    Inline = 0,
    /// In the sealed memfd that is the packet's first descriptor.
    Memfd = 1,
}

/// The header of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Where its body is.
    pub place: Place,
    /// Descriptors in this packet, the memfd not counted.
    pub fds: u16,
    /// Bytes of the body.
    pub length: u64,
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Too short for a header, or fields that no sender of ours writes.
    #[error("not a packet of this protocol")]
    NotAPacket,
    /// A body longer than [`PAYLOAD_BYTES_MAX`].
    #[error("body of {0} bytes exceeds the limit of {PAYLOAD_BYTES_MAX}")]
    TooLong(u64),
    /// The body is not as long as the header says.
    #[error("body is shorter or longer than its header says")]
    Length,
    /// Fewer or more descriptors than the header says (`MSG_CTRUNC`, or a full table).
    #[error("{got} descriptors arrived instead of {want}")]
    Fds {
        /// What the header says.
        want: usize,
        /// What arrived.
        got: usize,
    },
}

impl Header {
    /// As bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let [f0, f1] = self.fds.to_le_bytes();
        let [a, b, c, d, e, f, g, h] = self.length.to_le_bytes();
        [self.kind as u8, self.place as u8, f0, f1, 0, 0, 0, 0, a, b, c, d, e, f, g, h]
    }

    /// Splits a received packet into header and inline body, and checks the descriptor count.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn split(bytes: &[u8], fds: usize) -> Result<(Self, &[u8]), PacketError> {
        let (head, body) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(PacketError::NotAPacket)?;
        let [kind, place, f0, f1, 0, 0, 0, 0, a, b, c, d, e, f, g, h] = *head else {
            return Err(PacketError::NotAPacket);
        };
        let header = Self {
            kind: kind_of(kind)?,
            place: place_of(place)?,
            fds: u16::from_le_bytes([f0, f1]),
            length: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        };
        header.check(body.len(), fds)?;
        Ok((header, body))
    }

    fn check(self, body: usize, fds: usize) -> Result<(), PacketError> {
        if self.length > PAYLOAD_BYTES_MAX {
            return Err(PacketError::TooLong(self.length));
        }
        let inline = if self.place == Place::Inline { self.length } else { 0 };
        if inline != body as u64 || body > PACKET_INLINE_MAX {
            return Err(PacketError::Length);
        }
        let want = usize::from(self.fds) + usize::from(self.place == Place::Memfd);
        if want != fds || want > FRAME_FDS_MAX {
            return Err(PacketError::Fds { want, got: fds });
        }
        Ok(())
    }
}

fn kind_of(byte: u8) -> Result<Kind, PacketError> {
    Ok(match byte {
        1 => Kind::Boot,
        2 => Kind::ToTemplate,
        3 => Kind::FromTemplate,
        4 => Kind::Job,
        5 => Kind::Outcome,
        6 => Kind::MoreFds,
        7 => Kind::Assume,
        _ => return Err(PacketError::NotAPacket),
    })
}

fn place_of(byte: u8) -> Result<Place, PacketError> {
    match byte {
        0 => Ok(Place::Inline),
        1 => Ok(Place::Memfd),
        _ => Err(PacketError::NotAPacket),
    }
}
