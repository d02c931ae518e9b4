//! Refusals and failures that travel between processes: each says what was wrong and what to do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a template came with a module when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Stage {
    /// Looking for the file.
    Find,
    /// Executing the program.
    Exec,
    /// Waiting for the program to call `freeze_support()`.
    Handshake,
    /// Loading the shared object.
    Load,
    /// Reading its descriptor.
    Descriptor,
    /// Running its `init` hooks.
    Init,
    /// Running its `warm` hooks.
    Warm,
    /// Checking that it is safe to fork.
    Verdict,
    /// Serving: the template was ready once.
    Serving,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Find => "find",
            Self::Exec => "exec",
            Self::Handshake => "handshake",
            Self::Load => "load",
            Self::Descriptor => "descriptor",
            Self::Init => "init",
            Self::Warm => "warm",
            Self::Verdict => "fork-safety verdict",
            Self::Serving => "serving",
        })
    }
}

/// What went wrong with a module or a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Fault {
    /// No file of that name.
    #[error("not found; looked in {}", .searched.join(", "))]
    NotFound {
        /// Every path that was tried.
        searched: Vec<String>,
    },
    /// The file is not a shared object, or one that cannot be loaded.
    #[error("cannot be loaded as a shared object: {0}")]
    NotLoadable(String),
    /// The shared object has no descriptor.
    #[error(
        "has no symbol `mp_module_v1`: is it a module? In Rust write `mp::module! {{ .. }}` once, \
         in C define `mp_module_v1()` (see mpserverd.h)"
    )]
    NoDescriptor,
    /// The descriptor is of another ABI.
    #[error("was built for module ABI {found}, this host speaks {expected}: rebuild the module")]
    WrongAbi {
        /// What the module says.
        found: u32,
        /// What the host speaks.
        expected: u32,
    },
    /// The descriptor contradicts itself.
    #[error("has a broken descriptor: {0}")]
    BadDescriptor(String),
    /// A hook returned an error.
    #[error("its hook failed: {0}")]
    HookFailed(String),
    /// A hook panicked.
    #[error("its hook panicked: {0}")]
    HookPanicked(String),
    /// It took longer than it may, in milliseconds.
    #[error("did not finish within {limit_ms} ms; raise `preload_timeout` if it needs longer")]
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// Threads would vanish in every fork.
    #[error(
        "started {count} thread(s) ({}), which would not exist in a worker; start them in an \
         `after_fork` hook instead", .names.join(", ")
    )]
    StartedThreads {
        /// How many.
        count: u32,
        /// Their names.
        names: Vec<String>,
    },
    /// Connections and event queues would be shared by every worker.
    #[error(
        "left open {}, which every worker would share; open it in an `after_fork` hook, or in \
         the task", .what.join(", ")
    )]
    OpenDescriptors {
        /// What each is, as `/proc/self/fd` shows it.
        what: Vec<String>,
    },
    /// The first fork did not come up.
    #[error("a trial fork did not come up: {0}")]
    CanaryFailed(String),
    /// The program went its own way.
    #[error("never called `freeze_support()`: call it first in `main`")]
    NoFreezeSupport,
    /// The process ended by itself.
    #[error("the process exited with code {0}")]
    Exited(i32),
    /// The process was killed.
    #[error("the process was killed by signal {0}")]
    Killed(i32),
    /// The system refused.
    #[error("{call}: {message}")]
    System {
        /// The call that failed.
        call: String,
        /// What the system said.
        message: String,
    },
    /// The two sides do not understand each other.
    #[error("protocol violation: {0}")]
    Protocol(String),
    /// Its user may not.
    #[error("uid {uid} may not {what}")]
    NotPermitted {
        /// The user.
        uid: u32,
        /// What it may not.
        what: String,
    },
}

/// A module or executable that could not be preloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[error("{module}: {fault} (at: {stage})")]
pub struct PreloadError {
    /// The module or executable, as the requester named it.
    pub module: String,
    /// How far it came.
    pub stage: Stage,
    /// What was wrong.
    pub fault: Fault,
}

/// Why the daemon did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Refusal {
    /// This peer may not.
    #[error("not permitted for uid {uid}: {why}")]
    NotPermitted {
        /// The peer's uid.
        uid: u32,
        /// The rule.
        why: String,
    },
    /// The request makes no sense.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// No such pool in this daemon; it may have been restarted.
    #[error("the daemon does not know this template pool; open it again")]
    UnknownPool,
    /// Nobody has that number.
    #[error("no such worker: {0}")]
    NoSuchWorker(String),
    /// Too many requests wait.
    #[error("{waiting} requests wait already, the limit is {limit}; retry later")]
    QueueFull {
        /// Requests that wait now.
        waiting: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many requests of this user wait: some are refused before the queue is full.
    #[error(
        "{waiting} requests of uid {uid} wait already, so this one was refused; retry in \
         {retry_after_ms} ms"
    )]
    TooBusy {
        /// The user.
        uid: u32,
        /// Requests of that user that wait.
        waiting: u64,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// This user's clients misbehaved or made templates fail, again and again.
    #[error("uid {uid} is refused for {retry_after_ms} ms more: {why}")]
    Penalised {
        /// The user.
        uid: u32,
        /// What was done last.
        why: String,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Too many clients.
    #[error("{limit} clients are connected, which is the limit; retry later")]
    TooManyClients {
        /// The limit.
        limit: u64,
    },
    /// No worker within the time that the client gave.
    #[error("no worker became free within {waited_ms} ms")]
    Deadline {
        /// How long the request waited.
        waited_ms: u64,
    },
    /// The client took the request back.
    #[error("cancelled by the client")]
    Cancelled,
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// The template cannot be built.
    #[error("template failed: {error}{}", retry_hint(*.retry_after_ms))]
    TemplateFailed {
        /// Why.
        error: PreloadError,
        /// When the daemon will try again, in milliseconds; `None` if only a reload can help.
        retry_after_ms: Option<u64>,
    },
    /// The template could not fork.
    #[error("the template cannot fork: {message} ({hint})")]
    ForkFailed {
        /// What the kernel said.
        message: String,
        /// What to look at.
        hint: String,
    },
    /// A reload that changed nothing.
    #[error("reload refused, everything is as it was: {0}")]
    ReloadFailed(String),
    /// The system refused.
    #[error("{call}: {message}")]
    System {
        /// The call that failed.
        call: String,
        /// What the system said.
        message: String,
    },
    /// Nobody here has that number.
    #[error("nothing is known about {0}: this daemon has no such worker, template or client")]
    NothingKnown(String),
    /// A limit for many workers together is reached, and the request did not, or may not, wait
    /// any longer.
    #[error("the limit `{limit} = {value}`, set in {set_in}, is reached{}", waited_hint(*.waited_ms))]
    LimitReached {
        /// Which limit, as the configuration calls it.
        limit: String,
        /// Its value.
        value: String,
        /// Where it was set.
        set_in: String,
        /// How long the request waited, in milliseconds.
        waited_ms: u64,
    },
    /// A client may limit a worker more than is configured, not less.
    #[error("`{limit} = {asked}` is looser than `{allowed}`, which is set in {set_in}")]
    LimitLoosened {
        /// Which limit, as the configuration calls it.
        limit: String,
        /// What was asked for.
        asked: String,
        /// The configured value.
        allowed: String,
        /// Where it was set.
        set_in: String,
    },
    /// Nothing on this machine can hold a limit.
    #[error("`{limit}` cannot be held: {why}")]
    LimitUnsupported {
        /// Which limit, as the configuration calls it.
        limit: String,
        /// What is missing.
        why: String,
    },
    /// Too many workers have died of this task, and nobody knows why.
    #[error(
        "task `{task}` is refused: {deaths} workers died of it within {} s; it may be tried again \
         in {retry_after_ms} ms", .window_ms.div_ceil(1000)
    )]
    Poisoned {
        /// The task.
        task: String,
        /// How many died.
        deaths: u32,
        /// Within this time, in milliseconds.
        window_ms: u64,
        /// When it is tried again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Some task of this template is refused for its deaths, so who leases must say for which.
    #[error("a task of this template is refused for its deaths: say which one the worker is for")]
    TaskUnnamed,
    /// An upgrade that changed nothing.
    #[error("upgrade refused, everything is as it was: {0}")]
    UpgradeFailed(String),
}

impl Refusal {
    /// When another attempt may be granted, for refusals that say so.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::TooBusy { retry_after_ms, .. } | Self::Penalised { retry_after_ms, .. } => {
                Some(std::time::Duration::from_millis(*retry_after_ms))
            }
            _ => None,
        }
    }
}

fn waited_hint(ms: u64) -> String {
    if ms == 0 { String::new() } else { format!("; waited {ms} ms") }
}

fn retry_hint(after_ms: Option<u64>) -> String {
    after_ms.map(|ms| format!("; next attempt in {ms} ms")).unwrap_or_default()
}

/// Why a worker did not run a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum JobError {
    /// No such task.
    #[error("unknown task `{name}`{}", near_hint(.near))]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// Several tasks end in that name.
    #[error("`{name}` is ambiguous: {}", .candidates.join(", "))]
    AmbiguousTask {
        /// What was asked for.
        name: String,
        /// The full names it could mean.
        candidates: Vec<String>,
    },
    /// Caller and module were compiled against different signatures.
    #[error(
        "`{task}` was called with another signature than the module's `{signature}`: build \
         client and module from the same source"
    )]
    SchemaMismatch {
        /// The task.
        task: String,
        /// The signature that the module has.
        signature: String,
    },
    /// Wrong number or types of arguments.
    #[error("bad arguments for `{signature}`: {reason}")]
    BadArguments {
        /// What the task takes.
        signature: String,
        /// What was wrong.
        reason: String,
    },
    /// The task does not speak that codec.
    #[error("`{task}` does not accept {codec} arguments")]
    UnsupportedCodec {
        /// The task.
        task: String,
        /// The codec.
        codec: String,
    },
    /// The result has no encoding.
    #[error("the result cannot be serialised: {0}")]
    Unserializable(String),
    /// The result is larger than what may travel, in bytes.
    #[error("the result exceeds the limit of {limit} bytes; put it in shared memory or a file")]
    ResultTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The result has more descriptors than may travel.
    #[error("the {count} descriptors in the result exceed the limit of {limit}")]
    TooManyFds {
        /// How many it has.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// The system did not let the descriptors of a job or of its result through.
    #[error("descriptors cannot travel: {0}")]
    Descriptors(String),
    /// The worker could not become what the requester asked for.
    #[error("cannot set up the worker ({step}): {message}")]
    Setup {
        /// Which step: `cwd`, `rlimit nofile`, `nice`, …
        step: String,
        /// What the system said.
        message: String,
    },
    /// A module's `after_fork` hook failed.
    #[error("an `after_fork` hook failed: {0}")]
    AfterFork(String),
    /// The job itself was malformed.
    #[error("protocol violation: {0}")]
    Protocol(String),
    /// A module that a spawned worker had to load first failed.
    #[error("preload failed: {0}")]
    Preload(PreloadError),
    /// The worker does not know the reducer of the job, or only another version of it.
    #[error("the worker does not know the reducer `{name}`; it knows {}", .known.join(", "))]
    UnknownReducer {
        /// The one of the job; a custom one as `name/version`.
        name: String,
        /// Those that the worker knows.
        known: Vec<String>,
    },
    /// The worker could not be confined as asked, so its task did not run.
    #[error("cannot confine the worker ({step}): {message}")]
    Sandbox {
        /// Which step: `landlock`, `seccomp`, `private network`, …
        step: String,
        /// What was wrong.
        message: String,
    },
    /// This system cannot confine the worker as asked, so its task did not run.
    #[error("this system cannot confine the worker ({step}): it lacks {needs} ({message})")]
    SandboxUnsupported {
        /// Which step.
        step: String,
        /// What the system would have to have.
        needs: String,
        /// What it said.
        message: String,
    },
    /// The job asks for more freedom than the daemon's configuration leaves.
    #[error("`{key}` in the daemon's configuration confines this worker: {message}")]
    SandboxForced {
        /// The key.
        key: String,
        /// What the job asked for.
        message: String,
    },
}

fn near_hint(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}
