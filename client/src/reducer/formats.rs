//! The formats of reducers but bincode, which is in `proto`.

use super::custom::{self, Hook, Output, Read};
use crate::codec::{Codec, CodecError};
use mpserverd_proto::codec as wire;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

/// Appends a value to bytes, which after an error are as they were.
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    codec: Codec,
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let mut output = Output::new(bytes);
    match codec {
        Codec::Bincode => wire::encode_payload_into(value, bytes),
        Codec::Json => {
            let done = serde_json::to_writer(&mut output, value);
            output.finish(done)
        }
        Codec::Postcard => {
            let mut serializer = postcard::Serializer { output: Flavour(&mut output) };
            let done = value.serialize(&mut serializer);
            output.finish(done)
        }
        Codec::Custom(id) => {
            let done = custom::find(id)?.encode(&value, &mut output);
            output.finish(done)
        }
    }
}

/// Where postcard writes.
struct Flavour<'a, 'b>(&'a mut Output<'b>);

impl postcard::ser_flavors::Flavor for Flavour<'_, '_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.append(bytes).ok_or(postcard::Error::SerializeBufferFull)
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads JSON; blanks may follow.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Reads postcard.
pub(crate) fn from_postcard<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Trailing(rest.len())) }
}

/// Reads a value of unknown type; all bytes must belong to it.
pub(super) fn read(codec: Codec, bytes: &[u8], read: Read<'_>) -> Result<(), CodecError> {
    match codec {
        Codec::Bincode => wire::decode_payload_by(bytes, Hook(read)),
        Codec::Json => {
            let mut json = serde_json::Deserializer::from_slice(bytes);
            Hook(read).deserialize(&mut json).and_then(|()| json.end()).map_err(malformed)
        }
        Codec::Postcard => {
            let mut postcard = postcard::Deserializer::from_bytes(bytes);
            Hook(read).deserialize(&mut postcard).map_err(malformed)?;
            match postcard.finalize().map_err(malformed)? {
                [] => Ok(()),
                rest => Err(CodecError::Trailing(rest.len())),
            }
        }
        Codec::Custom(id) => custom::find(id)?.decode(bytes, read).map_err(CodecError::Malformed),
    }
}

fn malformed(error: impl std::fmt::Display) -> CodecError {
    CodecError::Malformed(error.to_string())
}
