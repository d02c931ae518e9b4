//! Values as the server keeps them, and answers before they are written.

use super::object::{Caller, Object};
use super::session::Session;
use crate::manager::manager::ManagerStats;
use crate::manager::wire::{Body, Failure, Item, Taken};
use serde_bytes::Bytes;
use std::sync::Arc;

/// A value as bytes, with the objects that it refers to. Clones share both.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) bytes: Arc<[u8]>,
    pub(super) refs: Option<Arc<[Arc<Object>]>>,
}

impl Stored {
    /// Of no bytes.
    pub(super) fn nothing() -> Self {
        Self { bytes: Arc::from([]), refs: None }
    }

    /// As it travels to a session, which gets a reference to each object in it.
    fn item(&self, session: &Session) -> Item<'_> {
        let refs = self.refs.as_deref().unwrap_or_default();
        refs.iter().for_each(|object| session.refer(object));
        Item { bytes: Bytes::new(&self.bytes), refs: refs.iter().map(|object| object.id).collect() }
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

/// An answer before it is written.
pub(super) enum Answer {
    Done,
    Yes(bool),
    Count(u64),
    One(Stored),
    Maybe(Option<Stored>),
    Many(Vec<Stored>),
    Version(u64, Vec<Stored>),
    Pairs(u64, Vec<(Stored, Stored)>),
    Object(Arc<Object>),
    Taken(Taken),
    Woken { notified: bool, taken: Taken },
    Act,
    Sizes { items: u64, maxsize: u64, unfinished: u64 },
    Barrier { parties: u32, waiting: u32, broken: bool },
    Welcome { server: u128, lease_ms: u64 },
    Stats(ManagerStats),
    Failed(Failure),
}

impl From<Result<Self, Failure>> for Answer {
    fn from(result: Result<Self, Failure>) -> Self {
        result.unwrap_or_else(Self::Failed)
    }
}

impl Answer {
    /// As it travels to a session, which gets the references in it.
    pub(super) fn body(&self, session: &Session) -> Body<'_> {
        match self {
            Self::Done => Body::Done,
            Self::Yes(yes) => Body::Yes(*yes),
            Self::Count(count) => Body::Count(*count),
            Self::One(one) => Body::Item(one.item(session)),
            Self::Maybe(one) => Body::Maybe(one.as_ref().map(|one| one.item(session))),
            Self::Many(all) => Body::Items(all.iter().map(|one| one.item(session)).collect()),
            Self::Version(version, all) => {
                Body::Version(*version, all.iter().map(|one| one.item(session)).collect())
            }
            Self::Pairs(version, pairs) => {
                let pairs = pairs.iter().map(|(a, b)| (a.item(session), b.item(session)));
                Body::Pairs(*version, pairs.collect())
            }
            Self::Object(object) => {
                session.refer(object);
                Body::Object { id: object.id, label: &object.label }
            }
            Self::Taken(taken) => Body::Taken(*taken),
            Self::Woken { notified, taken } => Body::Woken { notified: *notified, taken: *taken },
            Self::Act => Body::Act,
            Self::Sizes { items, maxsize, unfinished } => {
                Body::Sizes { items: *items, maxsize: *maxsize, unfinished: *unfinished }
            }
            Self::Barrier { parties, waiting, broken } => {
                Body::Barrier { parties: *parties, waiting: *waiting, broken: *broken }
            }
            Self::Welcome { server, lease_ms } => {
                Body::Welcome { server: *server, lease_ms: *lease_ms }
            }
            Self::Stats(stats) => Body::Stats(*stats),
            Self::Failed(failure) => Body::Failed(failure.clone()),
        }
    }
}

/// What an operation gives: an answer now, or none yet, for the caller waits at the object.
pub(super) type Outcome = Result<Option<Answer>, Failure>;

/// Answers to calls that waited, to be sent once no object is locked.
#[derive(Default)]
pub(super) struct Post(Vec<(Caller, Answer)>);

impl Post {
    pub(super) fn answer(&mut self, caller: Caller, answer: Answer) {
        self.0.push((caller, answer));
    }

    /// Sends them.
    pub(super) fn send(self) {
        for (caller, answer) in self.0 {
            caller.session.answer(caller.call, &answer);
        }
    }
}

/// A number of the protocol as an index; what no length reaches is as good as any other.
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
