//! The algorithms as they stand in the client, beside the machine of the models.
#![allow(dead_code, unused_imports, reason = "models do not use all that the client does")]

#[path = "atomics.rs"]
pub(crate) mod atomics;

#[path = "../../../client/src/sync/raw/barrier.rs"]
pub(crate) mod barrier;
#[path = "../../../client/src/sync/raw/bell.rs"]
pub(crate) mod bell;
#[path = "../../../client/src/sync/raw/claim.rs"]
pub(crate) mod claim;
#[path = "../../../client/src/sync/raw/condition.rs"]
pub(crate) mod condition;
#[path = "../../../client/src/sync/raw/counters.rs"]
pub(crate) mod counters;
#[path = "../../../client/src/sync/raw/event.rs"]
pub(crate) mod event;
#[path = "../../../client/src/sync/raw/ledger.rs"]
pub(crate) mod ledger;
#[path = "../../../client/src/sync/raw/lock.rs"]
pub(crate) mod lock;
#[path = "../../../client/src/sync/raw/ring.rs"]
pub(crate) mod ring;
#[path = "../../../client/src/sync/raw/rlock.rs"]
pub(crate) mod rlock;
#[path = "../../../client/src/sync/raw/semaphore.rs"]
pub(crate) mod semaphore;
