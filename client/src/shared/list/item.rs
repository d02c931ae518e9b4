//! What a `ShareableList` may hold.

use super::format::{Tag, WORD};

/// An item of a [`ShareableList`](crate::ShareableList).
///
/// ```
/// use mpserverd_client::ListItem;
///
/// assert_eq!(ListItem::from(1), ListItem::Int(1));
/// assert_eq!(ListItem::from("a\0"), ListItem::Str("a\0".into()));
/// assert_eq!(ListItem::from(None::<bool>), ListItem::None);
/// ```
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum ListItem {
    /// Nothing.
    None,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

macro_rules! items_from {
    ($($from:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$from> for ListItem {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

items_from! {
    bool => Bool, i64 => Int, i32 => Int, u32 => Int, i16 => Int, u16 => Int, i8 => Int, u8 => Int,
    f64 => Float, f32 => Float, String => Str, &str => Str, Vec<u8> => Bytes, &[u8] => Bytes,
}

impl<const N: usize> From<[u8; N]> for ListItem {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for ListItem {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<()> for ListItem {
    fn from((): ()) -> Self {
        Self::None
    }
}

impl<T: Into<Self>> From<Option<T>> for ListItem {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl ListItem {
    /// Its kind and its bytes.
    pub(super) fn encode(&self) -> (Tag, Vec<u8>) {
        match self {
            Self::None => (Tag::None, Vec::new()),
            Self::Bool(value) => (Tag::Bool, vec![u8::from(*value)]),
            Self::Int(value) => (Tag::Int, value.to_ne_bytes().to_vec()),
            Self::Float(value) => (Tag::Float, value.to_ne_bytes().to_vec()),
            Self::Str(text) => (Tag::Str, text.as_bytes().to_vec()),
            Self::Bytes(bytes) => (Tag::Bytes, bytes.clone()),
        }
    }

    /// The item of that kind with those bytes; `None` if there is none.
    pub(super) fn decode(tag: Tag, bytes: Vec<u8>) -> Option<Self> {
        let word = |bytes: &[u8]| <[u8; WORD]>::try_from(bytes).ok();
        match tag {
            Tag::None => bytes.is_empty().then_some(Self::None),
            Tag::Bool => match *bytes {
                [value @ (0 | 1)] => Some(Self::Bool(value == 1)),
                _ => None,
            },
            Tag::Int => Some(Self::Int(i64::from_ne_bytes(word(&bytes)?))),
            Tag::Float => Some(Self::Float(f64::from_ne_bytes(word(&bytes)?))),
            Tag::Str => String::from_utf8(bytes).ok().map(Self::Str),
            Tag::Bytes => Some(Self::Bytes(bytes)),
        }
    }
}
