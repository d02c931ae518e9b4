//! What can go wrong, and whose fault it is.
//!
//! The family is that of `multiprocessing`: everything converts into [`ProcessError`];
//! [`TimeoutError`], [`BufferTooShort`] and [`AuthenticationError`] are types of their own, so
//! that a function that can only time out says so.

use mpserverd_proto::death::Cause;
use mpserverd_proto::error::{JobError, PreloadError, Refusal};
use mpserverd_proto::hello::HelloError;
use mpserverd_proto::job::Panic;
use mpserverd_proto::status::ExitRecord;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A wait that ended before what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out after {:?}", .0)]
pub struct TimeoutError(
    /// How long it waited.
    pub Duration,
);

/// A message did not fit the buffer given for it; the message is not lost.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("buffer too short for a message of {} bytes", .0.len())]
pub struct BufferTooShort(
    /// The whole message.
    pub Vec<u8>,
);

impl fmt::Debug for BufferTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferTooShort({} bytes)", self.0.len())
    }
}

/// The other side does not know the key, or we do not know theirs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed: {0}")]
pub struct AuthenticationError(
    /// What was wrong.
    pub String,
);

/// Why the daemon is of no use just now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Nobody listens there.
    #[error("no mpserverd answers at {}: {source}; start one with `mpserverd`", .path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody listens there who must not be trusted.
    #[error(
        "{} belongs to uid {uid}, not to this user or root; if that is meant, set \
         MPSERVERD_TRUST_UID={uid}", .path.display()
    )]
    Untrusted {
        /// The socket.
        path: PathBuf,
        /// Who listens.
        uid: u32,
    },
    /// The daemon is of another version.
    #[error(transparent)]
    Version(#[from] HelloError),
    /// The daemon did not answer in time.
    #[error("the daemon did not answer: {0}")]
    Timeout(#[from] TimeoutError),
    /// The connection broke.
    #[error("connection to the daemon lost: {0}")]
    Lost(io::Error),
    /// The daemon said something that makes no sense.
    #[error("protocol violation by the daemon: {0}")]
    Protocol(String),
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl DaemonError {
    /// Whether another attempt, with a new connection or without a daemon, can help: nothing was
    /// refused, the daemon is just not there (any more).
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::Lost(_))
            || matches!(self, Self::Refused(Refusal::ShuttingDown))
    }

    /// When another attempt may be granted, if the daemon refused this one for the moment only:
    /// too many requests of this user wait, or his clients misbehaved.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after(),
            _ => None,
        }
    }
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `freeze_support()` has not been called, so this program cannot be its own worker.
    #[error(
        "this program has not called `freeze_support()`: call it first in `main` (in a test \
         crate, write `mp::enable_in_tests!();` once at the top)"
    )]
    NoFreezeSupport,
    /// The arguments have no encoding.
    #[error("the arguments cannot be serialised: {0}")]
    Unserializable(String),
    /// The arguments are larger than what may travel, in bytes.
    #[error("the arguments exceed the limit of {limit} bytes; pass shared memory or a file")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More descriptors than one job may carry.
    #[error("{count} descriptors exceed the limit of {limit} a process")]
    TooManyFds {
        /// How many were passed.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Other threads would not exist in the child, and their locks would stay locked.
    #[error(
        "this process has {count} threads ({}), and `fork` copies only one: use forkserver or \
         spawn, or allow it with `allow_threads(true)`", .names.join(", ")
    )]
    ForkWithThreads {
        /// How many threads there are.
        count: usize,
        /// Their names.
        names: Vec<String>,
    },
    /// A closure exists in this process only, so that only a copy of it can run one.
    #[error("`{method}` cannot run a closure, only `fork` can: write a `#[task]` function")]
    ClosureNeedsFork {
        /// The context's start method.
        method: &'static str,
    },
    /// No worker within the time that the caller gave.
    #[error("no worker came up within {0:?}")]
    Timeout(Duration),
    /// The daemon could not help, and the context's policy does not spawn instead.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A module could not be preloaded and the context's policy is `Fail`.
    #[error("preload failed: {0}")]
    Preload(#[from] PreloadError),
    /// A name that is too long or contains a NUL byte, a closed descriptor, and the like.
    #[error("invalid option: {0}")]
    Invalid(String),
    /// This platform has no such start method (yet).
    #[error("{0} is not supported on this platform")]
    Unsupported(&'static str),
    /// The system refused.
    #[error("{call}: {source}")]
    System {
        /// The call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    #[cfg(target_os = "linux")]
    pub(crate) fn system(call: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { call, source }
    }
}

/// How a process ended without giving a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended so.
    Known(ExitRecord),
    /// It is gone, but nobody is left who saw how.
    Unknown,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(record) => match record.signal() {
                Some(signal) => write!(f, "was killed by signal {signal}"),
                None => write!(f, "exited with code {}", record.code),
            },
            Self::Unknown => f.write_str(
                "ended, but its template and the daemon died before they could tell how",
            ),
        }
    }
}

/// Why a process gave no result: the root of the family.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The wait ended first.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    /// The task panicked.
    #[error("the task panicked{}: {}", place(.0), .0.message)]
    Panicked(Panic),
    /// A task called by name returned an error.
    #[error("the task failed: {message}")]
    Failed {
        /// The error as text.
        message: String,
    },
    /// The task never ran, or its result could not travel.
    #[error(transparent)]
    Rejected(#[from] JobError),
    /// Its deadline passed; it was killed.
    #[error("killed: its deadline of {0:?} passed")]
    DeadlineExceeded(Duration),
    /// The process ended before its task did.
    #[error("process {pid} {ending} before its task returned{}{}", because(.cause), words(.stderr))]
    Died {
        /// Its pid.
        pid: u32,
        /// How.
        ending: Ending,
        /// Who caused it, where that is known.
        cause: Option<Cause>,
        /// The last lines that it wrote to its standard error, where the daemon catches them
        /// (`catch_stderr`); otherwise what its last panic said, if it had a daemon.
        stderr: Vec<String>,
    },
    /// The result does not decode.
    #[error("the result cannot be decoded: {0}")]
    Undecodable(String),
    /// The result came with more descriptors than this process has room for, and they were lost.
    #[error(
        "the result has more descriptors than this process has room for (it may have {limit}): \
         raise RLIMIT_NOFILE (`ulimit -n`)"
    )]
    DescriptorsLost {
        /// How many descriptors this process may have.
        limit: u64,
    },
    /// The result was taken before.
    #[error("the result of this process has been taken already")]
    Taken,
    /// The peer's message did not fit.
    #[error(transparent)]
    BufferTooShort(#[from] BufferTooShort),
    /// The peer does not know the key.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The system refused.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Who caused an end, to be said after it.
pub(crate) fn because(cause: &Option<Cause>) -> String {
    let words = cause.as_ref().and_then(Cause::in_words);
    words.map(|words| format!(": {words}")).unwrap_or_default()
}

/// Lines in an error's text at most, the last ones: the others are in the error.
const WORDS_MAX: usize = 3;

/// What it said last, to be said after all else.
fn words(lines: &[String]) -> String {
    let last = &lines[lines.len().saturating_sub(WORDS_MAX)..];
    if last.is_empty() { String::new() } else { format!("; last it said: {}", last.join(" | ")) }
}

fn place(panic: &Panic) -> String {
    panic.location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default()
}

/// Misuse of a context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The start method can be set once.
    #[error("the start method has been set already; use `force` to change it")]
    AlreadySet,
    /// A concrete context has one start method for ever.
    #[error("a concrete context has a fixed start method")]
    Fixed,
    /// No such start method here.
    #[error("cannot find a context for `{0}`; there are: {1}")]
    UnknownMethod(String, String),
    /// A list of modules that no template could load.
    #[error("cannot preload {0:?}: {1}")]
    Preload(
        /// The name at fault, or the first one too many.
        String,
        /// What is wrong with it.
        String,
    ),
}
