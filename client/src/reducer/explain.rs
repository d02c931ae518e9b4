//! Errors that name the type and the place in the value.
//!
//! Formats differ in what they tell: postcard forgets what a type of the user's has said, bincode
//! never knows where it was. So when something has failed, it is done once more under observation.
//! That costs nothing as long as nothing fails.

use super::custom::Read;
use super::trace::{De, Failure, Sink, Stash};
use super::{foreign, formats};
use crate::codec::{Codec, CodecError};
use mpserverd_proto::codec::RebuildError;
use serde::Serialize as _;
use serde::de::{DeserializeOwned, Error as _};

/// Why a value could not be encoded, in more words.
#[cold]
pub(crate) fn encoding(
    codec: Codec,
    type_name: &'static str,
    value: &dyn erased_serde::Serialize,
    error: CodecError,
) -> CodecError {
    let CodecError::Unserializable(said) = error else { return error };
    let human_readable = codec == Codec::Json;
    let (place, said) = match value.serialize(Sink { human_readable }) {
        Err(failure) => (failure.place(), failure.message),
        // The value is well, only this format does not have it.
        Ok(()) => (String::new(), said),
    };
    CodecError::Unserializable(format!("`{type_name}`{place}: {said}"))
}

/// Decodes a value and observes what fails.
#[cold]
pub(crate) fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, CodecError> {
    let (mut value, mut failure) = (None, None);
    let stash = Stash::default();
    foreign::forget_refusal();
    let mut read = |deserializer: &mut dyn erased_serde::Deserializer<'_>| {
        T::deserialize(De::new(deserializer, &stash)).map(|read| value = Some(read)).map_err(
            |failed| {
                let error = erased_serde::Error::custom(&failed.message);
                failure = Some(failed);
                error
            },
        )
    };
    let read: Read<'_> = &mut read;
    let done = formats::read(codec, bytes, read);
    match (done, value) {
        (Ok(()), Some(value)) => Ok(value),
        (done, _) => Err(decoding(codec, std::any::type_name::<T>(), done.err(), failure)),
    }
}

/// Why a value could not be decoded, in more words.
fn decoding(
    codec: Codec,
    type_name: &'static str,
    error: Option<CodecError>,
    failure: Option<Failure>,
) -> CodecError {
    let place = failure.as_ref().map(Failure::place).unwrap_or_default();
    let said = match (failure, error) {
        (Some(failure), _) => failure.message,
        (None, Some(CodecError::Malformed(said))) => said,
        (None, Some(other)) => return other,
        (None, None) => format!("the reducer `{codec}` has read no value"),
    };
    if let Some(refusal) = foreign::refusal_with(&said) {
        return CodecError::Rebuild(Box::new(RebuildError { place, ..refusal }));
    }
    CodecError::Malformed(format!("`{type_name}`{place}: {said}"))
}
