//! The way to a server: one connection for each process, whatever its threads ask.
//!
//! | file | holds |
//! |---|---|
//! | `table` | the connections of this process, and the keys that it knows |
//! | `calls` | calls that wait for their answers, and who reads |
//! | `send` | requests, and what is sent in passing |
//!
//! There is no thread. Whoever waits for an answer reads, if nobody does, and hands others theirs:
//! so a call of one thread is one message each way.
//!
//! What must never be in here: what an answer means.

mod calls;
mod send;
mod table;

use super::error::ManagerError;
use super::link::Reader;
use super::wire::{Body, Item, Op, Request};
use crate::connection::Address;
use crate::connection::turn::Turn;
use crate::handles::SharedFd;
use crate::sys::identity::Identity;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

pub(super) use calls::Late;
pub(crate) use table::forget_links;
pub(super) use table::{connect, remember, ticket, to};

/// An answer, or that of a call whose time has passed.
pub(super) struct Reply {
    frame: Vec<u8>,
}

/// A call that was made.
enum Slot {
    /// This thread waits.
    Waiting(Thread),
    /// The answer is there.
    Answered(Vec<u8>),
    /// Nobody waits any more; an item in the answer goes back to the object, if one is given.
    Abandoned { back: Option<u64> },
}

struct State {
    next: u64,
    slots: HashMap<u64, Slot>,
    /// What has come, unless a thread reads.
    reader: Option<Reader>,
    gone: bool,
}

/// What is to be sent in passing.
#[derive(Default)]
struct Passing {
    frames: Vec<u8>,
    /// References that were dropped.
    dropped: Vec<u64>,
}

impl Passing {
    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.dropped.is_empty()
    }
}

/// A connection to a server.
pub(super) struct Client {
    pub(super) server: u128,
    pub(super) address: Address,
    /// How long a lease is.
    pub(super) lease: Duration,
    /// The process that it belongs to: a fork of it has one of its own.
    owner: Identity,
    socket: SharedFd,
    /// What could not be sent yet of what is sent in passing.
    writing: Turn<Vec<u8>>,
    passing: Mutex<Passing>,
    state: Mutex<State>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}, {:032x})", self.address, self.server)
    }
}

impl Client {
    fn over(socket: SharedFd, address: Address) -> Self {
        let (slots, reader) = (HashMap::new(), Some(Reader::default()));
        Self {
            server: 0,
            address,
            lease: Duration::ZERO,
            owner: Identity::own(),
            socket,
            writing: Turn::new(Vec::new()),
            passing: Mutex::default(),
            state: Mutex::new(State { next: 1, slots, reader, gone: false }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is this process's, and not a copy that a fork has.
    pub(super) fn is_own(&self) -> bool {
        self.owner == Identity::own()
    }

    /// Whether the server has gone, as far as anybody has noticed.
    pub(super) fn is_gone(&self) -> bool {
        self.state().gone
    }

    fn gone(&self) -> ManagerError {
        ManagerError::Gone { address: self.address.clone() }
    }

    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Reply {
    /// What it says.
    ///
    /// # Errors
    /// [`ManagerError::Protocol`].
    pub(super) fn body(&self) -> Result<Body<'_>, ManagerError> {
        let rest = super::wire::split(&self.frame).map_or(&[][..], |(_, rest)| rest);
        super::wire::parse(rest).map_err(|error| ManagerError::Protocol(error.to_string()))
    }
}

/// The request that gives an item back.
fn put_back(object: u64, item: Item<'_>) -> Request<'_> {
    Request { object, op: Op::Queue(super::wire::QueueOp::PutBack { item }) }
}
