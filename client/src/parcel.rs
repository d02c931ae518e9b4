//! Values ready to travel: bytes, and the descriptors of the handles in them.
//!
//! What must never be in here: how either gets to the other side.

use crate::codec::{self, Codec, CodecError};
use crate::handles::{SharedFd, collect, collect_into, provide};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An encoded value with the descriptors of the handles in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<SharedFd>,
}

impl Parcel {
    /// Encodes a value with its handles.
    ///
    /// # Errors
    /// As [`codec::encode`]. A handle in JSON is one: nobody who reads JSON could take it.
    pub(crate) fn pack<T: Serialize>(codec: Codec, value: &T) -> Result<Self, CodecError> {
        let (bytes, fds) = collect(|| codec::encode(codec, value));
        if codec == Codec::Json && !fds.is_empty() {
            return Err(no_json_form());
        }
        Ok(Self { bytes: bytes?, fds })
    }

    /// Appends an encoded value to bytes, and puts its handles in place of others:
    /// [`pack`](Self::pack) without a parcel. After an error the bytes are as they were.
    ///
    /// # Errors
    /// As [`pack`](Self::pack).
    #[inline]
    pub(crate) fn append<T: Serialize>(
        codec: Codec,
        value: &T,
        bytes: &mut Vec<u8>,
        fds: &mut Vec<SharedFd>,
    ) -> Result<(), Box<CodecError>> {
        let before = bytes.len();
        collect_into(fds, || codec::encode_into(codec, value, bytes))?;
        if codec == Codec::Json && !fds.is_empty() {
            bytes.truncate(before);
            fds.clear();
            return Err(no_json_form().into());
        }
        Ok(())
    }

    /// Decodes a value with its handles.
    ///
    /// # Errors
    /// As [`codec::decode`]; also when a descriptor did not come along.
    pub(crate) fn unpack<T: DeserializeOwned>(self, codec: Codec) -> Result<T, CodecError> {
        provide(self.fds, || codec::decode(codec, &self.bytes))
    }
}

fn no_json_form() -> CodecError {
    CodecError::Unserializable("a descriptor has no JSON form".to_owned())
}
