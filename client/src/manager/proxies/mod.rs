//! The proxies, one for each type of `multiprocessing.managers`.
//!
//! | file | holds |
//! |---|---|
//! | `list`, `array` | sequences |
//! | `dict`, `set`, `namespace` | what has keys |
//! | `value` | one value |
//! | `iterator` | what is left of a snapshot |
//! | `queue` | queues, joinable or not |
//! | `pool` | pools, and results that are to come |
//! | `lock`, `semaphore`, `condition`, `event`, `barrier` | what processes wait for |
//! | `methods` | methods that several of them have |
//!
//! What must never be in here: a change that is not atomic and does not say so.

mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod iterator;
mod list;
mod lock;
mod methods;
mod namespace;
mod pool;
mod queue;
mod semaphore;
mod set;
mod value;

pub use array::ArrayProxy;
pub use barrier::BarrierProxy;
pub use condition::{ConditionProxy, ConditionProxyGuard};
pub use dict::DictProxy;
pub use event::EventProxy;
pub use iterator::IteratorProxy;
pub use list::ListProxy;
pub use lock::{LockProxy, LockProxyGuard, RLockProxy, RLockProxyGuard};
pub use namespace::NamespaceProxy;
pub use pool::{AsyncResultProxy, PoolProxy};
pub use queue::{JoinableQueueProxy, QueueProxy};
pub use semaphore::{BoundedSemaphoreProxy, SemaphorePermit, SemaphoreProxy};
pub use set::SetProxy;
pub use value::ValueProxy;
