//! Managers: a server process that keeps objects, and typed proxies of them in any process, on
//! this machine or another.
//!
//! ```no_run
//! use mpserverd_client as mp;
//!
//! #[mp::task]
//! fn count(words: mp::DictProxy<String, u64>, text: String) -> Result<(), mp::TaskError> {
//!     for word in text.split_whitespace() {
//!         words.update_value(&word.to_owned(), |count| Some(count.unwrap_or(0) + 1))?;
//!     }
//!     Ok(())
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     mp::freeze_support();
//!     let ctx = mp::get_context(None);
//!     let manager = ctx.manager()?;
//!     let words = manager.dict([])?;
//!     let start = |text: &str| ctx.process::<count>((words.clone(), text.into())).start();
//!     let workers = [start("a rose is a rose")?, start("is a rose")?];
//!     workers.iter().for_each(|worker| drop(worker.join()));
//!     assert_eq!(words.get(&"rose".into())?, Some(3));
//!     Ok(())
//! } // the manager is dropped, and its server ends
//! ```
//!
//! ```text
//!   process                                              server
//!   ┌──────────────────────────────┐    one connection   ┌────────────────────────────────────┐
//!   │ thread ── proxy ─┐           │    a process, with  │ session ─── object (list, lock, …) │
//!   │ thread ── proxy ─┼── client ═╪═════ HMAC both ═════╪ session ─┘     │      │            │
//!   │ thread ── proxy ─┘           │         ways        │ session ── object   who waits      │
//!   └──────────────────────────────┘                     └────────────────────────────────────┘
//! ```
//!
//! A call is one message each way. Whichever thread waits reads, and hands others their answers;
//! there is no thread behind it. In the server the thread of the session does what is asked, under
//! the lock of one object; a call that has to wait stands in the object until somebody answers it,
//! and holds up nobody, not even other calls of its own process.
//!
//! **What the server keeps are encoded values.** It needs none of your types, so the server of any
//! program or module can keep them. They are equal if their encodings are, which matters for keys
//! of dicts, elements of sets and what looks for a value.
//!
//! **How long an object lives.** Whoever refers to it keeps it: a process that has a proxy, another
//! object that a proxy was put into, a name, and, while a proxy travels, a lease of a minute that
//! the sender takes. When a process ends, however that is, its references end, its calls no longer
//! wait, its permits and locks come back, and who gets such a lock is told. Objects that refer to
//! each other in a circle live until the server ends. A proxy of one manager inside a value of
//! another one is only kept for the time of the lease.
//!
//! **Keys.** A proxy says where the server is, which one it is, and which object it means, by a
//! number that cannot be guessed; it contains no key. Relatives of a process that has connected, or
//! started the manager, are let in with what they derive from the key that all relatives have,
//! [`CurrentProcess::authkey`](crate::CurrentProcess::authkey). Strangers give the key of the
//! manager to [`connect`](ManagerBuilder::connect).
//!
//! **Deaths.** If the server is killed, every call, those that wait too, is
//! [`ManagerError::Gone`] at once. Calls that wait have forms with a time, all others get one by
//! [`Proxy::with_timeout`]. A server ends with the process that started it.
//!
//! **Your own types.** [`remote`](macro@crate::remote) makes a proxy of an `impl` block: see there.
//! They need a server that is your program; that of a context
//! [with modules](crate::Context::with_modules) runs in a host that does not have them, and says
//! so: [`ManagerError::Unknown`].
//!
//! | `multiprocessing.managers` | here | differs |
//! |---|---|---|
//! | `Manager()`, `ctx.Manager()` | [`Context::manager`](crate::Context::manager) | |
//! | `BaseManager(...)` | [`Manager::builder`], [`ManagerBuilder`] | states are types |
//! | `start`, `connect`, `get_server` | [`start`](ManagerBuilder::start), [`connect`](ManagerBuilder::connect), [`server`](ManagerBuilder::server) | |
//! | `serve_forever`, `shutdown`, `join` | [`Server::serve_forever`], [`Manager::shutdown`], [`Manager::join`] | |
//! | `register(..., callable)` | [`remote`](macro@crate::remote), [`publish`](ConnectedManager::publish) and [`find`](ConnectedManager::find) | checked by the compiler |
//! | `list`, `dict`, `set` | [`ListProxy`], [`DictProxy`], [`SetProxy`] | `sort`, `update_value` and so on are atomic |
//! | `Namespace`, `Value`, `Array` | [`NamespaceProxy`], [`ValueProxy`], [`ArrayProxy`] | `update` is atomic |
//! | `Queue`, `JoinableQueue` | [`QueueProxy`], [`JoinableQueueProxy`] | `join` tells what died |
//! | `Lock`, `RLock` | [`LockProxy`], [`RLockProxy`] | freed by death; owners are threads of clients |
//! | `Semaphore`, `BoundedSemaphore` | [`SemaphoreProxy`], [`BoundedSemaphoreProxy`] | permits of the dead come back |
//! | `Condition`, `Event`, `Barrier` | [`ConditionProxy`], [`EventProxy`], [`BarrierProxy`] | dead waiters hold up nobody |
//! | iterators | [`IteratorProxy`] | |
//! | `Pool`, `AsyncResult` | [`PoolProxy`], [`AsyncResultProxy`] | no callbacks; `imap` is ordered |
//! | `SharedMemoryManager` | [`SharedMemoryManager`] | no process of its own |
//! | `_number_of_objects`, `_debug_info` | [`ConnectedManager::stats`] | |
//! | reference counts by connections of their own | sessions and leases | nothing leaks by a crash |
//! | a connection for each thread | one for each process | |
//! | `RemoteError` | [`RemoteError`] | with place and backtrace |
//!
//! | file | holds |
//! |---|---|
//! | `builder` | how a manager comes into being |
//! | `manager`, `factories` | [`Manager`], [`ConnectedManager`], and what they make |
//! | `proxies` | the proxies |
//! | `proxy` | [`Proxy`], and how proxies are declared |
//! | `handle` | how a call is made and understood |
//! | `reference` | references, and how they travel |
//! | `transaction` | changes that need to know what is there |
//! | `client` | the connection of a process |
//! | `server` | the server |
//! | `remote` | users' types |
//! | `wire`, `link` | what is said, and the stream that it goes over |
//! | `shared_memory` | [`SharedMemoryManager`] |
//! | `error` | what can go wrong |
//!
//! What must never be in here: `unsafe`, or a count that a death leaves wrong.

mod builder;
mod client;
mod error;
mod factories;
pub(crate) mod handle;
mod link;
#[allow(clippy::module_inception, reason = "the manager itself is one of the parts")]
mod manager;
mod proxies;
mod proxy;
mod reference;
#[doc(hidden)]
pub mod remote;
mod server;
mod shared_memory;
mod transaction;
mod wire;

pub use builder::ManagerBuilder;
pub use error::{ManagerError, RemoteError};
pub use manager::{ConnectedManager, Manager, ManagerStats};
pub use proxies::{
    ArrayProxy, AsyncResultProxy, BarrierProxy, BoundedSemaphoreProxy, ConditionProxy,
    ConditionProxyGuard, DictProxy, EventProxy, IteratorProxy, JoinableQueueProxy, ListProxy,
    LockProxy, LockProxyGuard, NamespaceProxy, PoolProxy, QueueProxy, RLockProxy, RLockProxyGuard,
    SemaphorePermit, SemaphoreProxy, SetProxy, ValueProxy,
};
pub use proxy::{Proxy, RemoteObject};
pub use remote::Remote;
pub use server::{Server, ServerStopper};
pub use shared_memory::SharedMemoryManager;

pub(crate) use client::forget_links;
pub(crate) use server::{SERVER, serve_as_worker};
