//! The tables behind `mpctl status`, `ps` and `modules`.

use crate::ids::{TemplateId, WorkerId};
use crate::quota::{HeldRow, QuotaRow};
use crate::template::{Memory, ModuleReport};
use crate::trace::TraceId;
use crate::upkeep::{GenerationRow, Upkeep};
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Of them, those that a spare was waiting for.
    pub spare_hits: u64,
    /// Of them, those that have ended.
    pub ends: u64,
    /// Requests refused so far.
    pub refused: u64,
    /// Its templates.
    pub templates: Vec<TemplateRow>,
    /// Users with penalties, the longest first; a few at most.
    pub penalties: Vec<PenaltyRow>,
    /// Reloads: whether one is under way, how the last one ended.
    pub reload: Upkeep,
    /// Upgrades likewise.
    pub upgrade: Upkeep,
    /// What is left of earlier generations, the oldest first.
    pub generations: Vec<GenerationRow>,
    /// Who holds the limits of single workers.
    pub held: Vec<HeldRow>,
    /// Limits of many workers together, the most used first; a few at most.
    pub quotas: Vec<QuotaRow>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The user that it runs as.
    pub uid: u32,
    /// The task that it runs, where it said so.
    pub task: Option<String>,
    /// The trace that this belongs to.
    pub trace: Option<TraceId>,
}

/// Which workers are wanted. Every criterion that is there must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ProcessFilter {
    /// Also those that wait for a job.
    pub spares: bool,
    /// Those that run as this user.
    pub uid: Option<u32>,
    /// Those of a template with this name, or this id (`t3`).
    pub template: Option<String>,
    /// Those that run this task, by its full name or the end of it (`resize` for
    /// `thumbs::resize`).
    pub task: Option<String>,
    /// Those that a client with this pid has.
    pub client: Option<u32>,
}

impl ProcessFilter {
    /// Whether it admits a worker, whatever that runs: tasks are known later than all else.
    #[must_use]
    pub fn admits(&self, row: &ProcessRow) -> bool {
        let template =
            |wanted: &String| row.template_name == *wanted || row.template.to_string() == *wanted;
        (self.spares || !row.spare)
            && self.uid.is_none_or(|uid| row.uid == uid)
            && self.client.is_none_or(|pid| row.client_pid == Some(pid))
            && self.template.as_ref().is_none_or(template)
    }

    /// Whether it admits a worker that runs this.
    #[must_use]
    pub fn admits_task(&self, task: Option<&str>) -> bool {
        let Some(wanted) = &self.task else { return true };
        let Some(front) = task.and_then(|task| task.strip_suffix(wanted.as_str())) else {
            return false;
        };
        front.is_empty() || front.ends_with([':', '.'])
    }
}

/// Workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct ProcessesReport {
    /// A row each, by id.
    pub rows: Vec<ProcessRow>,
    /// There may be more: ask for those after this one.
    pub next: Option<WorkerId>,
    /// How many workers there are, spares included, whatever was asked for.
    pub total: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ProcessRow {
        ProcessRow {
            template: TemplateId(3),
            template_name: "images".into(),
            client_pid: Some(9),
            uid: 1000,
            ..ProcessRow::default()
        }
    }

    #[test]
    fn every_criterion_must_hold() {
        let all = ProcessFilter::default();
        assert!(all.admits(&row()) && !all.admits(&ProcessRow { spare: true, ..row() }));
        let spares = ProcessFilter { spares: true, ..ProcessFilter::default() };
        assert!(spares.admits(&ProcessRow { spare: true, ..row() }));
        let named = |name: &str| Some(name.to_owned());
        for (filter, admitted) in [
            (ProcessFilter { uid: Some(1000), client: Some(9), ..all.clone() }, true),
            (ProcessFilter { uid: Some(1000), client: Some(8), ..all.clone() }, false),
            (ProcessFilter { uid: Some(0), ..all.clone() }, false),
            (ProcessFilter { template: named("images"), ..all.clone() }, true),
            (ProcessFilter { template: named("t3"), ..all.clone() }, true),
            (ProcessFilter { template: named("image"), ..all.clone() }, false),
        ] {
            assert_eq!(filter.admits(&row()), admitted, "{filter:?}");
        }
    }

    #[test]
    fn a_task_is_named_by_the_end_of_its_name() {
        let filter = ProcessFilter { task: Some("resize".into()), ..ProcessFilter::default() };
        for (task, admitted) in [
            (Some("resize"), true),
            (Some("thumbs::resize"), true),
            (Some("thumbs.resize"), true),
            (Some("thumbs::unresize"), false),
            (Some("thumbs::resize_all"), false),
            (None, false),
        ] {
            assert_eq!(filter.admits_task(task), admitted, "{task:?}");
        }
        assert!(ProcessFilter::default().admits_task(None));
    }
}
