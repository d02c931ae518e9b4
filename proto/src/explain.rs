//! Why somebody waits, and what he does: sentences for people, beside the facts that they are made
//! of.

use crate::death::Certificate;
use crate::error::Stage;
use crate::ids::{RequestId, TemplateId, WorkerId};
use crate::report::{ProcessRow, TemplateRow};
use serde::{Deserialize, Serialize};

/// What is to be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Subject {
    /// A worker, by id.
    Worker(WorkerId),
    /// A template, by id.
    Template(TemplateId),
    /// Whoever has this pid: a worker, a template, a client with all that it waits for.
    Pid(u32),
}

/// Why a request has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    /// The template is not ready.
    TemplateLoads {
        /// Which.
        template: TemplateId,
        /// What it works on.
        module: Option<String>,
        /// What it does to that.
        stage: Option<Stage>,
        /// For so long, milliseconds.
        since_ms: u64,
    },
    /// The template failed, and is built again after a pause.
    BackOff {
        /// Why it failed.
        error: String,
        /// When the pause is over, milliseconds from now.
        retry_ms: u64,
    },
    /// As many workers run as may (`max_workers`).
    WorkersMax {
        /// The limit.
        limit: u64,
    },
    /// A limit of many workers together is reached.
    Limit {
        /// Its key in the configuration.
        limit: String,
        /// Whose workers: `host`, `uid 1000`, `module thumbs`.
        scope: String,
        /// Its value.
        max: u64,
        /// Where it was set.
        set_in: String,
        /// When time alone makes room, milliseconds from now; `None`: a worker has to end.
        retry_ms: Option<u64>,
    },
    /// The template could not fork, and tries again after a pause.
    ForkFails {
        /// When the pause is over, milliseconds from now.
        retry_ms: u64,
    },
    /// Workers for it are being forked.
    Forking {
        /// How many.
        in_flight: u32,
    },
    /// Nothing in particular: its turn comes next.
    Turn,
    /// New templates are being built by a reload.
    Reload,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum WaitKind {
    /// A worker.
    Worker,
    /// The list of a template's modules.
    Modules,
    /// The end of a reload.
    Reload,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct WaitingRow {
    /// Its number, which its client chose.
    pub request: RequestId,
    /// What for.
    pub kind: WaitKind,
    /// The name of the template that is to serve it.
    pub template_name: Option<String>,
    /// How long it has waited, milliseconds.
    pub waited_ms: Option<u64>,
    /// When it gives up, milliseconds from now.
    pub left_ms: Option<u64>,
    /// Requests that get a worker of that template before it.
    pub ahead: Option<u64>,
    /// Why.
    pub reason: WaitReason,
}

/// What is known about one who was asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum Facts {
    /// He is a worker.
    Worker(ProcessRow),
    /// He is a template.
    Template(TemplateRow),
    /// He is a client.
    Client {
        /// His pid.
        pid: u32,
        /// His user.
        uid: u32,
        /// Workers that he has.
        workers: u64,
        /// Requests of his that wait.
        waiting: u64,
        /// The first of them, at most
        /// [`EXPLAINED_MAX`](crate::limits::EXPLAINED_MAX).
        requests: Vec<WaitingRow>,
    },
    /// He is the daemon.
    Daemon,
    /// He was a worker.
    Death(Certificate),
}

/// One who was asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Finding {
    /// What is known, in plain sentences.
    pub sentences: Vec<String>,
    /// What they are made of.
    pub facts: Facts,
}

/// What is known. Several findings where one pid is of several: a worker may be a client too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Explanation {
    /// One for each.
    pub findings: Vec<Finding>,
}
