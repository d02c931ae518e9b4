//! The form of the state that one image of the daemon hands to the next.
//!
//! `magic: 8 bytes, version: u32 LE, zero: u32, length: u64 LE, checksum: u64 LE`, then the body:
//! MessagePack with the names of fields. A field that is added has a `#[serde(default)]`, so what
//! version n wrote is read by all later ones. When a field changes its meaning, [`VERSION`] rises:
//! an earlier daemon then refuses the state by its header alone, before it looks at the body, and
//! [`decode`] learns to read the old form or [`OLDEST`] rises too.
//!
//! What is in the body is decided by who encodes it. What must never be in here: descriptors, and a
//! panic, whatever the bytes are.

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the state that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// The oldest that it reads.
pub const OLDEST: u32 = 1;
/// Largest state that is read, in bytes: what a thousand clients that do not read have coming to
/// them, and some more.
pub const BYTES_MAX: usize = 16 << 30;

const MAGIC: [u8; 8] = *b"mpstate\n";
const HEADER_BYTES: usize = 32;

/// Why bytes are not a state that can be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// They do not begin as a state does.
    #[error("these bytes are no state of an mpserverd")]
    Foreign,
    /// Another version wrote them.
    #[error(
        "the state has version {found}, but mpserverd {} reads versions {oldest} to {newest}",
        env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The version of the state.
        found: u32,
        /// The oldest that this program reads.
        oldest: u32,
        /// The newest.
        newest: u32,
    },
    /// Bytes are missing, or there are too many.
    #[error("the state says that it has {claimed} bytes, but {got} are there")]
    Length {
        /// What its header says.
        claimed: u64,
        /// What came.
        got: u64,
    },
    /// The checksum is wrong.
    #[error("the state was damaged on its way (checksum)")]
    Damaged,
    /// The body is not what this version has in it.
    #[error("the state cannot be decoded: {0}")]
    Malformed(String),
    /// The body contradicts itself.
    #[error("the state makes no sense: {0}")]
    Senseless(String),
    /// The system refused.
    #[error("{call}: {message}")]
    System {
        /// The call that failed.
        call: &'static str,
        /// What the system said.
        message: String,
    },
}

impl StateError {
    /// The system refused a call.
    pub fn system(call: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |error| Self::System { call, message: error.to_string() }
    }
}

/// FNV-1a over words of 8 bytes, the last one filled up with zeros, whose number the header tells:
/// the state of many workers is large, and nobody is served meanwhile. It tells damaged bytes, not
/// forged ones. Who can write to the daemon's own memory needs no forgery.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What whoever has read these bytes can say of them: nobody else knows it, least of all a program
/// that is no mpserverd and does nothing, successfully.
#[must_use]
pub fn proof(bytes: &[u8]) -> String {
    format!("mpserverd has read {:016x}", checksum(bytes))
}

/// Writes a state.
///
/// # Errors
/// [`StateError::Malformed`] for what cannot be written.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StateError> {
    encode_as(VERSION, value)
}

fn encode_as<T: Serialize>(version: u32, value: &T) -> Result<Vec<u8>, StateError> {
    let mut bytes = vec![0; HEADER_BYTES];
    value
        .serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map())
        .map_err(|error| StateError::Malformed(error.to_string()))?;
    put_header(version, &mut bytes);
    Ok(bytes)
}

/// Writes the header into the room before a body.
pub(crate) fn put_header(version: u32, bytes: &mut [u8]) {
    let Some((header, body)) = bytes.split_at_mut_checked(HEADER_BYTES) else { return };
    let fields = [
        &MAGIC[..],
        &version.to_le_bytes(),
        &[0; 4],
        &(body.len() as u64).to_le_bytes(),
        &checksum(body).to_le_bytes(),
    ];
    header.copy_from_slice(&fields.concat());
}

/// Reads a state.
///
/// # Errors
/// [`StateError`]; a version that is not read is told before anything else is looked at.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    let body = body(bytes)?;
    rmp_serde::from_slice(body).map_err(|error| StateError::Malformed(error.to_string()))
}

/// The body behind a header that is in order.
fn body(bytes: &[u8]) -> Result<&[u8], StateError> {
    let number = |at: usize| {
        let field = bytes.get(at..at + 8).and_then(|field| field.try_into().ok());
        field.map(u64::from_le_bytes).ok_or(StateError::Foreign)
    };
    if bytes.get(..8) != Some(&MAGIC[..]) {
        return Err(StateError::Foreign);
    }
    // The upper half is the field that is zero.
    let found = u32::try_from(number(8)?).map_err(|_| StateError::Foreign)?;
    if !(OLDEST..=VERSION).contains(&found) {
        return Err(StateError::Version { found, oldest: OLDEST, newest: VERSION });
    }
    let (claimed, sum) = (number(16)?, number(24)?);
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    if body.len() as u64 != claimed {
        return Err(StateError::Length { claimed, got: body.len() as u64 });
    }
    if checksum(body) != sum {
        return Err(StateError::Damaged);
    }
    Ok(body)
}

/// Paths, whatever bytes they have: serde itself wants UTF-8.
pub(crate) mod path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(to)
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(from).map(PathBuf::from)
    }
}

/// Lists of such paths.
pub(crate) mod paths {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::ffi::OsString;
    use std::path::PathBuf;

    pub(crate) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| path.as_os_str()))
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<OsString>::deserialize(from)?;
        Ok(paths.into_iter().map(PathBuf::from).collect())
    }
}
