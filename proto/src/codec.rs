//! The one place that names bincode.
//!
//! bincode 2 is no longer maintained (RUSTSEC-2025-0141); whoever replaces it changes this file.
//! Every decode has a byte limit: without one a ten-byte message that claims a huge length aborts
//! the process.

use crate::limits::{FRAME_BYTES_MAX, JOB_HEADER_BYTES_MAX};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};
use std::fmt;

/// Limit for user payloads; the same as [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX).
const PAYLOAD_LIMIT: usize = 2 << 30;

const _: () = assert!(PAYLOAD_LIMIT as u64 == crate::limits::PAYLOAD_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX <= JOB_HEADER_BYTES_MAX);

type Config<const N: usize> = Configuration<LittleEndian, Fixint, Limit<N>>;

const fn config<const N: usize>() -> Config<N> {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<N>()
}

/// Why bytes were not the message they should have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end before the value does, or do not spell one.
    #[error("malformed bytes: {0}")]
    Malformed(String),
    /// The value ends before the bytes do.
    #[error("{0} bytes left over after the value")]
    Trailing(usize),
    /// The value cannot be written in this encoding.
    #[error("cannot be serialised: {0}")]
    Unserializable(String),
    /// The encoded value exceeds the limit, in bytes.
    #[error("larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit that was hit.
        limit: u64,
    },
}

fn unserializable(error: &dyn fmt::Display) -> CodecError {
    CodecError::Unserializable(error.to_string())
}

/// Encodes one of the protocol's own messages.
///
/// # Errors
/// [`CodecError::TooLarge`] past [`JOB_HEADER_BYTES_MAX`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, config::<JOB_HEADER_BYTES_MAX>())
        .map_err(|e| unserializable(&e))?;
    if bytes.len() > JOB_HEADER_BYTES_MAX {
        return Err(CodecError::TooLarge { limit: JOB_HEADER_BYTES_MAX as u64 });
    }
    Ok(bytes)
}

/// Decodes one of the protocol's own messages; all bytes must belong to it.
///
/// # Errors
/// [`CodecError::Malformed`] or [`CodecError::Trailing`].
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let (value, used) =
        bincode::serde::borrow_decode_from_slice(bytes, config::<JOB_HEADER_BYTES_MAX>())
            .map_err(|e| CodecError::Malformed(e.to_string()))?;
    all_used(value, used, bytes)
}

/// Room for a value before anything of it is written: most need no more, and each growth costs.
const FIRST_BYTES: usize = 256;

/// A writer that refuses to grow past the payload limit, so that an argument that is too large is
/// refused before its memory is taken twice.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    before: usize,
    overflow: bool,
}

impl bincode::enc::write::Writer for Bounded<'_> {
    // Called for every number in a value, every byte of a `Vec<u8>` among them.
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        let length = self.bytes.len() - self.before + bytes.len();
        if length as u64 > crate::limits::PAYLOAD_BYTES_MAX {
            self.overflow = true;
            return Err(bincode::error::EncodeError::Other("payload limit"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// Encodes a user's value (arguments or result of a task).
///
/// # Errors
/// [`CodecError::TooLarge`] past [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX), or
/// [`CodecError::Unserializable`] when the value's own `Serialize` fails.
pub fn encode_payload<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(FIRST_BYTES);
    encode_payload_into(value, &mut bytes)?;
    Ok(bytes)
}

/// Appends a user's encoded value to bytes, which after an error are as they were.
///
/// # Errors
/// As [`encode_payload`].
pub fn encode_payload_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    let before = bytes.len();
    let mut writer = Bounded { bytes, before, overflow: false };
    let done = bincode::serde::encode_into_writer(value, &mut writer, config::<PAYLOAD_LIMIT>());
    let overflow = writer.overflow;
    done.map_err(|error| {
        bytes.truncate(before);
        if overflow {
            CodecError::TooLarge { limit: crate::limits::PAYLOAD_BYTES_MAX }
        } else {
            unserializable(&error)
        }
    })
}

/// Decodes a user's value; all bytes must belong to it.
///
/// # Errors
/// [`CodecError::Malformed`] or [`CodecError::Trailing`].
pub fn decode_payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config::<PAYLOAD_LIMIT>())
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    all_used(value, used, bytes)
}

/// The same, for a value that borrows from the bytes. Nothing is allocated for what they claim to
/// have.
///
/// # Errors
/// As [`decode_payload`].
pub fn decode_payload_in_place<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, config::<PAYLOAD_LIMIT>())
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    all_used(value, used, bytes)
}

fn all_used<T>(value: T, used: usize, bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}
