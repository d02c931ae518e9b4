//! The names of reducers: how values become bytes, as the two sides of a way tell each other.
//!
//! A name is small and copied: it stands in every job, in the memory of a queue, before messages of
//! a connection. Whoever does not know it says so, with the names that it knows.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes of a custom reducer's name at most.
pub const REDUCER_NAME_BYTES_MAX: usize = 16;

/// How values are encoded: arguments and results, items, messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Codec {
    /// bincode 2, little endian, fixed-width integers: between Rust programs.
    #[default]
    Bincode,
    /// JSON: an array of arguments, any value as result. For `mpctl` and other languages.
    Json,
    /// postcard 1: numbers take as many bytes as they need. Between Rust programs.
    Postcard,
    /// One that a program has registered.
    Custom(ReducerId),
}

impl Codec {
    /// Bytes of its fixed form.
    pub const BYTES: usize = 4 + REDUCER_NAME_BYTES_MAX;

    /// Its number in the ABI of modules; all custom ones have the same.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Bincode => 1,
            Self::Json => 2,
            Self::Postcard => 3,
            Self::Custom(_) => 4,
        }
    }

    /// The one with this number, without the custom ones.
    #[must_use]
    pub const fn built_in(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Bincode),
            2 => Some(Self::Json),
            3 => Some(Self::Postcard),
            _ => None,
        }
    }

    /// Its fixed form: number and version in two bytes each, little-endian, then the name of a
    /// custom one, filled up with zeros.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..2].copy_from_slice(&(self.number() as u16).to_le_bytes());
        if let Self::Custom(id) = self {
            bytes[2..4].copy_from_slice(&id.version.to_le_bytes());
            bytes[4..].copy_from_slice(&id.name);
        }
        bytes
    }

    /// What has this fixed form; `None` for bytes that are none.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [n0, n1, v0, v1, name @ ..] = bytes;
        let (number, version) = (u16::from_le_bytes([n0, n1]), u16::from_le_bytes([v0, v1]));
        if number == 4 {
            return ReducerId::try_from((name, version)).ok().map(Self::Custom);
        }
        Self::built_in(number.into()).filter(|codec| codec.to_bytes() == bytes)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bincode => f.write_str("bincode"),
            Self::Json => f.write_str("json"),
            Self::Postcard => f.write_str("postcard"),
            Self::Custom(id) => id.fmt(f),
        }
    }
}

/// Name and version of a custom reducer; as text, `name/version`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "([u8; 16], u16)", into = "([u8; 16], u16)")]
pub struct ReducerId {
    /// Printable ASCII without `/`, filled up with zeros.
    name: [u8; REDUCER_NAME_BYTES_MAX],
    version: u16,
}

/// What cannot be the name of a custom reducer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no name of a reducer: one has 1 to 16 printable ASCII characters, none of them a blank or \
     `/`, and is not that of a built-in one"
)]
pub struct BadReducerName;

impl ReducerId {
    /// An id of these.
    ///
    /// # Errors
    /// [`BadReducerName`].
    pub const fn new(name: &str, version: u16) -> Result<Self, BadReducerName> {
        let bytes = name.as_bytes();
        if bytes.len() > REDUCER_NAME_BYTES_MAX {
            return Err(BadReducerName);
        }
        let mut own = [0; REDUCER_NAME_BYTES_MAX];
        let mut at = 0;
        while at < bytes.len() {
            own[at] = bytes[at];
            at += 1;
        }
        Self::checked(own, version)
    }

    const fn checked(
        name: [u8; REDUCER_NAME_BYTES_MAX],
        version: u16,
    ) -> Result<Self, BadReducerName> {
        let (mut at, mut length) = (0, 0);
        while at < REDUCER_NAME_BYTES_MAX {
            if name[at] != 0 {
                // Zeros end it: nothing comes after them.
                if at != length || !name[at].is_ascii_graphic() || name[at] == b'/' {
                    return Err(BadReducerName);
                }
                length += 1;
            }
            at += 1;
        }
        let (own, _) = name.split_at(length);
        match own {
            b"" | b"bincode" | b"json" | b"postcard" => Err(BadReducerName),
            _ => Ok(Self { name, version }),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        let length = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        std::str::from_utf8(&self.name[..length]).unwrap_or_default()
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }
}

impl TryFrom<([u8; REDUCER_NAME_BYTES_MAX], u16)> for ReducerId {
    type Error = BadReducerName;

    fn try_from(
        (name, version): ([u8; REDUCER_NAME_BYTES_MAX], u16),
    ) -> Result<Self, BadReducerName> {
        Self::checked(name, version)
    }
}

impl From<ReducerId> for ([u8; REDUCER_NAME_BYTES_MAX], u16) {
    fn from(id: ReducerId) -> Self {
        (id.name, id.version)
    }
}

impl fmt::Display for ReducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name(), self.version)
    }
}

impl fmt::Debug for ReducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReducerId {
    type Err = BadReducerName;

    fn from_str(text: &str) -> Result<Self, BadReducerName> {
        let (name, version) = text.split_once('/').ok_or(BadReducerName)?;
        Self::new(name, version.parse().map_err(|_| BadReducerName)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<'a> arbitrary::Arbitrary<'a> for ReducerId {
        fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
            let length = u.int_in_range(1..=REDUCER_NAME_BYTES_MAX)?;
            let letter = |u: &mut arbitrary::Unstructured<'a>| u.int_in_range(b'A'..=b'Z');
            let name = (0..length)
                .map(|_| letter(u).map(char::from))
                .collect::<arbitrary::Result<String>>()?;
            Self::new(&name, u16::arbitrary(u)?).map_err(|_| arbitrary::Error::IncorrectFormat)
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["", "a b", "a/b", "ä", "seventeen-letters", "a\0b", "json", "\u{7f}"] {
            assert_eq!(ReducerId::new(name, 1), Err(BadReducerName), "{name:?}");
        }
        let id = ReducerId::new("sixteen-letters!", 7).unwrap();
        assert_eq!((id.name(), id.version()), ("sixteen-letters!", 7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("cbor".parse::<ReducerId>().is_err() && "cbor/x".parse::<ReducerId>().is_err());
    }

    #[test]
    fn the_fixed_form_comes_back_and_nothing_else_is_one() {
        let custom = Codec::Custom(ReducerId::new("cbor", 3).unwrap());
        for codec in [Codec::Bincode, Codec::Json, Codec::Postcard, custom] {
            let bytes = codec.to_bytes();
            assert_eq!(Codec::from_bytes(bytes), Some(codec));
            for at in 0..bytes.len() {
                let mut other = bytes;
                other[at] ^= 0x80;
                assert_ne!(Codec::from_bytes(other), Some(codec));
            }
        }
        assert_eq!(Codec::from_bytes([0; Codec::BYTES]), None);
        let mut hole = custom.to_bytes();
        hole[10] = b'x';
        assert_eq!(Codec::from_bytes(hole), None);
    }

    #[test]
    fn on_the_wire_the_first_two_are_what_they_always_were() {
        assert_eq!(crate::codec::encode(&Codec::Bincode).unwrap(), 0u32.to_le_bytes());
        assert_eq!(crate::codec::encode(&Codec::Json).unwrap(), 1u32.to_le_bytes());
        let mut wrong = crate::codec::encode(&Codec::Custom("x/1".parse().unwrap())).unwrap();
        wrong[4] = b' ';
        assert!(crate::codec::decode::<Codec>(&wrong).is_err());
    }
}
