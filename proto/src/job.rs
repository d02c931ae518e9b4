//! What a client sends to a worker, and what comes back.
//!
//! The body of both packets is `header length: u32 LE`, the encoded header, then the payload
//! (arguments or result) to the end. The payload is never copied through the header's codec.

use crate::codec::{self, CodecError};
use crate::error::JobError;
use crate::limits::JOB_HEADER_BYTES_MAX;
use crate::sandbox::{Asked, Sandbox};
use crate::trace::TraceId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use crate::reducer::Codec;

/// The signal that ends a worker only while it waits for a job (Linux's highest number): no job
/// comes to it any more, and it exits with code 0. One that has a job, or to which one is on its way,
/// does not mind.
///
/// A daemon that stops sends it, so that leases which clients took in advance do not keep it; after a
/// change of what confines workers, so that no start comes later and is confined as before; and a
/// while after a template was retired, so that they do not keep that.
pub const END_IF_IDLE: i32 = 64;

/// A client asks for a lease in advance when the start before was so recent, and uses it while it is.
/// What is older the daemon calls off, where the template was retired.
pub const AHEAD: Duration = Duration::from_secs(1);

/// What becomes of a worker whose client dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum OnParentDeath {
    /// It is killed at once.
    Kill,
    /// It finishes its task.
    #[default]
    Finish,
}

/// Which descriptors of the job are what: slots in the order they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Slots {
    /// The working directory.
    pub cwd: Option<u16>,
    /// Standard input; `/dev/null` without.
    pub stdin: Option<u16>,
    /// Standard output; `/dev/null` without.
    pub stdout: Option<u16>,
    /// Standard error; `/dev/null` without.
    pub stderr: Option<u16>,
    /// Whether that is the requester's own, because it asked for nothing else. A worker whose
    /// standard error is caught keeps its own then.
    pub inherits_stderr: bool,
    /// The requester's pidfd.
    pub parent: Option<u16>,
    /// The memory that takes log records.
    pub log: Option<u16>,
    /// First descriptor that was passed by itself or belongs to the arguments; all further ones
    /// do too.
    pub first_user: u16,
    /// How many of the last descriptors belong to handles in the arguments, in the order of their
    /// slots there.
    pub handles: u16,
    /// How many descriptors come in total, those of following packets included.
    pub total: u16,
}

/// One resource limit, as for `setrlimit(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Rlimit {
    /// The kernel's number of the resource.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
    /// Whether it was asked for: failing to set it fails the job. An inherited limit is set as
    /// far as the system allows.
    pub strict: bool,
}

/// What the worker is to be before the task runs. `None` leaves what the template has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Setup {
    /// The whole environment: `KEY=VALUE` entries, each ended by a NUL byte.
    #[serde(with = "serde_bytes")]
    pub environment: Option<Vec<u8>>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Nice value, absolute.
    pub nice: Option<i32>,
    /// Whether the nice value was asked for, not just inherited.
    pub nice_strict: bool,
    /// CPU affinity mask, 64 CPUs a word.
    pub affinity: Option<Vec<u64>>,
    /// Whether the affinity was asked for, not just inherited.
    pub affinity_strict: bool,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Wall-clock limit of the task, in milliseconds from its start.
    pub deadline_ms: Option<u64>,
    /// How long after its limit it may take to end by itself, in milliseconds: it is sent `SIGTERM`
    /// at the limit and killed then. Without, it is killed at the limit.
    pub grace_ms: u64,
}

/// Who the worker is, in the terms of `multiprocessing`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Identity {
    /// Process name, `Process-1:2` by default.
    pub name: String,
    /// Counter of each ancestor and its own: `[1, 2]`.
    pub numbers: Vec<u32>,
    /// The daemon flag.
    pub daemon: bool,
    /// Authentication key, inherited by descendants. Never printed.
    #[serde(with = "serde_bytes")]
    pub authkey: Vec<u8>,
    /// Name of the requesting process.
    pub parent_name: String,
    /// Pid of the requesting process, in the requester's pid namespace.
    pub parent_pid: u32,
    /// Start method that the requester used: `fork`, `spawn` or `forkserver`.
    pub start_method: String,
    /// Arguments of the requester's command line, each ended by a NUL byte.
    #[serde(with = "serde_bytes")]
    pub argv: Vec<u8>,
    /// Socket of the daemon that the worker's own processes shall use.
    #[serde(with = "serde_bytes")]
    pub socket: Option<Vec<u8>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("numbers", &self.numbers)
            .field("daemon", &self.daemon)
            .field("parent_pid", &self.parent_pid)
            .field("start_method", &self.start_method)
            .finish_non_exhaustive()
    }
}

/// What becomes of a worker's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Log {
    /// The most verbose level that is wanted: 0 nothing, 1 errors, to 5 everything.
    pub level: Option<u8>,
    /// The object that takes the records, in the memory whose descriptor is
    /// [`log`](Slots::log); empty without.
    #[serde(with = "serde_bytes")]
    pub memory: Vec<u8>,
}

/// What a host tells a Rust module that it has loaded, whose copy of the client library would know
/// nothing of the process otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Host {
    /// Who the process is.
    pub identity: Identity,
    /// Number of the descriptor that is the requester's pidfd; it belongs to the host.
    pub parent_fd: Option<i32>,
    /// The trace that its job belongs to.
    pub trace: Option<TraceId>,
    /// Modules of the host, by path: what processes that the module starts load too.
    pub modules: Vec<String>,
    /// What becomes of the log.
    pub log: Log,
    /// Number of the descriptor that is the memory for log records; it belongs to the host.
    pub log_fd: Option<i32>,
    /// What confines the process, and those that the module starts by the daemon.
    pub sandbox: Vec<Sandbox>,
}

/// One job: the task and everything about the process that runs it, but the arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Job {
    /// Name of the task.
    pub task: String,
    /// Hash of the signature that the caller was compiled against.
    pub schema: u64,
    /// Encoding of arguments and result.
    pub codec: Codec,
    /// Who the worker is.
    pub identity: Identity,
    /// What it is to be.
    pub setup: Setup,
    /// What it may do.
    pub sandbox: Asked,
    /// What becomes of it when the requester dies.
    pub on_parent_death: OnParentDeath,
    /// What becomes of its log.
    pub log: Log,
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// Which descriptor is what.
    pub slots: Slots,
}

/// A panic, as seen where it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Panic {
    /// The message.
    pub message: String,
    /// `file:line:column`.
    pub location: Option<String>,
    /// The backtrace, if the worker's environment asks for one (`RUST_BACKTRACE`).
    pub backtrace: Option<String>,
}

/// How a task ended. Those with a value carry it as the packet's payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Outcome {
    /// It returned; the payload is the value (inside the `Ok`, if it returns a `Result`).
    Returned,
    /// It returned an `Err`; the payload is the error's value.
    Failed {
        /// The error as text.
        message: String,
    },
    /// It panicked.
    Panicked(Panic),
    /// It never ran, or its result could not travel.
    Rejected(JobError),
    /// Its deadline passed; the worker kills itself after saying so.
    DeadlineExceeded {
        /// The deadline, in milliseconds.
        limit_ms: u64,
    },
}

/// The header of an outcome's packet: how the task ended, and what came out with it.
///
/// One in place of further descriptors takes back the one before, whose descriptors the worker
/// could not send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// How many descriptors come in total, those of following packets included: the handles in
    /// the payload, in the order of their slots there.
    pub handles: u16,
}

/// How a spawned worker boots: what its template would have loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct WorkerBoot {
    /// Modules to load, by resolved path.
    pub modules: Vec<String>,
    /// What to do about one that fails.
    pub on_error: crate::template::OnPreloadError,
}

/// Writes the part of a body that stands before the payload.
///
/// # Errors
/// [`CodecError`] when the header is too large.
pub fn head<T: Serialize>(header: &T) -> Result<Vec<u8>, CodecError> {
    let encoded = codec::encode(header)?;
    let length = u32::try_from(encoded.len())
        .map_err(|_| CodecError::TooLarge { limit: JOB_HEADER_BYTES_MAX as u64 })?;
    let mut bytes = Vec::with_capacity(4 + encoded.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&encoded);
    Ok(bytes)
}

/// Splits a body into its header and its payload.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn split<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let short = || CodecError::Malformed("body shorter than its header".into());
    let (length, rest) = body.split_first_chunk::<4>().ok_or_else(short)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > JOB_HEADER_BYTES_MAX {
        return Err(CodecError::TooLarge { limit: JOB_HEADER_BYTES_MAX as u64 });
    }
    let (header, payload) = rest.split_at_checked(length).ok_or_else(short)?;
    Ok((codec::decode(header)?, payload))
}
