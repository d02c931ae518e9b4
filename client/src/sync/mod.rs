//! Synchronisation between processes: the objects of `multiprocessing.synchronize`, with owners
//! that may be killed at any instruction.
//!
//! | file | holds |
//! |---|---|
//! | `raw` | the algorithms, without the memory that they work in |
//! | `lock` | [`Lock`] and its guard |
//! | `rlock` | [`RLock`] and its guard |
//! | `error` | what can go wrong |
//!
//! What must never be in here: `unsafe`, or a state that the death of one process leaves for ever.

mod error;
mod lock;
pub(crate) mod raw;
mod rlock;

pub use error::{Acquired, OwnerDied, SyncError, TryLockError};
pub use lock::{Lock, LockGuard};
pub use rlock::{RLock, RLockGuard};
