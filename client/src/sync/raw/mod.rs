//! The algorithms in shared memory, without the memory.
//!
//! | file | holds |
//! |---|---|
//! | `atomics` | all that they stand on; models replace it |
//! | `lock` | the lock word |
//! | `rlock` | whose thread holds it, and how often |
//!
//! What must never be in here: `unsafe`, system calls (but those of `atomics`), anything that
//! could not be undone by whoever finds the owner dead.

pub(crate) mod atomics;
pub(crate) mod lock;
pub(crate) mod rlock;
