//! Users' types in a server: what [`remote`](macro@crate::remote) writes against.

use super::error::{ManagerError, RemoteError};
use super::handle::{Came, Handle, pack};
use super::manager::ConnectedManager;
use super::wire::{Body, Op};
use crate::codec::{self, Codec, CodecError};
use crate::task::Encoded;
use linkme::distributed_slice;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::RwLock;

/// The types of this program, collected by the linker.
#[distributed_slice]
pub static TYPES: [TypeEntry];

/// One type, as the linker collects it.
#[derive(Debug)]
pub struct TypeEntry {
    pub(super) name: &'static str,
    pub(super) methods: &'static [&'static str],
    pub(super) construct: Construct,
}

type Construct = fn(&str, &[u8]) -> Result<Box<dyn Instance>, CallError>;

impl TypeEntry {
    /// The entry of a type.
    #[must_use]
    pub const fn of<T: Remote>() -> Self {
        Self { name: T::NAME, methods: T::METHODS, construct: construct::<T> }
    }
}

fn construct<T: Remote>(constructor: &str, args: &[u8]) -> Result<Box<dyn Instance>, CallError> {
    Ok(Box::new(Held(RwLock::new(T::construct(constructor, args)?))))
}

/// A type whose objects live in a manager's server. Written by [`remote`](macro@crate::remote)
/// only.
///
/// Methods with `&self` run at the same time as each other, so it is `Sync`.
pub trait Remote: Sized + Send + Sync + 'static {
    /// Full name: module path and type.
    const NAME: &'static str;
    /// Names of constructors and methods.
    const METHODS: &'static [&'static str];

    /// Makes one.
    ///
    /// # Errors
    /// [`CallError`].
    fn construct(constructor: &str, args: &[u8]) -> Result<Self, CallError>;

    /// Calls a method; gives its encoded result.
    ///
    /// # Errors
    /// [`CallError`].
    fn call(this: &RwLock<Self>, method: &str, args: &[u8]) -> Result<Vec<u8>, CallError>;
}

/// Why a call did not come to a result, in the server.
#[derive(Debug)]
pub enum CallError {
    /// There is no such constructor or method.
    Unknown,
    /// The arguments are none of it.
    Arguments(CodecError),
    /// The result cannot travel.
    Returned(CodecError),
    /// A method panicked before, and nobody has said that all is in order.
    Poisoned,
    /// It failed.
    Remote(RemoteError),
}

/// An object, whatever its type is.
pub(super) trait Instance: Send + Sync {
    fn call(&self, method: &str, args: &[u8]) -> Result<Vec<u8>, CallError>;
    fn make_consistent(&self);
}

struct Held<T>(RwLock<T>);

impl<T: Remote> Instance for Held<T> {
    fn call(&self, method: &str, args: &[u8]) -> Result<Vec<u8>, CallError> {
        T::call(&self.0, method, args)
    }

    fn make_consistent(&self) {
        self.0.clear_poison();
    }
}

/// Runs a method with `&self`.
///
/// # Errors
/// [`CallError::Poisoned`].
pub fn read<T, R>(this: &RwLock<T>, method: impl FnOnce(&T) -> R) -> Result<R, CallError> {
    Ok(method(&*this.read().map_err(|_| CallError::Poisoned)?))
}

/// Runs a method with `&mut self`.
///
/// # Errors
/// [`CallError::Poisoned`].
pub fn write<T, R>(this: &RwLock<T>, method: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
    Ok(method(&mut *this.write().map_err(|_| CallError::Poisoned)?))
}

/// The arguments of a call.
///
/// # Errors
/// [`CallError::Arguments`].
pub fn arguments<A: DeserializeOwned>(bytes: &[u8]) -> Result<A, CallError> {
    codec::decode(Codec::Bincode, bytes).map_err(CallError::Arguments)
}

/// What a constructor gave that may fail.
///
/// # Errors
/// [`CallError::Remote`].
pub fn constructed<T, E: std::fmt::Display>(made: Result<T, E>) -> Result<T, CallError> {
    made.map_err(|error| {
        CallError::Remote(RemoteError {
            kind: std::any::type_name::<E>().to_owned(),
            message: error.to_string(),
            location: None,
            backtrace: None,
        })
    })
}

/// What a method returned, as it travels: whether it failed, and the value.
///
/// # Errors
/// [`CallError::Returned`].
pub fn returned(encoded: Encoded) -> Result<Vec<u8>, CallError> {
    let parcel = encoded.payload.map_err(CallError::Returned)?;
    if !parcel.fds.is_empty() {
        let what = "a descriptor cannot be sent by a manager".to_owned();
        return Err(CallError::Returned(CodecError::Unserializable(what)));
    }
    let mut bytes = Vec::with_capacity(1 + parcel.bytes.len());
    bytes.push(u8::from(encoded.failed.is_some()));
    bytes.extend_from_slice(&parcel.bytes);
    Ok(bytes)
}

/// Has an object made.
///
/// # Errors
/// [`ManagerError`].
pub fn create<T: Remote>(
    manager: &ConnectedManager,
    constructor: &'static str,
    args: &impl Serialize,
) -> Result<Handle, ManagerError> {
    manager.create_user(T::NAME, constructor, args)
}

/// Calls a method of an object; `decode` is told whether the method failed.
///
/// # Errors
/// [`ManagerError`].
pub fn call<R>(
    handle: &Handle,
    proxy: &'static str,
    method: &'static str,
    args: &impl Serialize,
    decode: impl FnOnce(bool, &[u8]) -> Result<R, CodecError>,
) -> Result<R, ManagerError> {
    let client = handle.client()?;
    let args = pack(&client, proxy, args)?;
    let answered = handle.ask_by(&client, proxy, Op::Call { method, args: args.item() })?;
    let Body::Item(item) = answered.body()? else {
        return Err(ManagerError::Protocol(format!("{proxy}: an answer of another kind")));
    };
    Came::with(&answered.client, item).read(proxy, |bytes| match bytes {
        [failed, value @ ..] => decode(*failed != 0, value),
        [] => Err(CodecError::Malformed("an empty result".to_owned())),
    })
}
