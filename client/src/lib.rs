//! Processes with the API of Python's `multiprocessing`, typed and safe.
//!
//! A [`Context`] starts processes by one of three methods. Under `forkserver`, the default on
//! Linux, `mpserverd` hands out workers that were forked from a warm *template* of this very
//! program before anybody asked; without a daemon the same program spawns, and behaves the same.
//!
//! ```no_run
//! use mpserverd_client as mp;
//!
//! #[mp::task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! fn main() -> Result<(), mp::ProcessError> {
//!     mp::freeze_support(); // first: this program may be its own worker
//!     let process = mp::get_context(None).process::<square>((7,)).start()?;
//!     println!("7² = {}", process.result()?);
//!     Ok(())
//! }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `connection` | messages between processes: pipes, listeners, clients |
//! | `context` | start methods and contexts |
//! | `process` | builders, processes, active children |
//! | `current` | who this process is |
//! | `exit` | what it does at its end |
//! | [`task`](mod@task) | what a task is, and how its result travels |
//! | `registry` | the tasks of this process |
//! | [`reducer`](mod@reducer) | how values become bytes |
//! | [`module_path`](mod@module_path) | where the files of modules may be |
//! | `deadline` | until when to wait |
//! | [`handles`] | objects of the kernel and shared objects inside values |
//! | `connection` | messages over sockets and pipes |
//! | `start` | the three ways to a worker |
//! | `straight` | values that need no codec |
//! | `runtime` | what templates and workers run |
//! | `reactor` | what wakes tasks that await something |
//! | [`daemon`] | the connection to the daemon |
//! | `shared` | memory that processes share |
//! | [`sync`] | locks and what is built on them |
//! | [`queue`] | queues in shared memory |
//! | [`logging`] | what workers log, and who gets it |
//! | [`manager`] | objects in a server process, and proxies of them |
//! | [`pool`] | workers that run many tasks, one after the other |
//! | `bounds` | limits that a program asks for its workers |
//! | `sys` | everything that needs `unsafe` |
//! | [`python`] | every name of `multiprocessing`, and what it is here |
//!
//! Who comes from Python finds every name of `multiprocessing` in [`python`], with what is otherwise
//! on purpose.
//!
//! # Async
//!
//! Everything that waits has a form with the ending `_async` that can be awaited on any runtime:
//! [`Lock::lock_async`], [`Queue::get_async`], [`Connection::recv_async`],
//! [`Process::result_async`], [`wait_async`] and so on. (`apply_async` and its like of the
//! reference are something else: they start work and give a handle of it.) [`timeout`] gives any
//! of them a time limit.
//!
//! There is no runtime inside. What need not wait is done in the first poll, without a thread, an
//! allocation or a system call beyond that of the plain form. What waits is registered with two
//! plain threads, which the first wait starts and which call the `Waker`s: one sleeps on words of
//! shared memory (`futex_waitv(2)`; in naps of up to 50 ms before Linux 5.16), one on descriptors
//! and times. They take no signals, end when idle, and do not forbid a `fork`, whose child gets its
//! own.
//!
//! *Dropping* a future, as `select!` and timeouts do, loses nothing: no permit, no item, no
//! notification, no part of a message. Three things cannot be taken back, and say so: a message
//! sent in part ([`Connection::send_async`]), having arrived at a [`Barrier`], and the lock that
//! [`AsyncConditionGuard::wait_async`] has released. Deaths of others are noticed as early as by
//! who waits without it.
//!
//! Guards that are awaited may go to other threads, so they are types of their own. An [`RLock`]
//! belongs to a thread otherwise; awaited, it belongs to its guard.
//!
//! A runtime can also watch by itself what has a descriptor: [`Handle::sentinel`] and
//! [`Handle::result_fd`], [`Queue::readiness`], and a [`Connection`] or [`Listener`] as `AsFd`.
//! `examples/async_tokio.rs` is a small server.
//!
//! # Invariants
//!
//! Whoever holds a lease needs no daemon. A start either gives a process or a typed error; a
//! process gives its result, or says how it ended. Every wait has a form with a deadline.
//! Dependencies point one way: this crate knows `mpserverd-proto` and nothing of the daemon.
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, unreachable_pub, reason = "what nothing can start yet is not called either")
)]

mod bounds;
mod codec;
mod connection;
mod context;
mod count;
mod current;
mod deadline;
mod error;
mod exit;
#[cfg(unix)]
pub mod handles;
#[cfg(not(unix))]
#[path = "handles_unsupported.rs"]
mod handles;
pub mod module_path;
mod parcel;
mod process;
pub mod python;
pub mod reducer;
pub mod registry;
mod runtime;
pub mod task;
mod trace;

#[cfg(target_os = "linux")]
pub mod daemon;
#[cfg(target_os = "linux")]
pub mod logging;
#[cfg(target_os = "linux")]
pub mod manager;
#[cfg(target_os = "linux")]
pub mod pool;
#[cfg(target_os = "linux")]
pub mod queue;
#[cfg(target_os = "linux")]
mod reactor;
#[cfg(target_os = "linux")]
mod shared;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod straight;
#[cfg(target_os = "linux")]
pub mod sync;
#[cfg(target_os = "linux")]
pub mod sys;
#[cfg(target_os = "linux")]
pub mod transport;

use mpserverd_proto::job as job_types;
use std::sync::atomic::{AtomicBool, Ordering};

pub use bounds::Limits;
pub use codec::{Codec, CodecError};
pub use connection::{
    Address, Client, ClientBuilder, Connection, ConnectionError, Family, Incoming, Listener,
    ListenerBuilder, pipe,
};
#[cfg(target_os = "linux")]
pub use connection::{Waitable, wait, wait_async};
pub use context::{
    Context, Fallback, OnPreloadError, StartMethod, allow_connection_pickling, fixed_start_method,
    force_start_method, get_all_start_methods, get_context, get_start_method, set_executable,
    set_forkserver_preload, set_reducer, set_start_method,
};
pub use count::{available_cpus, cpu_count};
#[cfg(target_os = "linux")]
pub use current::passed_fds;
pub use current::{
    CurrentProcess, ParentProcess, current_process, parent_process, set_authkey, set_current_name,
};
pub use error::{
    AuthenticationError, BufferTooShort, ContextError, DaemonError, Ending, ProcessError,
    StartError, TimeoutError,
};
pub use exit::at_exit;
#[cfg(unix)]
pub use handles::{NotSpawning, Passed, SharedFd, assert_spawning};
pub use job_types::{OnParentDeath, Panic};
#[cfg(target_os = "linux")]
pub use logging::{get_logger, log_to_stderr};
#[cfg(target_os = "linux")]
pub use manager::{
    ArrayProxy, AsyncResultProxy, BarrierProxy, BoundedSemaphoreProxy, ConditionProxy,
    ConditionProxyGuard, ConnectedManager, DictProxy, EventProxy, IteratorProxy,
    JoinableQueueProxy, ListProxy, LockProxy, LockProxyGuard, Manager, ManagerBuilder,
    ManagerError, ManagerStats, NamespaceProxy, PoolProxy, Proxy, QueueProxy, RLockProxy,
    RLockProxyGuard, Remote, RemoteError, RemoteObject, SemaphorePermit, SemaphoreProxy, Server,
    ServerStopper, SetProxy, SharedMemoryManager, ValueProxy,
};
#[cfg(target_os = "linux")]
pub use mpserverd_macros::remote;
pub use mpserverd_macros::task;
pub use mpserverd_proto::death::{Cause, LimitKind};
pub use mpserverd_proto::error::{Fault, JobError, PreloadError, Refusal, Stage};
pub use mpserverd_proto::status::{ExitRecord, Reporter, Usage};
pub use mpserverd_proto::trace::TraceId;
#[cfg(target_os = "linux")]
pub use pool::{
    AsyncResult, Imap, ImapUnordered, MapError, Mapping, Pool, PoolBuilder, PoolError, PoolStatus,
    Progress, Submission, TaskFailure, Unary,
};
#[cfg(target_os = "linux")]
pub use process::wait_any;
pub use process::{
    ActiveChild, Handle, Process, ProcessBuilder, Resource, StillRunning, Stream, active_children,
};
#[cfg(target_os = "linux")]
pub use queue::{
    Consumer, GetError, GetManyError, JoinError, JoinableConsumer, JoinableQueue, Producer,
    PutError, PutManyError, Queue, QueueOptions, SimpleQueue, TooManyTasksDone,
};
#[cfg(target_os = "linux")]
pub use reactor::timeout;
pub use reducer::{AbstractReducer, RebuildError, Reduced, Reducer, Reduction};
#[cfg(target_os = "linux")]
pub use runtime::{BOOTSTRAP, ROLE_TEMPLATE};
#[cfg(target_os = "linux")]
pub use shared::{
    AnyLock, Array, ArrayGuard, Integer, ListItem, Number, Plain, RawArray, RawValue, ShareError,
    ShareableList, SharedMemory, SharedMemoryOptions, Value, ValueGuard,
};
#[cfg(target_os = "linux")]
pub use sync::{Acquired, Lock, LockGuard, OwnerDied, SyncError, TryLockError};
#[cfg(target_os = "linux")]
pub use sync::{AsyncConditionGuard, AsyncLockGuard, AsyncRLockGuard};
#[cfg(target_os = "linux")]
pub use sync::{
    Barrier, BoundedSemaphore, BrokenBarrier, Condition, ConditionGuard, ConditionLock, Event,
    Permit, RLock, RLockGuard, Semaphore,
};
#[cfg(target_os = "linux")]
pub use sys::cell::SharedCell;
pub use task::{Runnable, Task, TaskError};

/// The crate whose traits say what is plain data, for [`derive`](bytemuck::Pod)s.
pub use bytemuck;

static FROZEN: AtomicBool = AtomicBool::new(false);

/// Call this first in `main`: it makes the program able to be its own worker.
///
/// In a process that a user started it returns at once. In one that was started as a template or
/// a worker it never returns. It does not fix the start method.
///
/// Without it, starting a process by `spawn` or `forkserver` is
/// [`StartError::NoFreezeSupport`]: the new process would run `main` again, and so on.
pub fn freeze_support() {
    FROZEN.store(true, Ordering::Relaxed);
    #[cfg(target_os = "linux")]
    runtime::enter();
}

#[cfg(target_os = "linux")]
pub(crate) fn is_frozen() -> bool {
    FROZEN.load(Ordering::Relaxed) || !runtime::EARLY.is_empty()
}

/// This copy of the crate is part of a module whose host has called `freeze_support`.
#[cfg(target_os = "linux")]
pub(crate) fn set_frozen() {
    FROZEN.store(true, Ordering::Relaxed);
}

/// Makes test binaries able to be their own workers: one line at the top of a test crate.
///
/// A test binary's `main` is not ours to write, so the runtime looks at the process before `main`
/// runs. Programs with a `main` call [`freeze_support`] instead.
///
/// ```
/// use mpserverd_client as mp;
///
/// mp::enable_in_tests!();
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! enable_in_tests {
    () => {
        const _: () = {
            #[$crate::__private::linkme::distributed_slice($crate::__private::EARLY)]
            #[linkme(crate = $crate::__private::linkme)]
            static ENABLED: bool = true;
        };
    };
}

/// Describes this program or shared object as a module: its name, version and hooks.
///
/// In a `cdylib` it exports the descriptor that `mpserverd --preload` looks for; the tasks are
/// those that [`#[task]`](macro@task) marks. In a program only the hooks matter. Write it once.
///
/// `init` runs once in the template: open, read, compile. `warm` runs after every module's `init`:
/// touch what tasks will touch. `after_fork` runs in each worker: threads, connections, seeds. A
/// hook is a `fn()` or a `fn() -> Result<(), E>` with `E: Display`.
///
/// ```
/// use mpserverd_client as mp;
/// use std::sync::OnceLock;
///
/// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
///
/// fn load() -> std::io::Result<()> {
///     WORDS.get_or_init(|| vec!["warm".into()]);
///     Ok(())
/// }
///
/// mp::module! {
///     name: "words",
///     init: load,
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! module {
    (
        name: $name:expr
        $(, version: $version:expr)?
        $(, init: $init:expr)?
        $(, warm: $warm:expr)?
        $(, after_fork: $after_fork:expr)?
        $(,)?
    ) => {
        const _: () = {
            use $crate::__private as __mp;
            #[allow(unused_mut, unused_assignments)]
            const HOOKS: __mp::Hooks = {
                let mut hooks = __mp::Hooks { init: None, warm: None, after_fork: None };
                $(hooks.init = Some(|| __mp::HookResult::into_result($init()));)?
                $(hooks.warm = Some(|| __mp::HookResult::into_result($warm()));)?
                $(hooks.after_fork = Some(|| __mp::HookResult::into_result($after_fork()));)?
                hooks
            };
            #[allow(unused_mut, unused_assignments)]
            const VERSION: &str = {
                let mut version = env!("CARGO_PKG_VERSION");
                $(version = $version;)?
                version
            };

            #[__mp::linkme::distributed_slice(__mp::HOOKS)]
            #[linkme(crate = __mp::linkme)]
            static OWN: __mp::Hooks = HOOKS;

            $crate::__export_module!($name, VERSION);
        };
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(target_os = "linux")]
macro_rules! __export_module {
    ($name:expr, $version:expr) => {
        // SAFETY: the symbol has exactly the type that the module ABI gives it.
        #[unsafe(no_mangle)]
        extern "C" fn mp_module_v1() -> *const __mp::abi::Module {
            __mp::module_descriptor($name, $version)
        }
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(not(target_os = "linux"))]
macro_rules! __export_module {
    ($name:expr, $version:expr) => {
        const _: (&str, &str) = ($name, $version);
    };
}

/// For the macros only.
#[doc(hidden)]
pub mod __private {
    pub use crate::codec::{Codec, CodecError};
    #[cfg(target_os = "linux")]
    pub use crate::manager::handle::Handle as ProxyHandle;
    #[cfg(target_os = "linux")]
    pub use crate::manager::remote;
    pub use crate::reducer::{REDUCERS, ReducerEntry, rebuild_by, reduce_by};
    pub use crate::registry::{TASKS, TaskEntry};
    pub use crate::runtime::{EARLY, HOOKS, HookResult, Hooks};
    #[cfg(target_os = "linux")]
    pub use crate::sys::export::module_descriptor;
    pub use crate::task::{Buffer, Encoded, Returns, ReturnsIoResult, ReturnsResult, ReturnsValue};
    pub use linkme;
    pub use mpserverd_proto::abi;
    pub use mpserverd_proto::schema::hash as schema_hash;
    pub use serde;
}
