//! What a client asks of the daemon, and what it answers.

use crate::bounds::Bounds;
use crate::death::{DeathsQuery, DeathsReport};
use crate::error::Refusal;
use crate::explain::{Explanation, Subject};
use crate::ids::{PoolId, RequestId, TemplateId, WorkerId};
use crate::record::{LogLevel, LogReport};
use crate::report::{ModulesReport, ProcessFilter, ProcessesReport, StatusReport};
use crate::template::{Attach, OnPreloadError};
use crate::trace::TraceId;
use serde::{Deserialize, Serialize};

/// What a template is to be built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Target {
    /// The executable whose descriptor comes with the request.
    Executable {
        /// Its path, for people.
        path: Vec<u8>,
    },
    /// A host process that loads only modules. Without any: whatever the operator preloaded.
    Modules,
}

/// A template that a client wants workers from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct TemplateSpec {
    /// What it is built from.
    pub target: Target,
    /// Modules that it loads: a path (with a `/`) or a name on the daemon's module path.
    pub modules: Vec<String>,
    /// What to do about a module that fails.
    pub on_error: OnPreloadError,
    /// Environment of the template, if it must be built: `KEY=VALUE`, each ended by a NUL byte.
    #[serde(with = "serde_bytes")]
    pub environment: Vec<u8>,
}

/// Which worker is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum WorkerRef {
    /// By id.
    Id(WorkerId),
    /// By pid, which must be that of a worker of this daemon.
    Pid(u32),
}

/// How a stop treats workers that run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum StopPolicy {
    /// Wait for them as long as the grace lasts, then `SIGTERM`, then `SIGKILL`.
    #[default]
    Wait,
    /// `SIGTERM` at once, `SIGKILL` after the grace.
    Term,
    /// `SIGKILL` at once.
    Kill,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Request {
    /// Are you there?
    Ping,
    /// Make sure that this template exists. One descriptor for an executable, none for modules.
    OpenTemplate(TemplateSpec),
    /// Hand over a worker.
    Lease {
        /// From a template of this pool.
        pool: PoolId,
        /// Wait for it so long at most, in milliseconds.
        wait_ms: u32,
        /// The task that it is for, as [`short_task`](crate::death::short_task) gives it; `None`
        /// where that is not known yet.
        task: Option<String>,
        /// The trace of the start, where that is known.
        trace: Option<TraceId>,
    },
    /// Take a waiting request back.
    Cancel(RequestId),
    /// The modules of one template, once it is ready.
    TemplateModules {
        /// Which.
        pool: PoolId,
        /// Wait for it so long at most, in milliseconds.
        wait_ms: u32,
    },
    /// Numbers of the daemon and each template.
    Status,
    /// Workers, in the order of their ids. Who wants all asks again, after the last one that was
    /// looked at.
    Processes {
        /// Only those after this one.
        after: Option<WorkerId>,
        /// So many rows at most;
        /// [`PROCESS_ROWS_MAX`](crate::limits::PROCESS_ROWS_MAX) is the daemon's own bound.
        limit: u32,
        /// Only those that it admits.
        filter: ProcessFilter,
    },
    /// All modules.
    Modules,
    /// Send a signal to a worker.
    Kill {
        /// Which.
        worker: WorkerRef,
        /// Signal number.
        signal: i32,
    },
    /// Read the configuration again, build new templates beside the old, switch.
    Reload,
    /// Stop the daemon.
    Stop {
        /// How to treat workers; `None`: as configured.
        policy: Option<StopPolicy>,
        /// How long to wait for them, in milliseconds; `None`: as configured.
        grace_ms: Option<u64>,
    },
    /// A template of an earlier daemon offers itself; its control socket comes along, and the
    /// memory of its board where it has one.
    Attach(Attach),
    /// Certificates of the workers that have died.
    Deaths(DeathsQuery),
    /// Hand over a worker that is limited beyond what is configured; refused where it would be
    /// limited less.
    LeaseWith {
        /// From a template of this pool.
        pool: PoolId,
        /// Wait for it so long at most, in milliseconds.
        wait_ms: u32,
        /// Its limits.
        bounds: Bounds,
        /// As for [`Lease`](Request::Lease).
        task: Option<String>,
        /// As for [`Lease`](Request::Lease).
        trace: Option<TraceId>,
    },
    /// A client is about to send a signal to a worker that it leased, or that its user did: nobody
    /// else is to be blamed for what that does.
    Signals {
        /// Which.
        worker: WorkerId,
        /// Signal number.
        signal: i32,
    },
    /// The daemon's numbers as OpenMetrics text.
    Metrics,
    /// Why does it wait, what does it do?
    Explain(Subject),
    /// Records of the daemon's log, of those that it remembers.
    Logs {
        /// After this number; `None`: the last ones.
        after: Option<u64>,
        /// So many at most.
        limit: u32,
        /// As important as this, or more.
        level: LogLevel,
        /// If there is none yet, wait for one so long at most, in milliseconds.
        wait_ms: u32,
    },
    /// Go on as another program, with everything that there is.
    Upgrade {
        /// Its absolute path, as bytes; `None`: the path that the daemon was started from.
        #[serde(with = "serde_bytes")]
        binary: Option<Vec<u8>>,
    },
}

/// A request with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Call {
    /// Chosen by the client, comes back with the answer.
    pub id: RequestId,
    /// What is asked.
    pub request: Request,
}

/// A worker handed over; it comes with job socket, read end of the status pipe and pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Grant {
    /// Its id.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// The template process that forked it.
    pub template: TemplateId,
    /// Generation of the configuration that it was forked under.
    pub generation: u32,
    /// Whether it was waiting for the request, not the request for it.
    pub spare_hit: bool,
}

/// Who answers a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Pong {
    /// Version of the daemon.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// How long it has been up, in milliseconds.
    pub uptime_ms: u64,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Reloaded {
    /// The generation that serves now.
    pub generation: u32,
    /// Templates that were built and switched to.
    pub templates: Vec<String>,
    /// What was worth a warning.
    pub warnings: Vec<String>,
}

/// What an upgrade did; the answer comes from the new program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Upgraded {
    /// The version that served before.
    pub from: String,
    /// The version that serves now.
    pub to: String,
    /// The file of the program that serves now.
    pub binary: String,
    /// The daemon's pid, which is the same.
    pub pid: u32,
    /// How long nobody listened, in microseconds.
    pub pause_us: u64,
    /// How many workers were carried over, spares not counted.
    pub workers: u64,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Reply {
    /// Here I am.
    Pong(Pong),
    /// What was asked for has this number; its template may still be loading.
    Opened(PoolId),
    /// A worker.
    Lease(Grant),
    /// Modules, of one template or all.
    Modules(ModulesReport),
    /// Numbers.
    Status(Box<StatusReport>),
    /// Workers.
    Processes(ProcessesReport),
    /// Done, nothing to say.
    Done,
    /// Reloaded.
    Reloaded(Reloaded),
    /// No, because.
    Refused(Refusal),
    /// Certificates.
    Deaths(DeathsReport),
    /// OpenMetrics text.
    Metrics(String),
    /// What is known about it.
    Explained(Explanation),
    /// Records.
    Logs(LogReport),
    /// Another program serves now.
    Upgraded(Upgraded),
}

/// A reply with the number of its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Answer {
    /// Number of the request; 0 when the daemon hangs up unasked.
    pub id: RequestId,
    /// The answer.
    pub reply: Reply,
}
