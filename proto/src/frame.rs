//! Frames of the client socket: `length: u32 LE, fds: u16 LE, zero: u16`, then the payload.
//!
//! The decoder takes bytes as they come and gives whole frames. It refuses a header as soon as
//! its eight bytes are there, so a hostile length costs no memory.

use crate::limits::{FRAME_BYTES_MAX, FRAME_FDS_MAX};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 8;

/// Why a peer's frame was refused; the connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload would be too large.
    #[error("frame of {length} bytes exceeds the limit of {FRAME_BYTES_MAX}")]
    TooLong {
        /// What the header claimed.
        length: u32,
    },
    /// More descriptors than the kernel passes at once.
    #[error("frame claims {fds} descriptors, more than the limit of {FRAME_FDS_MAX}")]
    TooManyFds {
        /// What the header claimed.
        fds: u16,
    },
    /// The reserved field is not zero: these are not our frames.
    #[error("not a frame (reserved field is not zero)")]
    NotAFrame,
}

/// One frame: its payload and how many descriptors belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The encoded message.
    pub payload: Vec<u8>,
    /// Descriptors that came with it, to be taken from the front of the receiver's list.
    pub fds: usize,
}

/// Puts the header before a payload.
///
/// # Errors
/// The same limits that the decoder enforces.
pub fn encode(payload: &[u8], fds: usize) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let fds = u16::try_from(fds).unwrap_or(u16::MAX);
    check(length, fds)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&fds.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

fn check(length: u32, fds: u16) -> Result<(), FrameError> {
    if length as usize > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { length });
    }
    if usize::from(fds) > FRAME_FDS_MAX {
        return Err(FrameError::TooManyFds { fds });
    }
    Ok(())
}

/// Collects bytes until they are frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// An empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that are not part of a frame that was taken, so that another decoder can go on.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// True in the middle of a frame: some of its bytes are here and others are missing.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.buffer.len() > self.taken
    }

    /// The next whole frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// A header that no peer of ours sends.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.buffer[self.taken..].first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, f0, f1, z0, z1] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let fds = u16::from_le_bytes([f0, f1]);
        if (z0, z1) != (0, 0) {
            return Err(FrameError::NotAFrame);
        }
        check(length, fds)?;
        let start = self.taken + HEADER_BYTES;
        let end = start + length as usize;
        let Some(payload) = self.buffer.get(start..end) else { return Ok(None) };
        let frame = Frame { payload: payload.to_vec(), fds: fds.into() };
        self.taken = end;
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
        Ok(Some(frame))
    }
}
