//! The one place that names bincode.
//!
//! bincode 2 is no longer maintained (RUSTSEC-2025-0141); whoever replaces it changes this file.
//! It only writes: what it has written is read by `read`, which takes no more memory than the
//! bytes justify.

use crate::limits::{FRAME_BYTES_MAX, JOB_HEADER_BYTES_MAX};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use read::Reader;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, DeserializeSeed};
use std::fmt;

mod read;
#[cfg(test)]
mod tests;

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
#[non_exhaustive]
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
    /// This process does not know the reducer that the value was, or is to be, encoded by.
    #[error(transparent)]
    UnknownReducer(Box<UnknownReducer>),
    /// Two reducers of this process have the same name and version, so neither can be meant.
    #[error("this process has several reducers `{name}`: names must differ")]
    AmbiguousReducer {
        /// The name, as `name/version`.
        name: String,
    },
    /// The value came, but its type refused to be rebuilt from what it was reduced to.
    #[error(transparent)]
    Rebuild(Box<RebuildError>),
}

// It is part of every result, also of those who have no error.
const _: () = assert!(size_of::<CodecError>() <= 32);

/// A process does not know a reducer, or knows only another version of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not know the reducer `{name}`; it knows {}", .known.join(", "))]
pub struct UnknownReducer {
    /// The one that was asked for; a custom one as `name/version`.
    pub name: String,
    /// Those that the process knows.
    pub known: Vec<String>,
}

/// A value came that its type refused to be rebuilt from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a `{type_name}`{} cannot be rebuilt: {reason}", at(.place))]
pub struct RebuildError {
    /// The type.
    pub type_name: &'static str,
    /// Where it stands in the value that was decoded: `.jobs[2].url`; empty if it is all of it.
    pub place: String,
    /// What it said.
    pub reason: String,
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" at `{place}`") }
}

impl RebuildError {
    /// That of a `T`, for this reason.
    #[must_use]
    pub fn of<T>(reason: impl fmt::Display) -> Self {
        let type_name = std::any::type_name::<T>();
        Self { type_name, place: String::new(), reason: reason.to_string() }
    }
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
    if bytes.len() > JOB_HEADER_BYTES_MAX {
        return Err(CodecError::TooLarge { limit: JOB_HEADER_BYTES_MAX as u64 });
    }
    let mut reader = Reader::new(bytes);
    whole(T::deserialize(&mut reader), &reader)
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
pub fn encode_payload<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(FIRST_BYTES);
    encode_payload_into(value, &mut bytes)?;
    Ok(bytes)
}

/// Appends a user's encoded value to bytes, which after an error are as they were.
///
/// # Errors
/// As [`encode_payload`].
pub fn encode_payload_into<T: Serialize + ?Sized>(
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
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

/// Decodes a user's value by a seed; all bytes must belong to it.
///
/// # Errors
/// As [`decode_payload`].
pub fn decode_payload_by<'a, S: DeserializeSeed<'a>>(
    bytes: &'a [u8],
    seed: S,
) -> Result<S::Value, CodecError> {
    let mut reader = Reader::new(bytes);
    whole(seed.deserialize(&mut reader), &reader)
}

/// Decodes a user's value; all bytes must belong to it.
///
/// # Errors
/// [`CodecError::Malformed`] or [`CodecError::Trailing`].
#[inline]
pub fn decode_payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut reader = Reader::new(bytes);
    whole(T::deserialize(&mut reader), &reader)
}

/// The same, for a value that borrows from the bytes. Nothing is allocated for what they claim to
/// have.
///
/// # Errors
/// As [`decode_payload`].
pub fn decode_payload_in_place<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let mut reader = Reader::new(bytes);
    whole(T::deserialize(&mut reader), &reader)
}

/// A value that was read, if nothing is left.
#[inline]
fn whole<T>(value: Result<T, read::Flaw>, reader: &Reader<'_>) -> Result<T, CodecError> {
    match (value, reader.left()) {
        (Ok(value), 0) => Ok(value),
        (Ok(_), left) => Err(CodecError::Trailing(left)),
        (Err(flaw), _) => Err(malformed(&flaw)),
    }
}

#[cold]
fn malformed(flaw: &read::Flaw) -> CodecError {
    CodecError::Malformed(flaw.to_string())
}
