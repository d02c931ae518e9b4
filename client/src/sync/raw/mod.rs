//! The algorithms in shared memory, without the memory.
//!
//! | file | holds |
//! |---|---|
//! | `atomics` | all that they stand on; models replace it |
//! | `lock` | the lock word |
//! | `bell` | how one sleeps until others have changed something |
//! | `ring` | a byte ring of blocks that one end fills and the other empties |
//! | `counters` | the packed words by which a ring says where its ends are |
//!
//! What must never be in here: `unsafe`, system calls (but those of `atomics`), anything that
//! could not be undone by whoever finds the owner dead.

pub(crate) mod atomics;
pub(crate) mod bell;
pub(crate) mod counters;
pub(crate) mod lock;
pub(crate) mod ring;
