//! What sessions ask of the core.

use super::event::PoolSpec;
use mpserverd_proto::bounds::Bounds;
use mpserverd_proto::client::WorkerRef;
use mpserverd_proto::death::DeathsQuery;
use mpserverd_proto::explain::Subject;
use mpserverd_proto::ids::{PoolId, RequestId, WorkerId};
use mpserverd_proto::report::ProcessFilter;
use mpserverd_proto::trace::TraceId;
use std::time::Duration;

/// What a session asks of the core (the loop answers the rest by itself).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Make sure that this pool exists: answered with its id at once.
    Open(PoolSpec),
    /// Hand over a worker.
    Lease {
        /// From this pool.
        pool: PoolId,
        /// Wait so long at most.
        wait: Duration,
        /// The task that it is for, if that is known.
        task: Option<String>,
        /// The trace of the start, if that is known.
        trace: Option<TraceId>,
    },
    /// Take a waiting request of the same session back; the request is answered `Cancelled`, then
    /// this one `Done`.
    Cancel(RequestId),
    /// Modules of a pool, once its template is ready or has failed.
    PoolModules {
        /// Which.
        pool: PoolId,
        /// Wait so long at most.
        wait: Duration,
    },
    /// `status`.
    Status,
    /// `ps`: answered by [`Action::Processes`](super::Action::Processes).
    Processes {
        /// Only workers after this one.
        after: Option<WorkerId>,
        /// So many at most.
        limit: u32,
        /// Only those that it admits.
        filter: ProcessFilter,
    },
    /// `modules`.
    Modules,
    /// `deaths`.
    Deaths {
        /// Which.
        query: DeathsQuery,
        /// Whether the asker sees those of other users, too.
        all: bool,
    },
    /// A client is about to send a signal to a worker by itself.
    Signals {
        /// Which.
        worker: WorkerId,
        /// Signal number.
        signal: i32,
    },
    /// Send a signal to a worker.
    Kill {
        /// Which.
        worker: WorkerRef,
        /// Signal number.
        signal: i32,
    },
    /// Hand over a worker that is limited beyond what is configured.
    LeaseWith {
        /// From this pool.
        pool: PoolId,
        /// Wait so long at most.
        wait: Duration,
        /// Its limits.
        bounds: Bounds,
        /// As for [`Ask::Lease`].
        task: Option<String>,
        /// As for [`Ask::Lease`].
        trace: Option<TraceId>,
    },
    /// `explain`.
    Explain(Subject),
}
