//! Why a worker ended: the certificate that is written for each, and who is named in it.

use crate::ids::{TemplateId, WorkerId};
use crate::status::ExitRecord;
use crate::trace::TraceId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A limit that a worker can run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// Private memory.
    Memory,
    /// Time on the CPU.
    CpuTime,
    /// Time on the wall.
    WallTime,
    /// Size of a file.
    FileSize,
    /// Processes and threads.
    Pids,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::CpuTime => "CPU time",
            Self::WallTime => "wall-clock time",
            Self::FileSize => "file size",
            Self::Pids => "number of processes",
        })
    }
}

/// Who caused a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It did it itself: returned, exited, or ran into a fault of its own.
    Itself,
    /// It went past a limit, and was ended for it.
    Limit(LimitKind),
    /// The kernel needed memory and chose it.
    Oom,
    /// Somebody asked the daemon to send it a signal.
    Operator {
        /// Who.
        uid: u32,
        /// From which process.
        pid: u32,
    },
    /// Its client is gone, and it was not to outlive it.
    ClientGone,
    /// The daemon was stopped, and its workers with it.
    DaemonStop,
    /// The deadline that its client gave it had passed.
    Deadline,
    /// A signal that nobody here sent: a person's, or another program's.
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("itself"),
            Self::Limit(kind) => write!(f, "limit: {kind}"),
            Self::Oom => f.write_str("out of memory"),
            Self::Operator { uid, pid } => write!(f, "operator (uid {uid}, pid {pid})"),
            Self::ClientGone => f.write_str("its client is gone"),
            Self::DaemonStop => f.write_str("stop of the daemon"),
            Self::Deadline => f.write_str("deadline"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// How and why one worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Certificate {
    /// Its id.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// The user that it ran as.
    pub uid: u32,
    /// The template process that forked it.
    pub template: TemplateId,
    /// Name of that template.
    pub template_name: String,
    /// Generation of the configuration that it was forked under.
    pub generation: u32,
    /// The task that it ran last, where it said so.
    pub task: Option<String>,
    /// The trace that it belonged to.
    pub trace: Option<TraceId>,
    /// Pid of the client that had leased it.
    pub client_pid: Option<u32>,
    /// When it ended, milliseconds since the epoch.
    pub ended_ms: u64,
    /// How long its client had it, milliseconds.
    pub lived_ms: u64,
    /// How it ended, and what it used.
    pub record: ExitRecord,
    /// Who caused it.
    pub cause: Cause,
    /// The most private memory that was measured, KiB; `None` where nothing was measured.
    pub peak_private_kib: Option<u64>,
    /// The last lines that it wrote to stderr, where the daemon could see them.
    pub stderr: Vec<String>,
}
