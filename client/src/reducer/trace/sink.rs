//! A serializer that writes nothing and notes who fails.

use super::{Failure, Step};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Takes anything.
#[derive(Clone, Copy, Debug)]
pub(in crate::reducer) struct Sink {
    /// What the format that failed says of itself.
    pub(in crate::reducer) human_readable: bool,
}

/// A value with parts.
#[derive(Debug)]
pub(in crate::reducer) struct Parts {
    sink: Sink,
    /// How many came so far.
    count: usize,
}

impl Sink {
    fn parts(self) -> Result<Parts, Failure> {
        Ok(Parts { sink: self, count: 0 })
    }
}

impl Parts {
    fn part<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        step: impl FnOnce(usize) -> Step,
    ) -> Result<(), Failure> {
        let at = self.count;
        self.count += 1;
        value.serialize(self.sink).map_err(|failure| failure.at(step(at)))
    }
}

macro_rules! swallow {
    ($($name:ident: $type:ty),+) => {
        $(fn $name(self, _: $type) -> Result<(), Failure> {
            Ok(())
        })+
    };
}

impl Serializer for Sink {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    swallow! {
        serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_u128: u128, serialize_f32: f32, serialize_f64: f64,
        serialize_unit_struct: &'static str
    }

    fn serialize_none(self) -> Result<(), Failure> {
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Failure> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        value.serialize(self).map_err(|failure| failure.at(Step::Name(variant)))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts, Failure> {
        self.parts()
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts, Failure> {
        self.parts()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts, Failure> {
        self.parts()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts, Failure> {
        self.parts()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts, Failure> {
        self.parts()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts, Failure> {
        self.parts()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts, Failure> {
        self.parts()
    }

    fn is_human_readable(&self) -> bool {
        self.human_readable
    }
}

macro_rules! unnamed {
    ($($trait:ident, $method:ident, $step:expr;)+) => {
        $(impl $trait for Parts {
            type Ok = ();
            type Error = Failure;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
                self.part(value, $step)
            }

            fn end(self) -> Result<(), Failure> {
                Ok(())
            }
        })+
    };
}

unnamed! {
    SerializeSeq, serialize_element, Step::Index;
    SerializeTuple, serialize_element, Step::Place;
    SerializeTupleStruct, serialize_field, Step::Place;
    SerializeTupleVariant, serialize_field, Step::Place;
}

macro_rules! named {
    ($($trait:ident),+) => {
        $(impl $trait for Parts {
            type Ok = ();
            type Error = Failure;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Failure> {
                self.part(value, |_| Step::Name(name))
            }

            fn end(self) -> Result<(), Failure> {
                Ok(())
            }
        })+
    };
}

named!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Parts {
    type Ok = ();
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failure> {
        self.part(key, Step::Entry)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        // It belongs to the key that came just before.
        self.count -= 1;
        self.part(value, Step::Entry)
    }

    fn end(self) -> Result<(), Failure> {
        Ok(())
    }
}
