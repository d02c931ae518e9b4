//! Reducers of a program's own.
//!
//! A worker gets only the name of one, so it must find it: the linker collects all that a program
//! (or module) has. Whoever calls one does not know its type, and it does not know the type of the
//! value; between the two stands `erased-serde`.

use crate::codec::{Codec, CodecError};
use linkme::distributed_slice;
use mpserverd_proto::codec::UnknownReducer;
use mpserverd_proto::limits::PAYLOAD_BYTES_MAX;
use mpserverd_proto::reducer::ReducerId;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _};
use std::fmt;
use std::io;

/// A reducer of your own, as `AbstractReducer` of `multiprocessing`.
///
/// It needs a serde format. The library calls it by its name, in every process that has it: so
/// [register](crate::reducer!) it in what client and worker have in common, the program itself or
/// its module. Handles inside values work with every format that brings numbers back.
///
/// Here is one that is JSON, but with a checksum before it:
///
/// ```
/// use mpserverd_client as mp;
/// use mp::reducer::Output;
/// use serde::Serialize;
/// use serde::de::DeserializeSeed;
/// use std::io::Write;
///
/// struct Checked;
///
/// fn sum(bytes: &[u8]) -> u8 {
///     bytes.iter().fold(0, |sum, byte| sum ^ byte)
/// }
///
/// impl mp::AbstractReducer for Checked {
///     const NAME: &'static str = "checked-json";
///     type Error = String;
///
///     fn encode<T: Serialize + ?Sized>(
///         &self,
///         value: &T,
///         into: &mut Output<'_>,
///     ) -> Result<(), String> {
///         let text = serde_json::to_vec(value).map_err(|e| e.to_string())?;
///         into.write_all(&[sum(&text)]).and_then(|()| into.write_all(&text)).map_err(|e| e.to_string())
///     }
///
///     fn decode<'de, S: DeserializeSeed<'de>>(
///         &self,
///         bytes: &'de [u8],
///         seed: S,
///     ) -> Result<S::Value, String> {
///         let (said, text) = bytes.split_first().ok_or("empty")?;
///         if *said != sum(text) {
///             return Err("damaged on the way".to_owned());
///         }
///         let mut json = serde_json::Deserializer::from_slice(text);
///         let value = seed.deserialize(&mut json).map_err(|e| e.to_string())?;
///         json.end().map_err(|e| e.to_string())?; // nothing may be left over
///         Ok(value)
///     }
/// }
///
/// mp::reducer! {
///     /// JSON that notices when it is damaged.
///     pub CHECKED: Checked = Checked;
/// }
///
/// let ctx = mp::get_context(mp::StartMethod::Spawn).with_reducer(CHECKED);
/// let mut bytes = ctx.reducer().encode(&[1, 2])?;
/// assert_eq!(ctx.reducer().decode::<Vec<u8>>(&bytes)?, [1, 2]);
/// bytes[2] ^= 1;
/// let error = ctx.reducer().decode::<Vec<u8>>(&bytes).unwrap_err();
/// assert!(error.to_string().contains("damaged on the way"));
/// # Ok::<(), mp::CodecError>(())
/// ```
pub trait AbstractReducer: Send + Sync + 'static {
    /// What both sides call it: 1 to 16 printable ASCII characters without blanks and `/`. The
    /// compiler checks it.
    const NAME: &'static str;
    /// Counts changes of the format: two versions do not understand each other, and say so.
    const VERSION: u16 = 1;
    /// What can go wrong in it. The library adds type and place.
    type Error: fmt::Display;

    /// Writes a value.
    ///
    /// # Errors
    /// When the value has no form here, or writing failed: more than 2 GiB is refused by `into`.
    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        into: &mut Output<'_>,
    ) -> Result<(), Self::Error>;

    /// Reads a value by its seed: `seed.deserialize(your_deserializer)`.
    ///
    /// The bytes may come from anybody. It must not panic, nor take more memory than they justify,
    /// and bytes left over after the value are an error.
    ///
    /// # Errors
    /// When the bytes are no such value.
    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        bytes: &'de [u8],
        seed: S,
    ) -> Result<S::Value, Self::Error>;
}

/// Where an encoded value goes: a writer that refuses more than may travel.
#[derive(Debug)]
pub struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    before: usize,
    overflow: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>) -> Self {
        let before = bytes.len();
        Self { bytes, before, overflow: false }
    }

    /// Appends bytes; `None` if they are too many.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) -> Option<()> {
        let length = (self.bytes.len() - self.before) as u64 + bytes.len() as u64;
        if length > PAYLOAD_BYTES_MAX {
            self.overflow = true;
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        Some(())
    }

    /// What came of it; after an error the bytes are as they were.
    pub(super) fn finish<E: fmt::Display>(self, done: Result<(), E>) -> Result<(), CodecError> {
        let error = match done {
            // Also when the format has swallowed the error of its writer.
            _ if self.overflow => CodecError::TooLarge { limit: PAYLOAD_BYTES_MAX },
            Ok(()) => return Ok(()),
            Err(error) => CodecError::Unserializable(error.to_string()),
        };
        self.bytes.truncate(self.before);
        Err(error)
    }
}

impl io::Write for Output<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What reads a value from a deserializer of unknown type.
pub(super) type Read<'f> =
    &'f mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), erased_serde::Error>;

/// That as a seed.
pub(super) struct Hook<'f>(pub(super) Read<'f>);

impl<'de> DeserializeSeed<'de> for Hook<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
        (self.0)(&mut erased).map_err(D::Error::custom)
    }
}

/// A reducer of any type.
pub(super) trait Erased: Send + Sync {
    fn encode(
        &self,
        value: &dyn erased_serde::Serialize,
        into: &mut Output<'_>,
    ) -> Result<(), String>;

    fn decode(&self, bytes: &[u8], read: Read<'_>) -> Result<(), String>;
}

impl<R: AbstractReducer> Erased for R {
    fn encode(
        &self,
        value: &dyn erased_serde::Serialize,
        into: &mut Output<'_>,
    ) -> Result<(), String> {
        AbstractReducer::encode(self, value, into).map_err(|error| error.to_string())
    }

    fn decode(&self, bytes: &[u8], read: Read<'_>) -> Result<(), String> {
        AbstractReducer::decode(self, bytes, Hook(read)).map_err(|error| error.to_string())
    }
}

/// The custom reducers of this program (or shared object), collected by the linker.
#[doc(hidden)]
#[distributed_slice]
pub static REDUCERS: [ReducerEntry];

/// One of them, as the linker collects it.
#[doc(hidden)]
pub struct ReducerEntry {
    id: ReducerId,
    reducer: &'static dyn Erased,
}

impl ReducerEntry {
    /// The entry of a reducer.
    #[must_use]
    pub const fn of<R: AbstractReducer>(reducer: &'static R) -> Self {
        Self { id: id_of::<R>(), reducer }
    }

    pub(super) const fn id(&self) -> ReducerId {
        self.id
    }
}

impl fmt::Debug for ReducerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReducerEntry({})", self.id)
    }
}

/// What a reducer is called.
pub(super) const fn id_of<R: AbstractReducer>() -> ReducerId {
    match ReducerId::new(R::NAME, R::VERSION) {
        Ok(id) => id,
        Err(_) => panic!(
            "NAME of a reducer: 1 to 16 printable ASCII characters without blanks and `/`, not \
             the name of a built-in one"
        ),
    }
}

/// The custom reducer of that name.
pub(super) fn find(id: ReducerId) -> Result<&'static dyn Erased, CodecError> {
    let mut same = REDUCERS.iter().filter(|entry| entry.id == id);
    match (same.next(), same.next()) {
        (Some(entry), None) => Ok(entry.reducer),
        (Some(_), Some(_)) => Err(CodecError::AmbiguousReducer { name: id.to_string() }),
        (None, _) => Err(unknown(id.to_string())),
    }
}

/// This process does not have a reducer.
#[cold]
pub(super) fn unknown(name: String) -> CodecError {
    let known = super::Reducer::all().map(|reducer| reducer.to_string()).collect();
    CodecError::UnknownReducer(Box::new(UnknownReducer { name, known }))
}

/// Whether this process has the reducer.
///
/// # Errors
/// [`CodecError::UnknownReducer`] or [`CodecError::AmbiguousReducer`].
#[inline]
pub(crate) fn check(codec: Codec) -> Result<(), CodecError> {
    match codec {
        Codec::Custom(id) => find(id).map(drop),
        _ => Ok(()),
    }
}

/// Registers a reducer of your own and gives it a name in Rust: a constant of type
/// [`Reducer`](crate::Reducer). See [`AbstractReducer`](crate::AbstractReducer) for an example.
///
/// `mp::reducer! { pub NAME: Type = value; }`: the value is what a `static` can hold. It is found
/// by its [`NAME`](crate::AbstractReducer::NAME) and version in every process of this program; a
/// name that cannot be is refused by the compiler. Two of the same name and version can be told
/// apart by nobody, and using either is [`CodecError::AmbiguousReducer`](crate::CodecError).
///
/// ```compile_fail
/// # use mpserverd_client as mp;
/// struct Nameless;
///
/// impl mp::AbstractReducer for Nameless {
///     const NAME: &'static str = "not a name";
/// #     type Error = String;
/// #     fn encode<T: serde::Serialize + ?Sized>(
/// #         &self, _: &T, _: &mut mp::reducer::Output<'_>,
/// #     ) -> Result<(), String> { Ok(()) }
/// #     fn decode<'de, S: serde::de::DeserializeSeed<'de>>(
/// #         &self, _: &'de [u8], _: S,
/// #     ) -> Result<S::Value, String> { Err(String::new()) }
/// }
///
/// mp::reducer! { NAMELESS: Nameless = Nameless; }
/// ```
#[macro_export]
macro_rules! reducer {
    ($($(#[$meta:meta])* $vis:vis $name:ident: $type:ty = $value:expr);+ $(;)?) => {
        $($(#[$meta])*
        $vis const $name: $crate::Reducer = {
            static OWN: $type = $value;
            #[$crate::__private::linkme::distributed_slice($crate::__private::REDUCERS)]
            #[linkme(crate = $crate::__private::linkme)]
            static ENTRY: $crate::__private::ReducerEntry =
                $crate::__private::ReducerEntry::of(&OWN);
            $crate::Reducer::custom::<$type>()
        };)+
    };
}
