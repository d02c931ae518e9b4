//! What is observed.

use crate::codec::{self, Codec, CodecError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Says no in both directions, in its own words.
#[derive(Debug, PartialEq)]
struct Stubborn(bool);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            Err(serde::ser::Error::custom("not today"))
        } else {
            serializer.serialize_u8(7)
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            7 => Err(serde::de::Error::custom("seven is unlucky")),
            other => Ok(Self(other > 7)),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Outer {
    first: u32,
    list: Vec<Inner>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Inner {
    None,
    Pair(u8, BTreeMap<String, Stubborn>),
    Some(Option<Stubborn>),
    Named { part: (u8, Stubborn) },
}

const CODECS: [Codec; 3] = [Codec::Bincode, Codec::Json, Codec::Postcard];

fn with(inner: Inner) -> Outer {
    Outer { first: 1, list: vec![Inner::None, inner] }
}

fn entry(stubborn: bool) -> Inner {
    let map = [("a".to_owned(), Stubborn(stubborn))];
    Inner::Pair(0, map.into_iter().collect())
}

#[test]
fn what_cannot_be_written_is_said_with_its_place() {
    let cases = [
        (entry(true), ".list[1].1{0}"),
        (Inner::Some(Some(Stubborn(true))), ".list[1].Some"),
        (Inner::Named { part: (0, Stubborn(true)) }, ".list[1].part.1"),
    ];
    for (inner, place) in cases {
        let value = with(inner);
        for codec in CODECS {
            let error = codec::encode(codec, &value).expect_err("stubborn");
            let name = std::any::type_name::<Outer>();
            let said = CodecError::Unserializable(format!("`{name}`{place}: not today"));
            assert_eq!(error, said, "{codec}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    let cases = [
        (entry(false), ".list[1].1{0}"),
        (Inner::Some(Some(Stubborn(false))), ".list[1]"),
        (Inner::Named { part: (0, Stubborn(false)) }, ".list[1].part.1"),
    ];
    for (inner, place) in cases {
        let value = with(inner);
        for codec in CODECS {
            let bytes = codec::encode(codec, &value).expect("encodes");
            let error = codec::decode::<Outer>(codec, &bytes).expect_err("stubborn").to_string();
            // JSON knows structs as maps, and adds line and column.
            assert!(error.contains("seven is unlucky"), "{codec}: {error}");
            if codec != Codec::Json {
                let name = std::any::type_name::<Outer>();
                assert!(error.contains(&format!("`{name}`{place}: seven")), "{codec}: {error}");
            }
        }
    }
}

#[test]
fn bytes_that_end_are_said_with_the_place_where() {
    let bytes = codec::encode(Codec::Bincode, &with(Inner::None)).expect("encodes");
    let error = codec::decode::<Outer>(Codec::Bincode, &bytes[..14]).expect_err("cut");
    assert!(error.to_string().contains(".list[0]"), "{error}");
}

#[test]
fn only_the_format_is_to_blame_for_what_only_it_lacks() {
    let map: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into_iter().collect();
    let error = codec::encode(Codec::Json, &map).expect_err("no text").to_string();
    assert!(error.contains("key must be a string"), "{error}");
}
