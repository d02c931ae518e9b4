//! Queues between processes: rings in shared memory, without a thread or a process that serves
//! them.
//!
//! | file | holds |
//! |---|---|
//! | `handle` | [`Queue`], [`Producer`], [`Consumer`] |
//! | `simple` | [`SimpleQueue`] |
//! | `joinable` | [`JoinableQueue`] |
//! | `join` | who has taken items and not said yet that they are done |
//! | `methods` | what handles have in common |
//! | `options` | [`QueueOptions`] |
//! | `iter` | [`Items`] |
//! | `item` | items as bytes |
//! | `core` | a queue of bytes and descriptors, in this process |
//! | `put`, `take` | its two sides |
//! | `awaited` | the same, and `join`, without keeping a thread |
//! | `carry` | what goes beside the memory: descriptors and large bodies |
//! | `readiness` | a descriptor for those who watch a queue |
//! | `memory` | where all of it lies |
//! | `error` | what can go wrong |
//!
//! The ring itself is in `sync::raw`.
//!
//! What must never be in here: `unsafe`; a thread; a lock that is held while somebody waits.

mod awaited;
pub(crate) mod carry;
mod core;
mod error;
mod handle;
mod item;
mod iter;
mod join;
mod joinable;
pub(crate) mod memory;
mod methods;
mod options;
mod put;
pub(crate) mod readiness;
mod simple;
mod take;

pub use error::{GetError, GetManyError, PutError, PutManyError};
pub use handle::{Consumer, Producer, Queue};
pub use item::QueueItem;
pub use iter::Items;
pub use join::{JoinError, TooManyTasksDone};
pub use joinable::{JoinableConsumer, JoinableQueue};
pub use options::QueueOptions;
pub use simple::SimpleQueue;
