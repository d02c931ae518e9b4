//! Headers that are wrong in every way.

use super::*;
use proptest::prelude::*;

#[test]
fn what_was_written_is_read() {
    let value = vec![("a".to_owned(), 1), ("b".to_owned(), u64::MAX)];
    let bytes = encode(&value).expect("written");
    assert_eq!(decode::<Vec<(String, u64)>>(&bytes), Ok(value));
}

#[test]
fn another_version_is_refused_by_name() {
    for found in [0, VERSION + 1, u32::MAX] {
        let bytes = encode_as(found, &"anything").expect("written");
        let error = decode::<String>(&bytes).unwrap_err();
        assert_eq!(error, StateError::Version { found, oldest: OLDEST, newest: VERSION });
        let text = error.to_string();
        assert!(text.contains(&format!("version {found},")), "{text}");
        assert!(text.ends_with(&format!("reads versions {OLDEST} to {VERSION}")), "{text}");
        // Even if nothing but the header is there.
        assert_eq!(decode::<String>(&bytes[..16]).unwrap_err(), error);
    }
}

#[test]
fn damage_is_told_as_what_it_is() {
    let bytes = encode(&"some text").expect("written");
    assert_eq!(decode::<String>(b"").unwrap_err(), StateError::Foreign);
    assert_eq!(decode::<String>(b"#!/bin/sh\nexit 0\n").unwrap_err(), StateError::Foreign);
    let short = decode::<String>(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!(short, StateError::Length { claimed: 10, got: 9 });
    let mut long = bytes.clone();
    long.push(0);
    assert_eq!(decode::<String>(&long).unwrap_err(), StateError::Length { claimed: 10, got: 11 });
    let mut damaged = bytes.clone();
    damaged[HEADER_BYTES + 3] ^= 1;
    assert_eq!(decode::<String>(&damaged).unwrap_err(), StateError::Damaged);
    assert!(matches!(decode::<u64>(&bytes).unwrap_err(), StateError::Malformed(_)));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Vec<String>>(&bytes);
        let whole = [&encode(&0u8).expect("written")[..HEADER_BYTES], &bytes].concat();
        prop_assert!(decode::<Vec<String>>(&whole).is_err());
    }
}
