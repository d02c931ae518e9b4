//! The tables behind `mpctl status`, `ps` and `modules`.

use crate::ids::{TemplateId, WorkerId};
use crate::template::{Memory, ModuleReport};
use serde::{Deserialize, Serialize};

/// A task, as its module describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct TaskInfo {
    /// Full name.
    pub name: String,
    /// Signature for people: `(path: PathBuf, width: u32) -> io::Result<u64>`.
    pub signature: String,
    /// First paragraph of its documentation.
    pub doc: String,
    /// Hash of the signature.
    pub schema: u64,
}

/// What a template does just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum TemplateState {
    /// Loads its modules.
    Loading,
    /// Forks on request.
    Ready,
    /// Forks no more, waits for its workers to end.
    Retiring,
    /// Failed; will be tried again after a delay, or by a reload.
    Failed,
}

/// One template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct TemplateRow {
    /// Its id.
    pub template: TemplateId,
    /// Name for people.
    pub name: String,
    /// What it does.
    pub state: TemplateState,
    /// Its pid, while it has a process.
    pub pid: Option<u32>,
    /// Generation of the configuration.
    pub generation: u32,
    /// Spares that wait.
    pub spares: u32,
    /// Spares that it aims at just now.
    pub spares_wanted: u32,
    /// Workers that run.
    pub workers: u32,
    /// Requests that wait.
    pub queued: u64,
    /// Workers handed over so far.
    pub starts: u64,
    /// Of them, those that a spare was waiting for.
    pub spare_hits: u64,
    /// Memory, as last measured.
    pub memory: Memory,
    /// Time since it was started, milliseconds.
    pub age_ms: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The daemon as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct StatusReport {
    /// Version of the daemon.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// Time since it started, milliseconds.
    pub uptime_ms: u64,
    /// Its socket.
    pub socket: String,
    /// Generation of the configuration.
    pub generation: u32,
    /// Whether it is going down.
    pub stopping: bool,
    /// Clients connected.
    pub clients: u64,
    /// Workers that run, spares not counted.
    pub workers: u64,
    /// How many may run at once.
    pub workers_max: u64,
    /// Requests that wait.
    pub queued: u64,
    /// Workers handed over so far.
    pub starts: u64,
    /// Requests refused so far.
    pub refused: u64,
    /// Its templates.
    pub templates: Vec<TemplateRow>,
    /// Users with penalties, the longest first; a few at most.
    pub penalties: Vec<PenaltyRow>,
}

/// A user whose clients misbehaved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct PenaltyRow {
    /// The user.
    pub uid: u32,
    /// How often so far.
    pub times: u64,
    /// What was done last.
    pub why: String,
    /// The penalty as it stands, milliseconds; a small one does not bite.
    pub penalty_ms: u64,
    /// How long requests of that user are refused yet, milliseconds.
    pub left_ms: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ProcessRow {
    /// Its id.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// The template that forked it.
    pub template: TemplateId,
    /// Name of that template.
    pub template_name: String,
    /// Whether it still waits for a job.
    pub spare: bool,
    /// Since when it has been leased (or parked), milliseconds.
    pub age_ms: u64,
    /// Pid of the client that leased it.
    pub client_pid: Option<u32>,
    /// Generation of the configuration.
    pub generation: u32,
}

/// All workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ProcessesReport {
    /// A row each.
    pub rows: Vec<ProcessRow>,
    /// Rows left out because the report would not fit a frame.
    pub left_out: u64,
}

/// Modules of one template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct TemplateModules {
    /// The template.
    pub template: TemplateId,
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: TemplateState,
    /// Its modules.
    pub modules: Vec<ModuleReport>,
}

/// All modules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ModulesReport {
    /// By template.
    pub templates: Vec<TemplateModules>,
}
