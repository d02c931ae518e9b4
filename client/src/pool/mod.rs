//! Pools: workers that run many tasks, one after the other.
//!
//! | file | holds |
//! |---|---|
//! | `channel` | how tasks get to one worker and their outcomes back |
//! | `worker` | what a worker does |
//!
//! What must never be in here: `unsafe`.

pub(crate) mod channel;
pub(crate) mod worker;

pub use worker::is_cancelled;
