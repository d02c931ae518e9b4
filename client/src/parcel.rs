//! Values ready to travel: bytes, and the descriptors of the handles in them.
//!
//! What must never be in here: how either gets to the other side.

use crate::codec::{self, Codec, CodecError};
use crate::handles::{SharedFd, collect, collect_into, provide};
use crate::reducer::Reducer;
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
    #[inline]
    pub(crate) fn pack<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, CodecError> {
        let (bytes, fds) = collect(|| codec::encode(codec, value));
        let bytes = bytes?;
        refuse_in_text(codec, &fds)?;
        Ok(Self { bytes, fds })
    }

    /// Appends an encoded value to bytes and gives its handles: [`pack`](Self::pack) without a
    /// parcel. After an error the bytes are as they were.
    ///
    /// # Errors
    /// As [`pack`](Self::pack).
    #[inline]
    pub(crate) fn append<T: Serialize + ?Sized>(
        codec: Codec,
        value: &T,
        bytes: &mut Vec<u8>,
    ) -> Result<Vec<SharedFd>, CodecError> {
        let mut fds = Vec::new();
        Self::append_with(codec, value, bytes, &mut fds).map_err(|error| *error)?;
        Ok(fds)
    }

    /// [`append`](Self::append), but puts the handles in place of others. After an error the bytes
    /// are as they were.
    ///
    /// # Errors
    /// As [`pack`](Self::pack).
    #[inline]
    pub(crate) fn append_with<T: Serialize + ?Sized>(
        codec: Codec,
        value: &T,
        bytes: &mut Vec<u8>,
        fds: &mut Vec<SharedFd>,
    ) -> Result<(), Box<CodecError>> {
        let before = bytes.len();
        collect_into(fds, || codec::encode_into(codec, value, bytes))?;
        refuse_in_text(codec, fds).map_err(|error| {
            bytes.truncate(before);
            fds.clear();
            Box::new(error)
        })
    }

    /// Decodes a value with its handles.
    ///
    /// # Errors
    /// As [`codec::decode`]; also when a descriptor did not come along.
    pub(crate) fn unpack<T: DeserializeOwned>(self, codec: Codec) -> Result<T, CodecError> {
        provide(self.fds, || codec::decode(codec, &self.bytes))
    }
}

/// Text is for those who could not take a handle.
#[inline]
fn refuse_in_text(codec: Codec, fds: &[SharedFd]) -> Result<(), CodecError> {
    if fds.is_empty() || !Reducer::of(codec).refuses_handles() {
        return Ok(());
    }
    Err(CodecError::Unserializable("a descriptor has no JSON form".to_owned()))
}
