//! Values as bytes, by whichever reducer.
//!
//! The built-in ones are called as they are, with the type of the value known to the compiler; the
//! rest is in `reducer`.

use crate::reducer::{explain, formats};
use mpserverd_proto::codec as wire;
pub use mpserverd_proto::codec::CodecError;
pub use mpserverd_proto::job::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes a value.
///
/// # Errors
/// [`CodecError::Unserializable`] when its `Serialize` fails, [`CodecError::TooLarge`] past
/// 2 GiB; what concerns reducers that this process does not have.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    codec: Codec,
    value: &T,
) -> Result<Vec<u8>, CodecError> {
    let encoded = if matches!(codec, Codec::Bincode) {
        wire::encode_payload(value)
    } else {
        let mut bytes = Vec::new();
        formats::encode_into(codec, value, &mut bytes).map(|()| bytes)
    };
    encoded.map_err(|error| explained(codec, value, error))
}

/// Appends an encoded value to bytes, which after an error are as they were.
///
/// # Errors
/// As [`encode`].
#[inline]
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    codec: Codec,
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let encoded = if matches!(codec, Codec::Bincode) {
        wire::encode_payload_into(value, bytes)
    } else {
        formats::encode_into(codec, value, bytes)
    };
    encoded.map_err(|error| explained(codec, value, error))
}

#[cold]
#[inline(never)]
fn explained<T: Serialize + ?Sized>(codec: Codec, value: &T, error: CodecError) -> CodecError {
    explain::encoding(codec, std::any::type_name::<T>(), &value, error)
}

/// Decodes a value; all bytes must belong to it.
///
/// # Errors
/// [`CodecError::Malformed`], [`CodecError::Trailing`] or [`CodecError::Rebuild`]; what concerns
/// reducers that this process does not have.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, CodecError> {
    if !matches!(codec, Codec::Bincode) {
        return decode_otherwise(codec, bytes);
    }
    match wire::decode_payload(bytes) {
        Ok(value) => Ok(value),
        Err(error) => failed(codec, bytes, error),
    }
}

/// Out of the way of bincode, which is to stay as small as it is.
#[inline(never)]
fn decode_otherwise<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, CodecError> {
    let decoded = match codec {
        Codec::Json => formats::from_json(bytes),
        Codec::Postcard => formats::from_postcard(bytes),
        Codec::Bincode | Codec::Custom(_) => return explain::decode(codec, bytes),
    };
    decoded.or_else(|error| failed(codec, bytes, error))
}

#[cold]
#[inline(never)]
fn failed<T: DeserializeOwned>(
    codec: Codec,
    bytes: &[u8],
    error: CodecError,
) -> Result<T, CodecError> {
    match error {
        CodecError::Malformed(_) => explain::decode(codec, bytes),
        other => Err(other),
    }
}
