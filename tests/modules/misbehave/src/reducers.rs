//! Reducers that this module has: one that the test programs have too, and one of which they have
//! another version. The programs build this very file.

use mp::reducer::Output;
use serde::Serialize;
use serde::de::DeserializeSeed;
use std::io::Cursor;

/// MessagePack.
#[derive(Debug)]
pub(crate) struct MessagePack;

impl mp::AbstractReducer for MessagePack {
    const NAME: &'static str = "msgpack";
    type Error = String;

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        into: &mut Output<'_>,
    ) -> Result<(), String> {
        rmp_serde::encode::write(into, value).map_err(|error| error.to_string())
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        bytes: &'de [u8],
        seed: S,
    ) -> Result<S::Value, String> {
        let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(bytes));
        let value = seed.deserialize(&mut deserializer).map_err(|error| error.to_string())?;
        match bytes.len() as u64 - deserializer.position() {
            0 => Ok(value),
            left => Err(format!("{left} bytes left over")),
        }
    }
}

/// A format that changes from version to version.
#[derive(Debug)]
pub(crate) struct Draft<const VERSION: u16>;

impl<const VERSION: u16> mp::AbstractReducer for Draft<VERSION> {
    const NAME: &'static str = "draft";
    const VERSION: u16 = VERSION;
    type Error = String;

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        into: &mut Output<'_>,
    ) -> Result<(), String> {
        mp::AbstractReducer::encode(&MessagePack, value, into)
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        bytes: &'de [u8],
        seed: S,
    ) -> Result<S::Value, String> {
        mp::AbstractReducer::decode(&MessagePack, bytes, seed)
    }
}

mp::reducer! {
    /// MessagePack.
    pub(crate) MSGPACK: MessagePack = MessagePack;
}
