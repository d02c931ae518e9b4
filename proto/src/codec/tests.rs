//! The reader against bincode's own.

use super::{CodecError, PAYLOAD_LIMIT, config, decode_payload, encode_payload};
use arbitrary::{Arbitrary, Unstructured};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
enum Tree {
    Leaf,
    Letter(char),
    Pair(Box<Tree>, Option<Box<Tree>>),
    Record { name: String, flags: Vec<bool>, map: BTreeMap<i16, (u8, u64)> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
struct All {
    narrow: (u8, i8, u16, i16),
    wide: (u32, i32, u64, i64, u128, i128),
    unit: (),
    newtype: New,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    trees: Vec<Tree>,
    array: [Option<char>; 3],
    results: Vec<Result<String, u8>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
struct New(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Floats(f32, f64, char);

/// What bincode makes of bytes, and what we do. There is no list of units in them: bincode counts
/// up to any length of one.
fn agree<T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    // A limit below which bincode may believe a length.
    let theirs = bincode::serde::decode_from_slice::<T, _>(bytes, config::<{ 1 << 16 }>());
    match (theirs, decode_payload::<T>(bytes)) {
        (Ok((theirs, used)), Ok(ours)) => {
            assert_eq!(theirs, ours);
            assert_eq!(used, bytes.len());
        }
        (Ok((_, used)), Err(CodecError::Trailing(left))) => assert_eq!(used + left, bytes.len()),
        (Err(_), Err(CodecError::Malformed(_))) => {}
        (theirs, ours) => panic!("{theirs:?} but {ours:?} of {bytes:?}"),
    }
}

fn value(seed: &[u8]) -> Option<All> {
    All::arbitrary(&mut Unstructured::new(seed)).ok()
}

proptest! {
    #[test]
    fn what_bincode_writes_comes_back(seed in prop::collection::vec(any::<u8>(), 0..1024)) {
        if let Some(all) = value(&seed) {
            let bytes = encode_payload(&all).unwrap();
            prop_assert_eq!(decode_payload::<All>(&bytes).unwrap(), all);
        }
    }

    #[test]
    fn floats_and_letters_come_back(float: f32, double: f64, letter: char) {
        let bytes = encode_payload(&Floats(float, double, letter)).unwrap();
        let Floats(f, d, l) = decode_payload(&bytes).unwrap();
        prop_assert_eq!((f.to_bits(), d.to_bits(), l), (float.to_bits(), double.to_bits(), letter));
    }

    #[test]
    fn both_say_the_same_of_damaged_bytes(
        seed in prop::collection::vec(any::<u8>(), 0..512),
        at: prop::sample::Index,
        with: u8,
        cut: Option<prop::sample::Index>,
    ) {
        if let Some(all) = value(&seed) {
            let mut bytes = encode_payload(&all).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = with;
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            agree::<All>(&bytes);
        }
    }

    #[test]
    fn both_say_the_same_of_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        agree::<Tree>(&bytes);
        agree::<Vec<(u8, String)>>(&bytes);
        agree::<(char, Option<bool>)>(&bytes);
    }
}

#[test]
fn lengths_are_believed_only_if_the_bytes_are_there() {
    let claim = |length: u64| [&length.to_le_bytes()[..], b"abc"].concat();
    assert_eq!(decode_payload::<String>(&claim(3)).unwrap(), "abc");
    for length in [4, 1 << 20, PAYLOAD_LIMIT as u64 - 1, u64::MAX] {
        let error = decode_payload::<String>(&claim(length)).unwrap_err().to_string();
        assert!(error.contains("3 are left"), "{error}");
        assert!(decode_payload::<Vec<u64>>(&claim(length)).is_err());
    }
    // Nothing stands behind these, so it is their number that is bounded.
    let none = vec![(); 1 << 20];
    assert_eq!(decode_payload::<Vec<()>>(&encode_payload(&none).unwrap()).unwrap(), none);
    let more = ((1u64 << 20) + 1).to_le_bytes();
    assert!(decode_payload::<Vec<()>>(&more).is_err());
}
