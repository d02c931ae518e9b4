//! Reading what bincode writes: little endian, integers of fixed width.
//!
//! bincode's own reader makes room for a text of the length that the bytes claim, up to its limit,
//! before it looks whether they are there. This one knows what is left, and believes nothing else.
//!
//! | kind | bytes |
//! |---|---|
//! | numbers | as they are; `bool` and the mark of an option are 0 or 1 in one byte |
//! | `char` | UTF-8 |
//! | text, bytes, lists, maps | a length of eight bytes before them |
//! | structs, tuples | one field after the other |
//! | enums | the number of the variant in four bytes, then what it holds |

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use std::fmt;

/// Elements that take no bytes, of which a length says nothing: so many may be in one list.
const WEIGHTLESS_MAX: usize = 1 << 20;

/// What is wrong with bytes.
#[derive(Debug)]
pub(super) struct Flaw(Box<str>);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Flaw {}

impl de::Error for Flaw {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

#[cold]
fn ends(wanted: u64, left: usize) -> Flaw {
    Flaw::custom(format_args!("the bytes end: {wanted} more were to come, {left} are left"))
}

#[cold]
fn no_such(what: &str, number: u32) -> Flaw {
    Flaw::custom(format_args!("{number} is no {what}"))
}

/// The bytes that are left.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (first, rest) =
            self.0.split_first_chunk().ok_or_else(|| ends(N as u64, self.0.len()))?;
        self.0 = rest;
        Ok(*first)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Flaw> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Bytes with their length before them.
    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], Flaw> {
        let length = u64::from_le_bytes(self.array()?);
        let split = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let (bytes, rest) = split.ok_or_else(|| ends(length, self.0.len()))?;
        self.0 = rest;
        Ok(bytes)
    }

    #[inline]
    fn text(&mut self) -> Result<&'a str, Flaw> {
        std::str::from_utf8(self.bytes()?).map_err(Flaw::custom)
    }

    /// How many elements or entries a list or map has.
    #[inline]
    fn count(&mut self) -> Result<usize, Flaw> {
        let count = u64::from_le_bytes(self.array()?);
        match usize::try_from(count) {
            Ok(count) if count <= self.0.len().max(WEIGHTLESS_MAX) => Ok(count),
            _ => Err(ends(count, self.0.len())),
        }
    }

    fn letter(&mut self) -> Result<char, Flaw> {
        let first = *self.0.first().ok_or_else(|| ends(1, 0))?;
        let width = match first {
            0..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        let split = self.0.split_at_checked(width);
        let (bytes, rest) = split.ok_or_else(|| ends(width as u64, self.0.len()))?;
        self.0 = rest;
        let text = std::str::from_utf8(bytes).map_err(Flaw::custom)?;
        text.chars().next().ok_or_else(|| no_such("letter", first.into()))
    }
}

macro_rules! numbers {
    ($($name:ident, $visit:ident, $type:ty;)+) => {
        $(#[inline]
        fn $name<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
            visitor.$visit(<$type>::from_le_bytes(self.array()?))
        })+
    };
}

macro_rules! tell_nothing {
    ($($name:ident),+) => {
        $(fn $name<V: Visitor<'a>>(self, _: V) -> Result<V::Value, Flaw> {
            Err(Flaw::custom("the bytes do not tell what they are"))
        })+
    };
}

impl<'a> Deserializer<'a> for &mut Reader<'a> {
    type Error = Flaw;

    numbers! {
        deserialize_i8, visit_i8, i8;
        deserialize_i16, visit_i16, i16;
        deserialize_i32, visit_i32, i32;
        deserialize_i64, visit_i64, i64;
        deserialize_i128, visit_i128, i128;
        deserialize_u8, visit_u8, u8;
        deserialize_u16, visit_u16, u16;
        deserialize_u32, visit_u32, u32;
        deserialize_u64, visit_u64, u64;
        deserialize_u128, visit_u128, u128;
        deserialize_f32, visit_f32, f32;
        deserialize_f64, visit_f64, f64;
    }

    tell_nothing!(deserialize_any, deserialize_identifier, deserialize_ignored_any);

    #[inline]
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            other => Err(no_such("bool", other.into())),
        }
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_char(self.letter()?)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            other => Err(no_such("mark of an option", other.into())),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        let count = self.count()?;
        visitor.visit_seq(Parts { reader: self, count })
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'a>>(self, count: usize, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_seq(Parts { reader: self, count })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor.visit_seq(Parts { reader: self, count })
    }

    #[inline]
    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Flaw> {
        let count = self.count()?;
        visitor.visit_map(Parts { reader: self, count })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor.visit_seq(Parts { reader: self, count: fields.len() })
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor.visit_enum(self)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a list, the fields of a struct, the entries of a map.
struct Parts<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// How many are to come.
    count: usize,
}

impl Parts<'_, '_> {
    #[inline]
    fn next(&mut self) -> bool {
        let more = self.count > 0;
        self.count -= usize::from(more);
        more
    }

    /// How many there can be: for room that is made before they are seen.
    #[inline]
    fn credible(&self) -> Option<usize> {
        Some(self.count.min(self.reader.left()))
    }
}

impl<'a> SeqAccess<'a> for Parts<'_, 'a> {
    type Error = Flaw;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Flaw> {
        if self.next() { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.credible()
    }
}

impl<'a> MapAccess<'a> for Parts<'_, 'a> {
    type Error = Flaw;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Flaw> {
        if self.next() { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Flaw> {
        seed.deserialize(&mut *self.reader)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.credible()
    }
}

impl<'a> EnumAccess<'a> for &mut Reader<'a> {
    type Error = Flaw;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Self), Flaw> {
        let number = u32::from_le_bytes(self.array()?);
        let number: de::value::U32Deserializer<Flaw> = number.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'a> VariantAccess<'a> for &mut Reader<'a> {
    type Error = Flaw;

    #[inline]
    fn unit_variant(self) -> Result<(), Flaw> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, Flaw> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'a>>(self, count: usize, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_seq(Parts { reader: self, count })
    }

    #[inline]
    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        visitor.visit_seq(Parts { reader: self, count: fields.len() })
    }
}
