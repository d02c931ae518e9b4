//! What the core wants done. Who does it, and with which descriptors, is the loop's business.

use super::event::{PoolKey, SessionId};
use super::watch::Measure;
use mpserverd_proto::bounds::{Birth, Bounds};
use mpserverd_proto::client::{Grant, Reply};
use mpserverd_proto::error::PreloadError;
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId, WorkerId};
use mpserverd_proto::report::{ProcessFilter, ProcessesReport};
use std::time::Duration;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a reply.
    Reply {
        /// To whom.
        session: SessionId,
        /// To which request.
        id: RequestId,
        /// What.
        reply: Reply,
    },
    /// Hand a spare over: send the grant with the spare's three descriptors and forget them.
    Grant {
        /// To whom.
        session: SessionId,
        /// To which request.
        id: RequestId,
        /// Which worker, and what to say.
        grant: Grant,
    },
    /// Start a template process for a pool.
    Build {
        /// Its new id.
        template: TemplateId,
        /// For which pool.
        pool: PoolId,
        /// The pool's key.
        key: PoolKey,
        /// Generation of the configuration.
        generation: u32,
        /// Modules to leave out, because they made an earlier attempt fail.
        without: Vec<String>,
        /// What its workers limit themselves by.
        birth: Birth,
    },
    /// Answer with these workers, once it is known which tasks they run; the filter decides about
    /// those.
    Processes {
        /// Who asked.
        session: SessionId,
        /// Number of the request.
        id: RequestId,
        /// Whom the filter admits so far.
        report: ProcessesReport,
        /// The filter.
        filter: ProcessFilter,
    },
    /// Tell a template to fork.
    Fork {
        /// Which.
        template: TemplateId,
        /// Id of the first spare.
        first: WorkerId,
        /// How many.
        count: u16,
    },
    /// Tell a template to fork no more and to exit after its last worker.
    Retire {
        /// Which.
        template: TemplateId,
    },
    /// Tell a template to kill its workers, report them and exit.
    StopTemplate {
        /// Which.
        template: TemplateId,
    },
    /// Kill a template's process.
    KillTemplate {
        /// Which.
        template: TemplateId,
    },
    /// Close a spare's job socket, which ends it.
    ReleaseSpare {
        /// Which.
        worker: WorkerId,
    },
    /// Send a signal to a worker.
    Signal {
        /// Which.
        worker: WorkerId,
        /// Signal number.
        signal: i32,
    },
    /// Put a worker into a group of its own, with these limits; one that has a group gets the
    /// limits.
    Limit {
        /// Which.
        worker: WorkerId,
        /// Its limits.
        bounds: Bounds,
    },
    /// Measure a worker and its descendants; answered with [`Event::Measured`](super::Event::Measured).
    Measure {
        /// Which.
        worker: WorkerId,
        /// What.
        what: Measure,
    },
    /// Send a worker a signal that asks it to end for a limit.
    AskToEnd {
        /// Which.
        worker: WorkerId,
        /// Signal number.
        signal: i32,
    },
    /// Kill a worker and all its descendants.
    KillTree {
        /// Which.
        worker: WorkerId,
    },
    /// A worker that was limited has ended: remove its group.
    Unlimit {
        /// Which.
        worker: WorkerId,
        /// Kill who is left in it.
        kill: bool,
    },
    /// Look at a worker whose task may run long: report it, or say [`Event::NotSlow`](super::Event::NotSlow).
    LookAtSlow {
        /// Which.
        worker: WorkerId,
        /// Its task is slow if it has run so long.
        after: Duration,
        /// How long its client has had it.
        leased: Duration,
    },
    /// Nobody needs this pool any more; forget how it is built.
    ForgetPool {
        /// The pool's key.
        key: PoolKey,
    },
    /// Every preloaded pool has had its verdict for the first time (readiness of the service).
    Settled {
        /// What failed, under a policy that tolerates it.
        failed: Vec<PreloadError>,
    },
    /// A preloaded pool failed under the policy `fail`: the daemon must not start.
    StartFailed {
        /// Why.
        error: PreloadError,
    },
    /// A reload that was begun is over.
    ReloadEnded {
        /// Whether the new configuration serves now; otherwise the old one does.
        switched: bool,
    },
    /// The path from a template to the end of a worker works.
    Proven,
    /// Accept no more clients.
    StopListening,
    /// Nothing is left: leave the loop.
    Finished,
}
