//! What can go wrong with a pool, and with one task of it.

use crate::codec::CodecError;
use crate::error::{Ending, StartError, TimeoutError, because};
use crate::shared::ShareError;
use mpserverd_proto::death::Cause;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Panic;
use std::io;
use std::time::Duration;

/// Why a pool could not be made, or does not take what it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool of no process would never do anything.
    #[error("a pool needs at least one process")]
    NoProcesses,
    /// The system, or the pool itself, does not allow so many.
    #[error("a pool of {asked} processes is refused: {limit} allows {most}")]
    TooManyProcesses {
        /// How many were asked for.
        asked: usize,
        /// How many there may be.
        most: u64,
        /// What limits them: `RLIMIT_NPROC`, `RLIMIT_NOFILE`, `pids.max`, or the pool itself.
        limit: &'static str,
    },
    /// An option that cannot be.
    #[error("invalid option: {0}")]
    Invalid(String),
    /// The first worker could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The memory that the pool shares with its workers could not be made.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// It was closed: it takes no more tasks.
    #[error("the pool is closed: it takes no more tasks")]
    Closed,
    /// It was terminated.
    #[error("the pool was terminated")]
    Terminated,
    /// Its workers do not come up any more.
    #[error("the pool is broken: its workers failed {attempts} times in a row: {reason}")]
    Broken {
        /// How often it was tried.
        attempts: u32,
        /// What the last one said.
        reason: String,
    },
    /// `join` before `close` or `terminate`: it would wait for ever.
    #[error("a pool is joined after `close` or `terminate`: this one still takes tasks")]
    StillOpen,
    /// The wait ended first.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    /// The arguments have no encoding.
    #[error("the arguments cannot be serialised: {0}")]
    Unserializable(String),
    /// The arguments are larger than what may travel, in bytes.
    #[error("the arguments exceed the limit of {limit} bytes; pass shared memory or a file")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The system refused.
    #[error("{call}: {source}")]
    System {
        /// The call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl PoolError {
    pub(crate) fn system(call: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { call, source }
    }
}

impl From<CodecError> for PoolError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::TooLarge { limit } => Self::TooLarge { limit },
            other => Self::Unserializable(other.to_string()),
        }
    }
}

/// Why a task gave no result. What the task itself returned, an `Err` too, is a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskFailure {
    /// The worker that ran it ended before it returned.
    #[error(
        "worker {pid} {ending}{} before the task returned (attempt {attempts}){}{}",
        if *.oom { " for want of memory" } else { "" }, because(.cause), tail(.stderr)
    )]
    WorkerLost {
        /// The worker's pid.
        pid: u32,
        /// How it ended.
        ending: Ending,
        /// Who caused it, where that is known.
        cause: Option<Cause>,
        /// Whether the kernel killed it for want of memory.
        oom: bool,
        /// The last lines that it wrote to its standard error.
        stderr: Vec<String>,
        /// How often the task was tried.
        attempts: u32,
    },
    /// It ran longer than it may; its worker was asked to stop, and killed if it did not.
    #[error("its deadline of {0:?} passed")]
    DeadlineExceeded(Duration),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// It panicked.
    #[error(
        "the task panicked{}: {}",
        .0.location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default(), .0.message
    )]
    Panicked(Panic),
    /// It never ran, or its result could not travel.
    #[error(transparent)]
    Rejected(#[from] JobError),
    /// The result does not decode. Here are its bytes.
    #[error("the result, of {} bytes, cannot be decoded: {source}", .bytes.len())]
    Undecodable {
        /// What its `Deserialize` said.
        source: CodecError,
        /// The result.
        bytes: Vec<u8>,
    },
    /// This input has no encoding, or is too large.
    #[error("the input cannot be serialised: {0}")]
    Unserializable(String),
    /// The iterator of the inputs panicked in place of giving this one.
    #[error("the iterator of the inputs panicked: {}", .0.message)]
    InputPanicked(Panic),
    /// It could not be sent to a worker.
    #[error("it could not be sent to a worker: {0}")]
    Undeliverable(String),
    /// The wait ended first; the task goes on.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    /// The pool did not take it, or did not live to see its end.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl TaskFailure {
    /// Whether the worker that ran it was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::WorkerLost { .. })
    }

    /// Whether only the wait ended.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

fn tail(stderr: &[String]) -> String {
    if stderr.is_empty() {
        return String::new();
    }
    format!("; it wrote last:\n  {}", stderr.join("\n  "))
}

/// Why a map gave no list: the first input, in order, that has no result.
#[derive(Debug, thiserror::Error)]
#[error("input {index}: {error}")]
pub struct MapError {
    /// Its place among the inputs, from 0.
    pub index: u64,
    /// What happened to it.
    #[source]
    pub error: TaskFailure,
}

/// `successful` was asked before there was a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task has not ended yet")]
pub struct NotReady;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_worker_tells_how_and_what_it_said() {
        let lost = TaskFailure::WorkerLost {
            pid: 7,
            ending: Ending::Unknown,
            cause: Some(Cause::Operator { uid: 0, pid: 4711 }),
            oom: true,
            stderr: vec!["first".into(), "second".into()],
            attempts: 2,
        };
        let text = lost.to_string();
        assert!(text.contains("worker 7") && text.contains("want of memory"), "{text}");
        assert!(text.contains("an operator (uid 0, pid 4711) asked for it"), "{text}");
        assert!(text.contains("attempt 2") && text.ends_with("first\n  second"), "{text}");
        assert!(lost.is_lost() && !lost.is_timeout());
    }
}
