//! Models of the algorithms in shared memory: loom runs the very files of the client over a machine
//! of its own ([`raw::atomics`]) and tries the orders of events, with the death of a process at
//! each of its steps.
//!
//! | file | holds |
//! |---|---|
//! | `raw` | the algorithms, as they stand in the client |
//! | `atomics` | the machine: atomics, sleeping, processes that die |
//! | `lock`, `rlock`, `event`, `semaphore`, `condition`, `barrier`, `ring`, `claim` | a model of each |
//!
//! A model of another algorithm is one more file: include its source in `raw`, and say in a
//! [`Model`](raw::atomics::Model) what its processes do.

mod barrier;
mod claim;
mod condition;
mod event;
mod lock;
mod raw;
mod ring;
mod rlock;
mod semaphore;
