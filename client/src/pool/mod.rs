//! Pools: workers that run many tasks, one after the other.
//!
//! ```no_run
//! use mpserverd_client as mp;
//!
//! #[mp::task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     mp::freeze_support();
//!     let pool = mp::get_context(None).pool().processes(4).build()?;
//!     assert_eq!(pool.map::<square>(0..1000)?[31], 961);
//!     Ok(())
//! }
//! ```
//!
//! What can happen to a task: it returns; it panics; its worker is lost, and it is tried again if
//! that is wanted; its deadline passes; it is cancelled; the pool ends first. Whatever it is, it is
//! one of these and comes once, as [`TaskFailure`] says, and no other task is harmed.
//!
//! | file | holds |
//! |---|---|
//! | `builder`, `limits` | [`PoolBuilder`], and how many processes there may be |
//! | `handle` | [`Pool`] |
//! | `apply` | [`Submission`]: one task |
//! | `mapping`, `feeder` | [`Mapping`]: many tasks, and how their inputs are taken |
//! | `imap` | [`Imap`], [`ImapUnordered`] |
//! | `result` | [`AsyncResult`] |
//! | `input` | [`Unary`] tasks, and what serves as their [`Input`] |
//! | `decode` | outcomes as values |
//! | `progress`, `status` | [`Progress`] of a map, [`PoolStatus`] |
//! | `error` | what can go wrong |
//! | `engine` | which worker has what, and what becomes of it |
//! | `channel` | how tasks get to one worker and their outcomes back |
//! | `worker` | what a worker does |
//!
//! What must never be in here: `unsafe`; a thread between a submission and its worker.

mod apply;
mod builder;
pub(crate) mod channel;
mod decode;
mod engine;
mod error;
mod feeder;
mod handle;
mod imap;
mod input;
mod limits;
mod mapping;
mod progress;
mod result;
mod status;
pub(crate) mod worker;

pub use apply::Submission;
pub use builder::PoolBuilder;
pub use error::{MapError, NotReady, PoolError, TaskFailure};
pub use handle::Pool;
pub use imap::{Imap, ImapUnordered};
pub use input::{Input, Unary};
pub use mapping::Mapping;
pub use progress::Progress;
pub use result::{AsyncResult, Failure};
pub use status::{PoolStatus, WorkerState, WorkerStatus};
pub use worker::is_cancelled;
