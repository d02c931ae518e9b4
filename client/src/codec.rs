//! Values as bytes: bincode between Rust programs, JSON for everybody else.

use mpserverd_proto::codec as wire;
pub use mpserverd_proto::codec::CodecError;
pub use mpserverd_proto::job::Codec;
use mpserverd_proto::limits::PAYLOAD_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes a value.
///
/// # Errors
/// [`CodecError::Unserializable`] when its `Serialize` fails, [`CodecError::TooLarge`] past
/// 2 GiB.
pub(crate) fn encode<T: Serialize>(codec: Codec, value: &T) -> Result<Vec<u8>, CodecError> {
    match codec {
        Codec::Bincode => wire::encode_payload(value),
        Codec::Json => {
            let bytes =
                serde_json::to_vec(value).map_err(|e| CodecError::Unserializable(e.to_string()))?;
            if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
                return Err(CodecError::TooLarge { limit: PAYLOAD_BYTES_MAX });
            }
            Ok(bytes)
        }
    }
}

/// Appends an encoded value to bytes, which after an error are as they were.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_into<T: Serialize>(
    codec: Codec,
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
    if codec == Codec::Bincode {
        return wire::encode_payload_into(value, bytes);
    }
    let before = bytes.len();
    let done = match serde_json::to_writer(&mut *bytes, value) {
        Err(error) => Err(CodecError::Unserializable(error.to_string())),
        Ok(()) if (bytes.len() - before) as u64 > PAYLOAD_BYTES_MAX => {
            Err(CodecError::TooLarge { limit: PAYLOAD_BYTES_MAX })
        }
        Ok(()) => Ok(()),
    };
    if done.is_err() {
        bytes.truncate(before);
    }
    done
}

/// Decodes a value.
///
/// # Errors
/// [`CodecError::Malformed`] or [`CodecError::Trailing`].
pub(crate) fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, CodecError> {
    match codec {
        Codec::Bincode => wire::decode_payload(bytes),
        Codec::Json => {
            serde_json::from_slice(bytes).map_err(|e| CodecError::Malformed(e.to_string()))
        }
    }
}
