//! Reducers: how values become bytes, as a replaceable part of a context.
//!
//! A [`Reducer`] is what arguments and results of processes, tasks of pools, items of queues and
//! messages on connections are encoded by: the counterpart of `reducer` in `multiprocessing`, and
//! its [`encode`](Reducer::encode) and [`decode`](Reducer::decode) that of
//! `ForkingPickler.dumps` and `loads`.
//!
//! | reducer | form | for |
//! |---|---|---|
//! | [`bincode`](Reducer::bincode) | numbers of fixed width | the default: the fastest |
//! | [`postcard`](Reducer::postcard) | numbers as short as they are | many small values, far away |
//! | [`json`](Reducer::json) | text | modules in C, logs, people; no handles |
//! | your own | what you like | see [`AbstractReducer`] |
//!
//! Both sides need not agree beforehand. A job names its reducer, and its worker answers by the
//! same, or says that it does not know it ([`JobError::UnknownReducer`](crate::JobError)). A queue
//! carries the name in its memory, so its ends cannot differ. A message on a connection carries it
//! in front, and the other end says which two met
//! ([`ConnectionError::ReducerMismatch`](crate::ConnectionError)). Versions of a custom reducer
//! are told apart as names are.
//!
//! For a *type* that serde knows nothing of, [`reduce!`](crate::reduce) says what it travels as:
//! the counterpart of `ForkingPickler.register`.
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `ctx.reducer` | [`Context::reducer`](crate::Context::reducer) |
//! | `ctx.reducer = …` | [`Context::with_reducer`](crate::Context::with_reducer), [`set_reducer`](crate::set_reducer) for all |
//! | `AbstractReducer` | [`AbstractReducer`], with [`reducer!`](crate::reducer!) |
//! | `ForkingPickler.register` | [`reduce!`](crate::reduce) |
//! | `ForkingPickler.dumps`, `loads` | [`Reducer::encode`], [`Reducer::decode`] |
//! | `DupFd`, `send_handle`, `recv_handle` | [`handles`](crate::handles) |
//!
//! Deliberately different: a reducer is chosen for a context and named on the wire, where that of
//! the reference is one global of each process, and two that differ give garbage.
//!
//! | file | holds |
//! |---|---|
//! | this | [`Reducer`] |
//! | `custom` | [`AbstractReducer`], and those that the linker found |
//! | `formats` | the built-in ones but bincode |
//! | `explain` | decoding with an eye on what fails, and errors with type and place |
//! | `trace` | where in a value something failed |
//! | `foreign` | [`Reduction`] and [`Reduced`] |
//!
//! Which bytes are whose is in the crate's `codec`; handles in values are in `handles`.
//!
//! What must never be in here: `unsafe`; a call through a pointer on the way of a built-in reducer.
//!
//! # Limits
//!
//! A value has at most 2 GiB. Bytes may come from anybody: none makes a decoder panic or take more
//! memory than they justify. A recursive type of yours is as deep as the bytes say, except in
//! JSON, where 128 levels are the limit.

mod custom;
pub(crate) mod explain;
mod foreign;
pub(crate) mod formats;
mod trace;

use crate::codec::{self, Codec, CodecError};
use crate::parcel::Parcel;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

pub(crate) use custom::check;
pub use custom::{AbstractReducer, Output};
#[doc(hidden)]
pub use custom::{REDUCERS, ReducerEntry};
pub use foreign::{Reduced, Reduction};
#[doc(hidden)]
pub use foreign::{rebuild_by, reduce_by};
pub use mpserverd_proto::codec::{RebuildError, UnknownReducer};
pub use mpserverd_proto::reducer::{BadReducerName, ReducerId};

/// How values become bytes; see the [module](self).
///
/// ```
/// use mpserverd_client as mp;
///
/// let ctx = mp::get_context(mp::StartMethod::Spawn).with_reducer(mp::Reducer::postcard());
/// assert_eq!(ctx.reducer().to_string(), "postcard");
///
/// let bytes = ctx.reducer().encode(&(1u64, "short"))?;
/// assert_eq!(bytes.len(), 7); // bincode takes 21
/// let back: (u64, String) = ctx.reducer().decode(&bytes)?;
/// assert_eq!(back.1, "short");
/// # Ok::<(), mp::CodecError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Reducer(Codec);

impl Reducer {
    /// The default: between Rust programs, as fast as can be. Numbers have their full width.
    #[must_use]
    pub const fn bincode() -> Self {
        Self(Codec::Bincode)
    }

    /// Text. Handles cannot travel in it, nor maps whose keys are no text or numbers; floats that
    /// are no numbers do not come back.
    #[must_use]
    pub const fn json() -> Self {
        Self(Codec::Json)
    }

    /// As `bincode`, in less room and some more time: small numbers, lengths and the marks of
    /// enums take one byte.
    #[must_use]
    pub const fn postcard() -> Self {
        Self(Codec::Postcard)
    }

    /// The registered one of this type: what [`reducer!`](crate::reducer) makes.
    #[doc(hidden)]
    #[must_use]
    pub const fn custom<R: AbstractReducer>() -> Self {
        Self(Codec::Custom(custom::id_of::<R>()))
    }

    /// The one that a process was told by name: a built-in one, or a custom one that this process
    /// has.
    pub(crate) const fn of(codec: Codec) -> Self {
        Self(codec)
    }

    /// All that this process has: the built-in ones, then its own.
    ///
    /// ```
    /// let names = mpserverd_client::Reducer::all().map(|r| r.to_string()).collect::<Vec<_>>();
    /// assert_eq!(names[..3], ["bincode", "json", "postcard"]);
    /// ```
    pub fn all() -> impl Iterator<Item = Self> {
        let custom = REDUCERS.iter().map(|entry| Codec::Custom(entry.id()));
        [Codec::Bincode, Codec::Json, Codec::Postcard].into_iter().chain(custom).map(Self)
    }

    /// The one of that name: `bincode`, or `name/version` of a custom one.
    ///
    /// # Errors
    /// [`CodecError::UnknownReducer`], with the names that there are.
    pub fn by_name(name: &str) -> Result<Self, CodecError> {
        let found = Self::all().find(|reducer| reducer.to_string() == name);
        found.ok_or_else(|| custom::unknown(name.to_owned()))
    }

    /// Its name as it travels.
    #[must_use]
    pub const fn codec(self) -> Codec {
        self.0
    }

    /// Encodes a value. Handles in it are an error, as it does not say where the bytes go; carry
    /// them with [`collect`](crate::handles::collect) around the call.
    ///
    /// # Errors
    /// [`CodecError`], which names the type, and the place in the value where its `Serialize`
    /// failed.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, CodecError> {
        codec::encode(self.0, value)
    }

    /// Decodes a value; all bytes must belong to it.
    ///
    /// # Errors
    /// [`CodecError`], which names the type and the place.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        codec::decode(self.0, bytes)
    }

    /// Whether nothing of it can travel but what is in its bytes.
    pub(crate) fn refuses_handles(self) -> bool {
        self.0 == Codec::Json
    }
}

impl From<Reducer> for Codec {
    fn from(reducer: Reducer) -> Self {
        reducer.0
    }
}

impl fmt::Display for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reducer({})", self.0)
    }
}

/// Arguments of a task, as its worker expects them.
///
/// # Errors
/// As [`Parcel::pack`].
pub(crate) fn pack_arguments<T: crate::Task>(
    codec: Codec,
    args: &T::Args,
) -> Result<Parcel, CodecError> {
    if codec == Codec::Json && T::ARITY == 0 {
        // serde writes the empty tuple as null; no arguments are an empty array to everybody.
        return Ok(Parcel { bytes: b"[]".to_vec(), fds: Vec::new() });
    }
    Parcel::pack(codec, args)
}
