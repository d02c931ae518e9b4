//! The server: one thread that takes calls, one for each session that reads its requests.
//!
//! | file | holds |
//! |---|---|
//! | `listen` | taking calls, and letting in who knows a key |
//! | `worker` | the server as a job of a worker |
//! | `book` | objects by number and by name, sessions, leases, keys |
//! | `session` | what a process refers to, and the way back to it |
//! | `handle` | what a request does |
//! | `threads` | threads for methods of users' types |
//! | `object` | objects, and what the death of a process means to them |
//! | `answer` | values as they are kept, answers, and answers to those who waited |
//! | `resolve` | values of a request become values that are kept |
//! | `sequence`, `map`, `cell`, `queue` | containers |
//! | `mutex`, `semaphore`, `event`, `barrier` | what processes wait for |
//! | `user` | objects of users' types |
//! | `pool` | pools, and results that are to come |
//!
//! An operation runs on the thread of the session that asks, under the lock of its object, and
//! never waits there: who has to wait becomes an entry in the object, and is answered by whoever
//! makes the wait end.
//!
//! What must never be in here: a wait for a client, or a lock taken while an object is locked but
//! those of `book`.

mod answer;
mod barrier;
mod book;
mod cell;
mod event;
mod handle;
mod listen;
mod map;
mod mutex;
mod object;
mod pool;
mod queue;
mod resolve;
mod semaphore;
mod sequence;
mod session;
mod threads;
mod user;
mod worker;

pub(super) use listen::Terms;
pub use listen::{Server, ServerStopper};
pub(super) use worker::{Initializer, Job, Ready};
pub(crate) use worker::{SERVER, serve_as_worker};
