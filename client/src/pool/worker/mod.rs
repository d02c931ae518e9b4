//! What a worker of a pool does: the job `mp.pool.worker`.
//!
//! | file | holds |
//! |---|---|
//! | `job` | the job itself: the initializer, then the loop |
//! | `serve` | the loop: begin a frame, run its items, answer |
//! | `inbox` | taking frames |
//! | `outbox` | giving answers, and when to wake whoever waits for them |
//! | `pace` | how often a worker looks at the clock between items |
//!
//! What must never be in here: what a pool does; a thread; a wait for anything but the pool.

mod inbox;
mod job;
mod outbox;
mod pace;
mod serve;
#[cfg(test)]
mod tests;

pub use job::is_cancelled;
pub(crate) use job::{Initializer, WORKER, run};
