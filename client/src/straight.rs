//! Values that need no codec: numbers and byte strings, alone or as the only argument of a task.
//!
//! Their bytes are those that bincode would write, fixed integers in little endian and a length of
//! eight bytes before a string of them; but a string is copied at once, where serde goes byte by
//! byte. The compiler knows the type, so nothing is left of this for all others.

use mpserverd_proto::limits::PAYLOAD_BYTES_MAX;
use std::any::Any;

/// Bytes of the length before a byte string.
const LENGTH_BYTES: usize = 8;

/// Whether all of a string can travel; the codec says what is wrong with one that cannot.
fn fits(string: &[u8]) -> bool {
    (string.len() + LENGTH_BYTES) as u64 <= PAYLOAD_BYTES_MAX
}

/// Appends a byte string, if it can travel.
pub(crate) fn append_string(string: &[u8], bytes: &mut Vec<u8>) -> bool {
    let fits = fits(string);
    if fits {
        bytes.reserve(LENGTH_BYTES + string.len());
        bytes.extend_from_slice(&(string.len() as u64).to_le_bytes());
        bytes.extend_from_slice(string);
    }
    fits
}

/// The byte string that all of these bytes are.
fn string_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let (length, own) = bytes.split_first_chunk()?;
    (u64::from_le_bytes(*length) == own.len() as u64).then(|| own.to_vec())
}

macro_rules! numbers {
    ($($number:ty),+) => {
        /// Appends a value, if it is one of these.
        #[inline]
        pub(crate) fn append<T: 'static>(value: &T, bytes: &mut Vec<u8>) -> bool {
            let value = value as &dyn Any;
            $(
                if let Some(number) = value
                    .downcast_ref::<$number>()
                    .or_else(|| value.downcast_ref::<($number,)>().map(|(number,)| number))
                {
                    bytes.extend_from_slice(&number.to_le_bytes());
                    return true;
                }
            )+
            value
                .downcast_ref::<Vec<u8>>()
                .or_else(|| value.downcast_ref::<(Vec<u8>,)>().map(|(string,)| string))
                .is_some_and(|string| append_string(string, bytes))
        }

        /// The value that all of these bytes are, if it is one of these.
        #[inline]
        pub(crate) fn read<T: 'static>(bytes: &[u8]) -> Option<T> {
            let mut value = None::<T>;
            let place = &mut value as &mut dyn Any;
            $(
                if let Some(place) = place.downcast_mut::<Option<$number>>() {
                    *place = Some(<$number>::from_le_bytes(bytes.try_into().ok()?));
                } else if let Some(place) = place.downcast_mut::<Option<($number,)>>() {
                    *place = Some((<$number>::from_le_bytes(bytes.try_into().ok()?),));
                }
            )+
            if let Some(place) = place.downcast_mut::<Option<Vec<u8>>>() {
                *place = string_of(bytes);
            } else if let Some(place) = place.downcast_mut::<Option<(Vec<u8>,)>>() {
                *place = string_of(bytes).map(|string| (string,));
            }
            value
        }
    };
}
numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::codec as wire;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;

    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T) {
        let mut bytes = vec![7];
        assert!(append(&value, &mut bytes), "{value:?}");
        let bytes = &bytes[1..];
        assert_eq!(bytes, wire::encode_payload(&value).expect("encodes"));
        assert_eq!(read::<T>(bytes).as_ref(), Some(&value));
        assert_eq!(read::<T>(&bytes[..bytes.len() - 1]), None);
        assert_eq!(read::<T>(&[bytes, &[0]].concat()), None);
    }

    #[test]
    fn the_bytes_are_those_of_the_codec() {
        check(7u8);
        check((-7i8,));
        check(u16::MAX);
        check((i32::MIN,));
        check(u64::MAX - 1);
        check((0.5f64,));
        check(vec![1u8, 2, 3]);
        check((Vec::<u8>::new(),));
    }

    #[test]
    fn others_are_left_to_the_codec() {
        let mut bytes = Vec::new();
        assert!(!append(&vec![1u32], &mut bytes) && !append(&"text".to_owned(), &mut bytes));
        assert!(!append(&(1u8, 2u8), &mut bytes) && bytes.is_empty());
        assert!(read::<String>(&[0; 8]).is_none() && read::<(u8, u8)>(&[0; 2]).is_none());
    }
}
