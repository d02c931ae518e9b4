//! Messages that are values: a preamble, then the value as between all programs of this crate.
//!
//! The preamble says that it is one, and how many descriptors belong to it. What CPython's `send`
//! writes, a pickle, is told from it by the first byte.

use super::error::ConnectionError;
use super::frame::Handles;
use crate::codec::{self, Codec, CodecError};
use crate::handles::{SharedFd, provide};
use crate::parcel::Parcel;
use mpserverd_proto::limits::{JOB_FDS_MAX, PAYLOAD_BYTES_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// `MP`, the version of this format, and a zero.
const MAGIC: [u8; 4] = *b"MP\x01\0";
/// The magic number, and the count of descriptors in four bytes, little-endian.
const PREAMBLE_BYTES: usize = 8;
/// The longest message that may be a value.
pub(super) const VALUE_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX + PREAMBLE_BYTES as u64;

/// A value ready to be sent.
pub(super) struct Outgoing {
    pub(super) preamble: [u8; PREAMBLE_BYTES],
    pub(super) parcel: Parcel,
}

/// Encodes a value with the handles in it.
pub(super) fn pack<T: Serialize + ?Sized>(value: &T) -> Result<Outgoing, ConnectionError> {
    let parcel = Parcel::pack(Codec::Bincode, &value)?;
    let count = parcel.fds.len();
    if count > JOB_FDS_MAX {
        return Err(ConnectionError::TooManyDescriptors { count, limit: JOB_FDS_MAX });
    }
    let mut preamble = [0; PREAMBLE_BYTES];
    preamble[..4].copy_from_slice(&MAGIC);
    preamble[4..].copy_from_slice(&(count as u32).to_le_bytes());
    Ok(Outgoing { preamble, parcel })
}

/// Decodes one.
pub(super) fn unpack<T: DeserializeOwned>(
    message: &[u8],
    handles: Handles,
) -> Result<T, ConnectionError> {
    let (announced, bytes) = split(message)?;
    let Handles { mut fds, lost } = handles;
    if fds.len() < announced {
        return Err(match lost {
            true => ConnectionError::DescriptorsLost,
            false => ConnectionError::DescriptorsMissing { announced, came: fds.len() },
        });
    }
    fds.truncate(announced);
    decode(bytes, fds)
}

fn split(message: &[u8]) -> Result<(usize, &[u8]), ConnectionError> {
    let foreign = |what: &str| ConnectionError::Codec(CodecError::Malformed(what.to_owned()));
    let Some((preamble, bytes)) = message.split_first_chunk::<PREAMBLE_BYTES>() else {
        return Err(foreign("the message is too short to be a value"));
    };
    let [magic @ .., a, b, c, d] = *preamble;
    if magic != MAGIC {
        return Err(foreign("the message is no value of this library (or of another version)"));
    }
    match usize::try_from(u32::from_le_bytes([a, b, c, d])) {
        Ok(count) if count <= JOB_FDS_MAX => Ok((count, bytes)),
        _ => Err(foreign("the message claims more descriptors than any may have")),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], fds: Vec<SharedFd>) -> Result<T, ConnectionError> {
    Ok(provide(fds, || codec::decode(Codec::Bincode, bytes))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back() {
        let out = pack(&("a", 7u8)).expect("encodes");
        let message = [&out.preamble[..], &out.parcel.bytes].concat();
        let back: (String, u8) = unpack(&message, Handles::default()).expect("decodes");
        assert_eq!(back, ("a".to_owned(), 7));
        for cut in 0..message.len() {
            let error = unpack::<(String, u8)>(&message[..cut], Handles::default());
            assert!(matches!(error, Err(ConnectionError::Codec(_))), "{cut}: {error:?}");
        }
    }

    #[test]
    fn pickles_and_absurd_counts_are_told_apart() {
        let pickle = b"\x80\x04\x95\x06\x00\x00\x00\x00\x00\x00\x00\x8c\x02hi\x94.";
        let error = unpack::<String>(pickle, Handles::default()).expect_err("a pickle");
        assert!(error.to_string().contains("no value of this library"), "{error}");
        let mut absurd = pack(&1u8).expect("encodes").preamble;
        absurd[4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(unpack::<u8>(&absurd, Handles::default()).is_err());
    }

    #[test]
    fn fewer_descriptors_than_announced_are_an_error() {
        let mut message = pack(&1u8).expect("encodes").preamble.to_vec();
        message[4] = 3;
        message.push(1);
        let error = unpack::<u8>(&message, Handles::default()).expect_err("none came");
        let missing =
            matches!(error, ConnectionError::DescriptorsMissing { announced: 3, came: 0 });
        assert!(missing, "{error:?}");
        let lost = Handles { lost: true, ..Handles::default() };
        assert!(matches!(unpack::<u8>(&message, lost), Err(ConnectionError::DescriptorsLost)));
    }
}
