//! A deserializer around another that notes who fails.
//!
//! A type of the user's gives its errors to *us*, so its own words are kept, whatever the format
//! below makes of them. On the way through that format an error waits in the [`Stash`].

use super::{Failure, Step};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use std::cell::Cell;
use std::fmt;

/// The failure that is on its way out through the format's own code.
#[derive(Default)]
pub(in crate::reducer) struct Stash(Cell<Option<Failure>>);

impl Stash {
    /// Into the format's code.
    fn give<T, E: de::Error>(&self, result: Result<T, Failure>) -> Result<T, E> {
        result.map_err(|failure| {
            let error = E::custom(&failure.message);
            self.0.set(Some(failure));
            error
        })
    }

    /// Out of it.
    fn take<T, E: fmt::Display>(&self, result: Result<T, E>) -> Result<T, Failure> {
        let waiting = self.0.take();
        result.map_err(|error| waiting.unwrap_or_else(|| Failure::custom(error)))
    }
}

/// What the parts of a sequence are called.
#[derive(Clone, Copy)]
enum Names {
    Index,
    Place,
    Fields(&'static [&'static str]),
}

impl Names {
    fn step(self, at: usize) -> Step {
        match self {
            Self::Index => Step::Index(at),
            Self::Place => Step::Place(at),
            Self::Fields(names) => names.get(at).map_or(Step::Place(at), |name| Step::Name(name)),
        }
    }
}

/// A deserializer that is observed.
pub(in crate::reducer) struct De<'t, D> {
    inner: D,
    stash: &'t Stash,
}

impl<'t, D> De<'t, D> {
    pub(in crate::reducer) fn new(inner: D, stash: &'t Stash) -> Self {
        Self { inner, stash }
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) => $names:expr;)+) => {
        $(fn $name<V: Visitor<'de>>(
            self,
            $($arg: $type,)*
            visitor: V,
        ) -> Result<V::Value, Failure> {
            let seen = Seen { inner: visitor, stash: self.stash, names: $names };
            self.stash.take(self.inner.$name($($arg,)* seen))
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for De<'_, D> {
    type Error = Failure;

    forward! {
        deserialize_any() => Names::Index;
        deserialize_bool() => Names::Index;
        deserialize_i8() => Names::Index;
        deserialize_i16() => Names::Index;
        deserialize_i32() => Names::Index;
        deserialize_i64() => Names::Index;
        deserialize_i128() => Names::Index;
        deserialize_u8() => Names::Index;
        deserialize_u16() => Names::Index;
        deserialize_u32() => Names::Index;
        deserialize_u64() => Names::Index;
        deserialize_u128() => Names::Index;
        deserialize_f32() => Names::Index;
        deserialize_f64() => Names::Index;
        deserialize_char() => Names::Index;
        deserialize_str() => Names::Index;
        deserialize_string() => Names::Index;
        deserialize_bytes() => Names::Index;
        deserialize_byte_buf() => Names::Index;
        deserialize_option() => Names::Index;
        deserialize_unit() => Names::Index;
        deserialize_unit_struct(name: &'static str) => Names::Index;
        deserialize_newtype_struct(name: &'static str) => Names::Index;
        deserialize_seq() => Names::Index;
        deserialize_tuple(length: usize) => Names::Place;
        deserialize_tuple_struct(name: &'static str, length: usize) => Names::Place;
        deserialize_map() => Names::Index;
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
            => Names::Fields(fields);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) => Names::Index;
        deserialize_identifier() => Names::Index;
        deserialize_ignored_any() => Names::Index;
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A visitor whose errors are kept.
struct Seen<'t, V> {
    inner: V,
    stash: &'t Stash,
    names: Names,
}

macro_rules! visit {
    ($($name:ident($($arg:ident: $type:ty)?);)+) => {
        $(fn $name<E: de::Error>(self, $($arg: $type)?) -> Result<V::Value, E> {
            self.stash.give(self.inner.$name::<Failure>($($arg)?))
        })+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Seen<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(value: bool);
        visit_i8(value: i8);
        visit_i16(value: i16);
        visit_i32(value: i32);
        visit_i64(value: i64);
        visit_i128(value: i128);
        visit_u8(value: u8);
        visit_u16(value: u16);
        visit_u32(value: u32);
        visit_u64(value: u64);
        visit_u128(value: u128);
        visit_f32(value: f32);
        visit_f64(value: f64);
        visit_char(value: char);
        visit_str(value: &str);
        visit_borrowed_str(value: &'de str);
        visit_string(value: String);
        visit_bytes(value: &[u8]);
        visit_borrowed_bytes(value: &'de [u8]);
        visit_byte_buf(value: Vec<u8>);
        visit_none();
        visit_unit();
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.stash.give(self.inner.visit_some(De { inner, stash: self.stash }))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.stash.give(self.inner.visit_newtype_struct(De { inner, stash: self.stash }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { stash, names, .. } = self;
        stash.give(self.inner.visit_seq(Parts { inner, stash, names, count: 0 }))
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { stash, names, .. } = self;
        stash.give(self.inner.visit_map(Parts { inner, stash, names, count: 0 }))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.stash.give(self.inner.visit_enum(Choice { inner, stash: self.stash }))
    }
}

struct Seed<'t, S> {
    inner: S,
    stash: &'t Stash,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.stash.give(self.inner.deserialize(De { inner, stash: self.stash }))
    }
}

/// The parts of a sequence or a map.
struct Parts<'t, A> {
    inner: A,
    stash: &'t Stash,
    names: Names,
    count: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Parts<'_, A> {
    type Error = Failure;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, Failure> {
        let at = self.count;
        self.count += 1;
        let next = self.inner.next_element_seed(Seed { inner, stash: self.stash });
        self.stash.take(next).map_err(|failure| failure.at(self.names.step(at)))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Parts<'_, A> {
    type Error = Failure;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, Failure> {
        let at = self.count;
        self.count += 1;
        let next = self.inner.next_key_seed(Seed { inner, stash: self.stash });
        self.stash.take(next).map_err(|failure| failure.at(Step::Entry(at)))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<S::Value, Failure> {
        let at = self.count.saturating_sub(1);
        let next = self.inner.next_value_seed(Seed { inner, stash: self.stash });
        self.stash.take(next).map_err(|failure| failure.at(Step::Entry(at)))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// Which variant of an enum it is.
struct Choice<'t, A> {
    inner: A,
    stash: &'t Stash,
}

impl<'de, 't, A: EnumAccess<'de>> EnumAccess<'de> for Choice<'t, A> {
    type Error = Failure;
    type Variant = Choice<'t, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        inner: S,
    ) -> Result<(S::Value, Self::Variant), Failure> {
        let stash = self.stash;
        let (value, inner) = stash.take(self.inner.variant_seed(Seed { inner, stash }))?;
        Ok((value, Choice { inner, stash }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Choice<'_, A> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        self.stash.take(self.inner.unit_variant())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, inner: S) -> Result<S::Value, Failure> {
        let stash = self.stash;
        stash.take(self.inner.newtype_variant_seed(Seed { inner, stash }))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, inner: V) -> Result<V::Value, Failure> {
        let stash = self.stash;
        let seen = Seen { inner, stash, names: Names::Place };
        stash.take(self.inner.tuple_variant(len, seen))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, Failure> {
        let stash = self.stash;
        let seen = Seen { inner, stash, names: Names::Fields(fields) };
        stash.take(self.inner.struct_variant(fields, seen))
    }
}
