//! Messages that are values: a preamble, then the value as between all programs of this crate.
//!
//! The preamble says that it is one, by which reducer, and how many descriptors belong to it. What
//! CPython's `send` writes, a pickle, is told from it by the first byte.

use super::error::ConnectionError;
use super::frame::Handles;
use crate::codec::{self, Codec, CodecError};
use crate::handles::{SharedFd, provide};
use crate::parcel::Parcel;
use mpserverd_proto::limits::{JOB_FDS_MAX, PAYLOAD_BYTES_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// `MP` and the version of this format. One byte follows that says what the value is encoded by:
/// zero for bincode, else the number of the codec.
const MAGIC: [u8; 3] = *b"MP\x01";
/// The magic number, the codec, and the count of descriptors in four bytes, little-endian.
const PREAMBLE_BYTES: usize = 8;
/// Version and name of a custom reducer, between preamble and value.
const ID_BYTES: usize = Codec::BYTES - 2;
/// The longest message that may be a value.
pub(super) const VALUE_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX + (PREAMBLE_BYTES + ID_BYTES) as u64;

/// What stands before a value.
#[derive(Clone, Copy)]
pub(super) struct Preamble {
    bytes: [u8; PREAMBLE_BYTES + ID_BYTES],
    length: usize,
}

impl Preamble {
    #[inline]
    fn new(codec: Codec, count: u32) -> Self {
        let mut bytes = [0; PREAMBLE_BYTES + ID_BYTES];
        bytes[..3].copy_from_slice(&MAGIC);
        bytes[4..PREAMBLE_BYTES].copy_from_slice(&count.to_le_bytes());
        let mut length = PREAMBLE_BYTES;
        if codec != Codec::Bincode {
            bytes[3] = codec.number() as u8;
            if let Codec::Custom(_) = codec {
                bytes[PREAMBLE_BYTES..].copy_from_slice(&codec.to_bytes()[2..]);
                length += ID_BYTES;
            }
        }
        Self { bytes, length }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A value ready to be sent.
pub(super) struct Outgoing {
    pub(super) preamble: Preamble,
    pub(super) parcel: Parcel,
}

/// Encodes a value with the handles in it.
pub(super) fn pack<T: Serialize + ?Sized>(
    codec: Codec,
    value: &T,
) -> Result<Outgoing, ConnectionError> {
    let parcel = Parcel::pack(codec, value)?;
    let count = parcel.fds.len();
    if count > JOB_FDS_MAX {
        return Err(ConnectionError::TooManyDescriptors { count, limit: JOB_FDS_MAX });
    }
    Ok(Outgoing { preamble: Preamble::new(codec, count as u32), parcel })
}

/// Decodes one, which must be encoded by this codec.
pub(super) fn unpack<T: DeserializeOwned>(
    codec: Codec,
    message: &[u8],
    handles: Handles,
) -> Result<T, ConnectionError> {
    let (theirs, announced, bytes) = split(message)?;
    if theirs != codec {
        let (ours, theirs) = (codec.to_string(), theirs.to_string());
        return Err(ConnectionError::ReducerMismatch { ours, theirs });
    }
    let Handles { mut fds, lost } = handles;
    if fds.len() < announced {
        return Err(match lost {
            true => ConnectionError::DescriptorsLost,
            false => ConnectionError::DescriptorsMissing { announced, came: fds.len() },
        });
    }
    fds.truncate(announced);
    decode(codec, bytes, fds)
}

/// Its codec, how many descriptors it announces, and the value.
fn split(message: &[u8]) -> Result<(Codec, usize, &[u8]), ConnectionError> {
    let foreign = |what: &str| ConnectionError::Codec(CodecError::Malformed(what.to_owned()));
    let short = || foreign("the message is too short to be a value");
    let (preamble, bytes) = message.split_first_chunk::<PREAMBLE_BYTES>().ok_or_else(short)?;
    let [magic @ .., codec, a, b, c, d] = *preamble;
    if magic != MAGIC {
        return Err(foreign("the message is no value of this library (or of another version)"));
    }
    let count = match usize::try_from(u32::from_le_bytes([a, b, c, d])) {
        Ok(count) if count <= JOB_FDS_MAX => count,
        _ => return Err(foreign("the message claims more descriptors than any may have")),
    };
    if codec == 0 {
        return Ok((Codec::Bincode, count, bytes));
    }
    let mut form = [0; Codec::BYTES];
    form[0] = codec;
    let mut bytes = bytes;
    if Codec::built_in(codec.into()).is_none() {
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>().ok_or_else(short)?;
        form[2..].copy_from_slice(id);
        bytes = rest;
    }
    let codec = Codec::from_bytes(form);
    let codec = codec.ok_or_else(|| foreign("the message names no reducer (or one to come)"))?;
    Ok((codec, count, bytes))
}

fn decode<T: DeserializeOwned>(
    codec: Codec,
    bytes: &[u8],
    fds: Vec<SharedFd>,
) -> Result<T, ConnectionError> {
    Ok(provide(fds, || codec::decode(codec, bytes))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOM: &str = "custom/3";

    fn unpack<T: DeserializeOwned>(message: &[u8], handles: Handles) -> Result<T, ConnectionError> {
        super::unpack(Codec::Bincode, message, handles)
    }

    fn preamble(codec: Codec, count: u32) -> Vec<u8> {
        Preamble::new(codec, count).bytes().to_vec()
    }

    #[test]
    fn a_value_comes_back() {
        for codec in [Codec::Bincode, Codec::Json, Codec::Postcard] {
            let out = pack(codec, &("a", 7u8)).expect("encodes");
            let message = [out.preamble.bytes(), &out.parcel.bytes].concat();
            let unpack =
                |message: &[u8]| super::unpack::<(String, u8)>(codec, message, Handles::default());
            assert_eq!(unpack(&message).expect("decodes"), ("a".to_owned(), 7));
            for cut in 0..message.len() {
                let error = unpack(&message[..cut]);
                assert!(matches!(error, Err(ConnectionError::Codec(_))), "{cut}: {error:?}");
            }
        }
    }

    #[test]
    fn the_preamble_of_bincode_is_what_it_always_was() {
        assert_eq!(preamble(Codec::Bincode, 3), b"MP\x01\0\x03\0\0\0");
    }

    #[test]
    fn two_reducers_are_named() {
        let custom = Codec::Custom(CUSTOM.parse().expect("a name"));
        let all = [Codec::Bincode, Codec::Json, Codec::Postcard, custom];
        for (ours, theirs) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            if ours == theirs {
                continue;
            }
            let message = [preamble(theirs, 0), vec![1]].concat();
            match super::unpack::<u8>(ours, &message, Handles::default()) {
                Err(ConnectionError::ReducerMismatch { ours: a, theirs: b }) => {
                    assert_eq!((a, b), (ours.to_string(), theirs.to_string()));
                }
                other => panic!("{ours}, {theirs}: {other:?}"),
            }
        }
        // Only another version of the same.
        let ours = Codec::Custom("custom/2".parse().expect("a name"));
        let error = super::unpack::<u8>(ours, &preamble(custom, 0), Handles::default());
        let error = error.expect_err("another version").to_string();
        assert!(error.contains("custom/2") && error.contains(CUSTOM), "{error}");
    }

    #[test]
    fn names_that_are_none_are_errors() {
        let custom = Codec::Custom(CUSTOM.parse().expect("a name"));
        let whole = preamble(custom, 0);
        for cut in 0..whole.len() {
            assert!(unpack::<u8>(&whole[..cut], Handles::default()).is_err());
        }
        for wrong in 5..=255u8 {
            let mut message = whole.clone();
            message[3] = wrong;
            let error = unpack::<u8>(&message, Handles::default());
            assert!(matches!(error, Err(ConnectionError::Codec(_))), "{wrong}: {error:?}");
        }
        let mut message = whole;
        message[PREAMBLE_BYTES + 2] = b' ';
        let error = unpack::<u8>(&message, Handles::default()).expect_err("a blank in a name");
        assert!(error.to_string().contains("names no reducer"), "{error}");
    }

    #[test]
    fn pickles_and_absurd_counts_are_told_apart() {
        let pickle = b"\x80\x04\x95\x06\x00\x00\x00\x00\x00\x00\x00\x8c\x02hi\x94.";
        let error = unpack::<String>(pickle, Handles::default()).expect_err("a pickle");
        assert!(error.to_string().contains("no value of this library"), "{error}");
        let absurd = preamble(Codec::Bincode, u32::MAX);
        assert!(unpack::<u8>(&absurd, Handles::default()).is_err());
    }

    #[test]
    fn fewer_descriptors_than_announced_are_an_error() {
        let mut message = preamble(Codec::Bincode, 3);
        message.push(1);
        let error = unpack::<u8>(&message, Handles::default()).expect_err("none came");
        let missing =
            matches!(error, ConnectionError::DescriptorsMissing { announced: 3, came: 0 });
        assert!(missing, "{error:?}");
        let lost = Handles { lost: true, ..Handles::default() };
        assert!(matches!(unpack::<u8>(&message, lost), Err(ConnectionError::DescriptorsLost)));
    }
}
