//! What all proxies have: a reference, and how a call by it is made and understood.

use super::client::{Client, Late, Reply};
use super::error::ManagerError;
use super::reference::{Reference, Shared, storing, taking};
use super::wire::{Body, Item, Op};
use crate::codec::{self, Codec, CodecError};
use crate::connection::Address;
use crate::deadline::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The part of a proxy that does not know its type.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handle {
    reference: Shared,
    /// How long a call may wait for the server to answer.
    timeout: Option<Duration>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x} at {}", self.reference.0.object(), self.reference.0.address())
    }
}

/// A value ready to be sent; what it refers to is kept meanwhile.
pub(super) struct Packed {
    bytes: Vec<u8>,
    refs: Vec<Arc<Reference>>,
}

impl Packed {
    /// As it is sent.
    pub(super) fn item(&self) -> Item<'_> {
        let refs = self.refs.iter().map(|reference| reference.object()).collect();
        Item { bytes: Bytes::new(&self.bytes), refs }
    }
}

/// Encodes a value for a server.
pub(super) fn pack<T: Serialize + ?Sized>(
    client: &Client,
    proxy: &'static str,
    value: &T,
) -> Result<Packed, ManagerError> {
    let encode = || codec::encode(Codec::Bincode, &value);
    let (bytes, refs) = storing(client.server, encode);
    Ok(Packed { bytes: bytes.map_err(|source| ManagerError::Codec { proxy, source })?, refs })
}

/// Encodes values for a server.
pub(super) fn pack_all<'a, T: Serialize + 'a>(
    client: &Client,
    proxy: &'static str,
    values: impl IntoIterator<Item = &'a T>,
) -> Result<Vec<Packed>, ManagerError> {
    values.into_iter().map(|value| pack(client, proxy, value)).collect()
}

/// As they are sent.
pub(super) fn items(packed: &[Packed]) -> Vec<Item<'_>> {
    packed.iter().map(Packed::item).collect()
}

/// Values as they came, with the references in them.
pub(super) struct Came<'a> {
    bytes: &'a [u8],
    refs: Vec<Arc<Reference>>,
}

impl<'a> Came<'a> {
    /// Takes over the references in it.
    pub(super) fn with(client: &Arc<Client>, item: Item<'a>) -> Self {
        let refs = item.refs.iter().map(|id| Reference::owned(client, *id)).collect();
        Self { bytes: item.bytes, refs }
    }

    pub(super) fn unpack<T: DeserializeOwned>(
        self,
        proxy: &'static str,
    ) -> Result<T, ManagerError> {
        self.read(proxy, |bytes| codec::decode(Codec::Bincode, bytes))
    }

    pub(super) fn read<T>(
        self,
        proxy: &'static str,
        decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
    ) -> Result<T, ManagerError> {
        let decoded = taking(self.refs, || decode(self.bytes));
        decoded.map_err(|source| ManagerError::Codec { proxy, source })
    }
}

/// An answer with the connection that it came by.
pub(super) struct Answered {
    pub(super) client: Arc<Client>,
    proxy: &'static str,
    reply: Reply,
}

impl Answered {
    /// What it says, if that is no failure.
    ///
    /// # Errors
    /// The failure.
    pub(super) fn body(&self) -> Result<Body<'_>, ManagerError> {
        match self.reply.body()? {
            Body::Failed(failure) => Err(ManagerError::of(failure, self.proxy)),
            body => Ok(body),
        }
    }

    fn senseless<T>(&self, body: &Body<'_>) -> Result<T, ManagerError> {
        body.refs().into_iter().for_each(|id| drop(Reference::owned(&self.client, id)));
        Err(ManagerError::Protocol(format!("{}: an answer of another kind", self.proxy)))
    }

    pub(super) fn done(&self) -> Result<(), ManagerError> {
        match self.body()? {
            Body::Done => Ok(()),
            body => self.senseless(&body),
        }
    }

    pub(super) fn yes(&self) -> Result<bool, ManagerError> {
        match self.body()? {
            Body::Yes(yes) => Ok(yes),
            body => self.senseless(&body),
        }
    }

    pub(super) fn count(&self) -> Result<usize, ManagerError> {
        match self.body()? {
            Body::Count(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            body => self.senseless(&body),
        }
    }

    pub(super) fn one<T: DeserializeOwned>(&self) -> Result<T, ManagerError> {
        match self.body()? {
            Body::Item(item) => Came::with(&self.client, item).unpack(self.proxy),
            body => self.senseless(&body),
        }
    }

    pub(super) fn maybe<T: DeserializeOwned>(&self) -> Result<Option<T>, ManagerError> {
        match self.body()? {
            Body::Maybe(None) => Ok(None),
            Body::Maybe(Some(item)) => Came::with(&self.client, item).unpack(self.proxy).map(Some),
            body => self.senseless(&body),
        }
    }

    /// Values, and their version if they have one.
    pub(super) fn many<T: DeserializeOwned>(&self) -> Result<(u64, Vec<T>), ManagerError> {
        let (version, items) = match self.body()? {
            Body::Items(items) => (0, items),
            Body::Version(version, items) => (version, items),
            body => return self.senseless(&body),
        };
        let came = items.into_iter().map(|item| Came::with(&self.client, item));
        // All first, so that the references of those behind an error are given back.
        let came = came.collect::<Vec<_>>();
        let values = came.into_iter().map(|came| came.unpack(self.proxy));
        Ok((version, values.collect::<Result<_, _>>()?))
    }

    /// Pairs, and their version.
    pub(super) fn pairs<K, V>(&self) -> Result<(u64, Vec<(K, V)>), ManagerError>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
    {
        let (version, pairs) = match self.body()? {
            Body::Pairs(version, pairs) => (version, pairs),
            body => return self.senseless(&body),
        };
        let with = |item| Came::with(&self.client, item);
        let came = pairs.into_iter().map(|(key, value)| (with(key), with(value)));
        let came = came.collect::<Vec<_>>();
        let values = came
            .into_iter()
            .map(|(key, value)| Ok((key.unpack(self.proxy)?, value.unpack(self.proxy)?)));
        Ok((version, values.collect::<Result<_, ManagerError>>()?))
    }

    /// A new object.
    pub(super) fn object(&self) -> Result<(Handle, String), ManagerError> {
        match self.body()? {
            Body::Object { id, label } => {
                let reference = Shared(Reference::owned(&self.client, id));
                Ok((Handle { reference, timeout: None }, label.to_owned()))
            }
            body => self.senseless(&body),
        }
    }
}

/// Asks a server.
pub(super) fn ask(
    client: &Arc<Client>,
    proxy: &'static str,
    object: u64,
    op: Op<'_>,
    timeout: Option<Duration>,
) -> Result<Answered, ManagerError> {
    let reply = client.call(object, op, &Deadline::of(timeout))?;
    Ok(Answered { client: client.clone(), proxy, reply })
}

impl Handle {
    /// The connection of this process.
    pub(super) fn client(&self) -> Result<Arc<Client>, ManagerError> {
        self.reference.0.client()
    }

    pub(super) fn object(&self) -> u64 {
        self.reference.0.object()
    }

    /// Asks the object.
    pub(super) fn ask(&self, proxy: &'static str, op: Op<'_>) -> Result<Answered, ManagerError> {
        ask(&self.client()?, proxy, self.object(), op, self.timeout)
    }

    /// Asks it by a connection that is known already.
    pub(super) fn ask_by(
        &self,
        client: &Arc<Client>,
        proxy: &'static str,
        op: Op<'_>,
    ) -> Result<Answered, ManagerError> {
        ask(client, proxy, self.object(), op, self.timeout)
    }

    /// Asks it for something that it may make wait.
    pub(super) fn ask_waiting(
        &self,
        proxy: &'static str,
        op: Op<'_>,
        timeout: Option<Duration>,
        late: Late,
    ) -> Result<Answered, ManagerError> {
        let client = self.client()?;
        let timeout = timeout.or(self.timeout);
        let reply = client.call_waiting(self.object(), op, timeout, late)?;
        Ok(Answered { client, proxy, reply })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.reference.0.is(&other.reference.0)
    }

    pub(super) fn address(&self) -> &Address {
        self.reference.0.address()
    }

    pub(super) fn with_timeout(&self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self.clone() }
    }
}
