//! Synchronisation between processes: the objects of `multiprocessing.synchronize`, with owners
//! that may be killed at any instruction.
//!
//! | file | holds |
//! |---|---|
//! | `raw` | the algorithms, without the memory that they work in |
//! | `lock` | [`Lock`] and its guard |
//! | `rlock` | [`RLock`] and its guard |
//! | `semaphore` | [`Semaphore`], [`BoundedSemaphore`] and their permits |
//! | `condition` | [`Condition`] and the guard of its lock |
//! | `event` | [`Event`] |
//! | `barrier` | [`Barrier`] |
//! | `awaited` | taking a lock word without keeping a thread; each object has an `awaited` too |
//! | `error` | what can go wrong |
//!
//! What must never be in here: `unsafe`, or a state that the death of one process leaves for ever.

pub(crate) mod awaited;
mod barrier;
mod condition;
mod error;
mod event;
mod lock;
pub(crate) mod raw;
mod rlock;
mod semaphore;
#[cfg(test)]
mod tests;

pub use barrier::Barrier;
pub use condition::{AsyncConditionGuard, Condition, ConditionGuard, ConditionLock};
pub use error::{Acquired, BrokenBarrier, OwnerDied, SyncError, TryLockError};
pub use event::Event;
pub use lock::{AsyncLockGuard, Lock, LockGuard};
pub use rlock::{AsyncRLockGuard, RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
