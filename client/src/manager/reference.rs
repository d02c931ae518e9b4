//! References to objects of a server, and how they travel.
//!
//! A reference is where the server is, which server it is, and the number of the object: nobody
//! who does not have it can guess that. What it does not have is a key. It travels in two ways.
//!
//! - *In a value for the same server* ([`storing`]): the server is told which objects the value
//!   refers to, and keeps them for as long as it keeps the value. When the value comes back, so do
//!   references that this process owns ([`taking`]).
//! - *In anything else*: the server keeps the object for the time of a lease, in which whoever
//!   receives the reference adopts it.

use super::client::{self, Client};
use super::error::ManagerError;
use super::wire::{Body, Op, Request};
use crate::connection::Address;
use crate::deadline::Deadline;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a process that sends or receives a reference may wait for the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is the same in every process.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Token {
    server: u128,
    address: Address,
    object: u64,
}

/// The connection by which this process refers to the object.
struct Home {
    client: Option<Arc<Client>>,
    /// Until when a lease holds, as far as this process knows.
    leased: Option<Instant>,
}

/// A reference that this process owns; dropping it gives it back.
pub(super) struct Reference {
    token: Token,
    home: Mutex<Home>,
}

impl Reference {
    /// One that the server has counted already.
    pub(super) fn owned(client: &Arc<Client>, object: u64) -> Arc<Self> {
        let (server, address) = (client.server, client.address.clone());
        let home = Home { client: Some(client.clone()), leased: None };
        Arc::new(Self { token: Token { server, address, object }, home: Mutex::new(home) })
    }

    fn home(&self) -> MutexGuard<'_, Home> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn object(&self) -> u64 {
        self.token.object
    }

    /// Whether both are to the same object, however its server is reached.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.is_to(&other.token)
    }

    fn is_to(&self, token: &Token) -> bool {
        self.token.server == token.server && self.token.object == token.object
    }

    pub(super) fn address(&self) -> &Address {
        &self.token.address
    }

    /// The connection of this process, which refers to the object from now on if it did not.
    ///
    /// # Errors
    /// As [`client::to`]; `NoObject`.
    pub(super) fn client(&self) -> Result<Arc<Client>, ManagerError> {
        let mut home = self.home();
        if let Some(client) = home.client.as_ref().filter(|client| client.is_own()) {
            return Ok(client.clone());
        }
        let client = client::to(self.token.server, &self.token.address)?;
        let reply = client.call(self.token.object, Op::Adopt, &Deadline::within(PATIENCE))?;
        if let Body::Failed(failure) = reply.body()? {
            return Err(ManagerError::of(failure, "Proxy"));
        }
        home.leased = None;
        if let Some(inherited) = home.client.replace(client.clone()) {
            // That of the process that forked this one: not ours to end.
            std::mem::forget(inherited);
        }
        Ok(client)
    }

    /// Keeps the object while the reference travels. A server that is gone needs no lease, and
    /// whoever receives the reference will find that out.
    fn lease(&self) {
        let Ok(client) = self.client() else { return };
        let now = Instant::now();
        let mut home = self.home();
        // Three quarters of it are left at least.
        if home.leased.is_some_and(|until| until > now + client.lease * 3 / 4) {
            return;
        }
        let request = Request { object: self.token.object, op: Op::Lease };
        if client.one_way(&request, &Deadline::within(PATIENCE)).is_ok() {
            home.leased = Some(now + client.lease);
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let home = self.home.get_mut().unwrap_or_else(PoisonError::into_inner);
        match home.client.take() {
            Some(client) if client.is_own() => client.release(vec![self.token.object]),
            // In a fork: the parent's own.
            Some(client) => std::mem::forget(client),
            None => {}
        }
    }
}

type List = Vec<Arc<Reference>>;

thread_local! {
    /// The server that a value is encoded for, and what it refers to there.
    static STORING: RefCell<Option<(u128, List)>> = const { RefCell::new(None) };
    /// What came with a value that is being decoded.
    static TAKING: RefCell<Option<List>> = const { RefCell::new(None) };
}

/// Puts back what was there before, also after a panic.
struct Restore<F: FnMut()>(F);

impl<F: FnMut()> Drop for Restore<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs `encode`, and gives the references to that server that were serialised in it.
pub(super) fn storing<R>(server: u128, encode: impl FnOnce() -> R) -> (R, List) {
    let mut before = STORING.replace(Some((server, Vec::new())));
    let mut found = Vec::new();
    let result = {
        let _restore = Restore(|| {
            let own = STORING.replace(before.take());
            found = own.map(|(_, list)| list).unwrap_or_default();
        });
        encode()
    };
    (result, found)
}

/// Runs `decode` with the references that came along.
pub(super) fn taking<R>(list: List, decode: impl FnOnce() -> R) -> R {
    let mut before = TAKING.replace(Some(list));
    let _restore = Restore(|| drop(TAKING.replace(before.take())));
    decode()
}

/// A reference as it stands in a proxy.
#[derive(Clone)]
pub(super) struct Shared(pub(super) Arc<Reference>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = STORING.with_borrow_mut(|storing| match storing {
            Some((server, list)) if *server == self.0.token.server => {
                list.push(self.0.clone());
                true
            }
            _ => false,
        });
        if !stored {
            self.0.lease();
        }
        self.0.token.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = Token::deserialize(deserializer)?;
        let known = TAKING.with_borrow(|taking| {
            let list = taking.as_deref().unwrap_or_default();
            list.iter().find(|known| known.is_to(&token)).cloned()
        });
        if let Some(known) = known {
            return Ok(Self(known));
        }
        let home = Mutex::new(Home { client: None, leased: None });
        let reference = Arc::new(Reference { token, home });
        // What cannot be had is an error of the first call, which says more than this could.
        let _ = reference.client();
        Ok(Self(reference))
    }
}
