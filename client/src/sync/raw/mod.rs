//! The algorithms in shared memory, without the memory.
//!
//! | file | holds |
//! |---|---|
//! | `atomics` | all that they stand on; models replace it |
//! | `lock` | the lock word |
//! | `rlock` | whose thread holds it, and how often |
//! | `ledger` | who holds how many of something |
//! | `semaphore` | permits, and what becomes of those of the dead |
//! | `condition` | who waits and who was notified |
//! | `event` | one word that is set or not |
//! | `barrier` | who has arrived, and what was decided |
//!
//! What must never be in here: `unsafe`, system calls (but those of `atomics`), anything that
//! could not be undone by whoever finds the owner dead.

pub(crate) mod atomics;
pub(crate) mod barrier;
pub(crate) mod condition;
pub(crate) mod event;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod rlock;
pub(crate) mod semaphore;
