//! The algorithms in shared memory, without the memory.
//!
//! | file | holds |
//! |---|---|
//! | `atomics` | all that they stand on; models replace it |
//! | `lock` | the lock word |
//! | `bell` | how one sleeps until others have changed something |
//! | `ring` | a byte ring of blocks that one end fills and the other empties |
//! | `claim` | who has an item of a log: the one who reads it, or the one who takes it back |
//! | `counters` | the packed words by which a ring says where its ends are |
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
pub(crate) mod bell;
pub(crate) mod claim;
pub(crate) mod condition;
pub(crate) mod counters;
pub(crate) mod event;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod ring;
pub(crate) mod rlock;
pub(crate) mod semaphore;

// Not in the file of the ring, which models include with atomics that these tests do not know.
#[cfg(test)]
#[path = "ring/tests.rs"]
mod ring_tests;
