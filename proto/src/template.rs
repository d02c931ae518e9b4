//! What daemon and template say to each other, over a socket pair that the template inherits.

use crate::bounds::Birth;
use crate::death::LastWords;
use crate::error::PreloadError;
use crate::ids::{PoolId, TemplateId, WorkerId};
use crate::report::TaskInfo;
use crate::sandbox::Forced;
use crate::status::ExitRecord;
use serde::{Deserialize, Serialize};

/// What to do about a module that cannot be preloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum OnPreloadError {
    /// Go on without it, silently but for the module table.
    Ignore,
    /// Go on without it and log a warning.
    #[default]
    Warn,
    /// Fail the template.
    Fail,
}

/// A module to load: its name as requested, and the file that was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ModulePath {
    /// As requested.
    pub name: String,
    /// The file, as bytes of a path.
    pub path: Vec<u8>,
}

/// The first message to a template. It comes with one descriptor, the memory of its board, or
/// without where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct TemplateBoot {
    /// Its id.
    pub template: TemplateId,
    /// What it is built for.
    pub pool: PoolId,
    /// Key of that in words that survive a restart of the daemon; sent back when re-attaching.
    pub key: Vec<u8>,
    /// Generation of the configuration.
    pub generation: u32,
    /// Name for people.
    pub name: String,
    /// Modules to load, in this order.
    pub modules: Vec<ModulePath>,
    /// The daemon's socket, to re-attach to the next daemon.
    pub socket: Vec<u8>,
    /// How long it stays without a daemon and without workers, in milliseconds.
    pub orphan_grace_ms: u64,
    /// How long the canary fork may take, in milliseconds.
    pub canary_ms: u64,
    /// What confines every worker of it, whatever its job says.
    pub sandbox: Vec<Forced>,
    /// What its workers limit themselves by.
    pub birth: Birth,
    /// Whether the daemon catches the standard error of its workers.
    pub catch_stderr: bool,
}

/// Who a template is to become before anything of the user's is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Assume {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Name for people.
    pub name: String,
    /// Environment of its program: `KEY=VALUE`, each ended by a NUL byte.
    #[serde(with = "serde_bytes")]
    pub environment: Vec<u8>,
}

/// What the daemon tells a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum ToTemplate {
    /// Fork spares with these consecutive ids.
    Fork {
        /// Id of the first.
        first: WorkerId,
        /// How many.
        count: u16,
    },
    /// Fork no more; exit when the last worker has ended.
    Retire,
    /// Kill all workers, report them and exit.
    Stop,
    /// Report memory now.
    Measure,
    /// Remember who has these workers, for the next daemon. It is told along with other orders, so
    /// that it wakes nobody by itself.
    Leased(Vec<Lessee>),
}

/// Who has a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Lessee {
    /// The worker.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// Pid of the client.
    pub client_pid: u32,
    /// User of the client.
    pub client_uid: u32,
}

/// Memory of a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Memory {
    /// Resident, KiB.
    pub rss_kib: u64,
    /// Resident and its own, KiB: what a fork shares copy-on-write.
    pub private_kib: u64,
    /// On huge pages, KiB.
    pub huge_kib: u64,
    /// What the last fork took, in microseconds.
    pub fork_us: u64,
}

/// One module of a template, loaded or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ModuleReport {
    /// As requested.
    pub name: String,
    /// As the module calls itself.
    pub title: String,
    /// Version of the module.
    pub version: String,
    /// Its file.
    pub path: String,
    /// Its tasks.
    pub tasks: Vec<TaskInfo>,
    /// Time to load and initialise, microseconds.
    pub load_us: u64,
    /// Memory that loading it added, KiB.
    pub added_kib: u64,
    /// Why it is not there, if it is not.
    pub error: Option<PreloadError>,
}

/// A spare that was just forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Spare {
    /// The id that the daemon chose.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// Its place on the template's board, if there was one left.
    pub slot: Option<u32>,
    /// Whether the read end of its standard error comes along, as its last descriptor.
    pub stderr: bool,
}

/// A worker that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Ended {
    /// Which.
    pub worker: WorkerId,
    /// How.
    pub record: ExitRecord,
    /// What stood on the board; the slot may be another worker's by now.
    pub last: Option<LastWords>,
}

/// A worker that ended while no daemon was there, or just before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Missed {
    /// Which.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// How.
    pub record: ExitRecord,
    /// What stood on the board.
    pub last: Option<LastWords>,
    /// When, milliseconds since the epoch.
    pub ended_ms: u64,
    /// Who had it, as far as the earlier daemon has said so.
    pub lessee: Option<Lessee>,
    /// The last bytes that it wrote to its standard error, if that is caught.
    #[serde(with = "serde_bytes")]
    pub stderr: Vec<u8>,
}

/// What a worker wrote to its standard error while no daemon was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Heard {
    /// Which.
    pub worker: WorkerId,
    /// The last bytes of it.
    #[serde(with = "serde_bytes")]
    pub stderr: Vec<u8>,
}

/// What a template tells the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum FromTemplate {
    /// The program reached `freeze_support()`.
    Hello {
        /// Newest protocol version that it speaks.
        version: u16,
        /// Its pid.
        pid: u32,
    },
    /// It now works on this module (a death is blamed on it).
    Loading {
        /// Name of the module, or of the executable.
        module: String,
        /// What it does to it.
        stage: crate::error::Stage,
    },
    /// It is ready to fork.
    Ready {
        /// Its modules, the program itself first.
        modules: Vec<ModuleReport>,
        /// Its memory.
        memory: Memory,
    },
    /// It is not; it exits after this message.
    Failed(PreloadError),
    /// New spares; each comes with
    /// [`FDS_PER_SPARE`](crate::limits::FDS_PER_SPARE) descriptors (job socket, read end and write
    /// end of the status pipe, pidfd), and one more where its standard error is caught.
    Spares(Vec<Spare>),
    /// It could not fork as many as it was asked for.
    ForkFailed {
        /// How many are missing.
        missing: u16,
        /// `errno`.
        errno: i32,
    },
    /// Workers that ended.
    Ended(Vec<Ended>),
    /// Its memory, as asked.
    Memory(Memory),
    /// Workers that it has, told to a daemon that it attaches to; each comes with a pidfd and the
    /// write end of its status pipe, and one more where its standard error is caught.
    Adopt(Vec<Spare>),
    /// Who has them, as far as the earlier daemon has said so.
    Leases(Vec<Lessee>),
    /// What they wrote to their standard errors while there was no daemon.
    Heard(Vec<Heard>),
    /// Workers that ended while there was no daemon, or shortly before.
    Missed {
        /// The last ones.
        deaths: Vec<Missed>,
        /// How many more there were.
        forgotten: u64,
    },
}

/// What a template says to the next daemon, in place of a client's first request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Attach {
    /// What it was told when it booted.
    pub boot: TemplateBoot,
    /// Its pid; the peer credentials must agree.
    pub pid: u32,
    /// Its modules.
    pub modules: Vec<ModuleReport>,
    /// Its memory.
    pub memory: Memory,
    /// It was told to retire: it comes for its workers' sake alone.
    pub retiring: bool,
}
