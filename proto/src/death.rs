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
    /// Its client sent it a signal.
    Client,
    /// A signal that nobody here sent: a person's, or another program's.
    Unknown,
}

/// Signals that a process sends itself by what it does wrong: `SIGILL`, `SIGTRAP`, `SIGABRT`,
/// `SIGBUS`, `SIGFPE`, `SIGSEGV`, `SIGSYS`.
const FAULTS: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;

impl Cause {
    /// What the end of a process says by itself, if nobody says anything else.
    #[must_use]
    pub fn of_record(record: &ExitRecord) -> Self {
        match record.signal() {
            None => Self::Itself,
            Some(signal) if FAULTS.contains(&signal) => Self::Itself,
            Some(SIGXCPU) => Self::Limit(LimitKind::CpuTime),
            Some(SIGKILL) if record.out_of_cpu => Self::Limit(LimitKind::CpuTime),
            Some(SIGXFSZ) => Self::Limit(LimitKind::FileSize),
            Some(_) => Self::Unknown,
        }
    }

    /// What to say of it after how the process ended, if there is anything to say.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        Some(match self {
            Self::Itself => return None,
            Self::Limit(kind) => format!("it went past its limit ({kind})"),
            Self::Oom => "the kernel was out of memory and chose it".to_owned(),
            Self::Operator { uid, pid } => {
                format!("an operator (uid {uid}, pid {pid}) asked for it")
            }
            Self::ClientGone => "its client is gone".to_owned(),
            Self::DaemonStop => "the daemon was stopped".to_owned(),
            Self::Deadline => "its deadline had passed".to_owned(),
            Self::Client => "its client asked for it".to_owned(),
            Self::Unknown => "nobody says who sent that".to_owned(),
        })
    }

    /// A word for programs: the label of a metric, the value of a filter.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Itself => "itself",
            Self::Limit(LimitKind::Memory) => "limit-memory",
            Self::Limit(LimitKind::CpuTime) => "limit-cpu-time",
            Self::Limit(LimitKind::WallTime) => "limit-wall-time",
            Self::Limit(LimitKind::FileSize) => "limit-file-size",
            Self::Limit(LimitKind::Pids) => "limit-pids",
            Self::Oom => "oom",
            Self::Operator { .. } => "operator",
            Self::ClientGone => "client-gone",
            Self::DaemonStop => "daemon-stop",
            Self::Deadline => "deadline",
            Self::Client => "client",
            Self::Unknown => "unknown",
        }
    }
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
            Self::Client => f.write_str("its client"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What a worker says of its own end, before it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Foreseen {
    /// Its deadline has passed.
    Deadline,
    /// Its client is gone, and it ends with it.
    ClientGone,
}

/// What a worker said about itself on its template's board, before it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct LastWords {
    /// Name of its task, as [`short_task`] gives it; empty if it never got one.
    pub task: String,
    /// Name of the process, its beginning if it is long.
    pub name: String,
    /// The trace that the task belongs to.
    pub trace: Option<TraceId>,
    /// When it got its task, milliseconds since the epoch; zero if it never did.
    pub began_ms: u64,
    /// Why it was about to end, if it knew.
    pub foreseen: Option<Foreseen>,
    /// Whether its task was over, and the outcome on its way.
    pub finished: bool,
    /// How many tasks it has begun since it got its job: a worker of a pool runs one after another.
    pub round: u32,
    /// The most private memory that was measured, KiB.
    pub peak_private_kib: Option<u64>,
    /// What its last panic said, its beginning if that is long.
    #[serde(default)]
    pub panic: Option<String>,
}

/// Lines of standard error that a certificate has at most, the last ones.
pub const STDERR_LINES_MAX: usize = 20;
/// Bytes of each of them.
pub const STDERR_LINE_BYTES_MAX: usize = 256;

/// Bytes of a task's name that a board, and whoever counts deaths by task, has room for.
pub const TASK_BYTES_MAX: usize = 128;

/// The end of a task's name, which says more than its beginning.
///
/// ```
/// use mpserverd_proto::death::{TASK_BYTES_MAX, short_task};
/// assert_eq!(short_task("thumbs::resize"), "thumbs::resize");
/// assert_eq!(short_task(&"é".repeat(100)).len(), TASK_BYTES_MAX);
/// ```
#[must_use]
pub fn short_task(name: &str) -> &str {
    let mut from = name.len().saturating_sub(TASK_BYTES_MAX);
    while !name.is_char_boundary(from) {
        from += 1;
    }
    &name[from..]
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
    /// The last lines that it wrote to stderr, where the daemon caught them; otherwise what its
    /// last panic said, if there was one.
    pub stderr: Vec<String>,
}

/// Which certificates are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct DeathsQuery {
    /// Those with higher numbers than this.
    pub after: u64,
    /// So many at most, the latest.
    pub limit: u32,
    /// That of this worker.
    pub worker: Option<WorkerId>,
    /// Those with causes of this [key](Cause::key); a limit's also by `limit` alone.
    pub cause: Option<String>,
}

impl DeathsQuery {
    /// Whether a certificate is asked for.
    #[must_use]
    pub fn wants(&self, number: u64, certificate: &Certificate) -> bool {
        let is_cause = |wanted: &String| {
            let limit = wanted == "limit" && matches!(certificate.cause, Cause::Limit(_));
            limit || wanted == certificate.cause.key()
        };
        number > self.after
            && self.worker.is_none_or(|worker| worker == certificate.worker)
            && self.cause.as_ref().is_none_or(is_cause)
    }
}

/// A certificate with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Death {
    /// Number of the death, from 1 on, since the daemon started.
    pub number: u64,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Certificates, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct DeathsReport {
    /// One each.
    pub rows: Vec<Death>,
    /// Earlier ones that were asked for and are beyond the limit.
    pub left_out: u64,
    /// Number of the last death there was: what to ask after next time.
    pub last: u64,
    /// Up to here certificates are forgotten.
    pub forgotten: u64,
}
