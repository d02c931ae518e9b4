//! What the core is told and what it wants done. No descriptors, no clocks: the loop keeps those.

use super::watch::{Measure, Sample};
use mpserverd_proto::bounds::{Birth, Bounds};
use mpserverd_proto::client::{Grant, Reply, StopPolicy, WorkerRef};
use mpserverd_proto::death::{Cause, DeathsQuery, LastWords};
use mpserverd_proto::error::{PreloadError, Stage};
use mpserverd_proto::explain::Subject;
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId, WorkerId};
use mpserverd_proto::report::{ProcessFilter, ProcessesReport};
use mpserverd_proto::status::ExitRecord;
use mpserverd_proto::template::{Lessee, Memory, ModuleReport, OnPreloadError};
use mpserverd_proto::trace::TraceId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Time since the daemon started. The only clock the core knows is the one it is told.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub Duration);

impl Time {
    /// This much later; `None` when that is beyond all time, which means never.
    #[must_use]
    pub fn after(self, delay: Duration) -> Option<Self> {
        self.0.checked_add(delay).map(Self)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A client connection, numbered by the loop; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its pid when it connected.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// What a pool of equal templates is built from, as the loop names it: uid, executable (device,
/// inode, change time) and modules. Equal keys share templates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolKey(pub Vec<u8>);

/// A pool that shall exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Identity.
    pub key: PoolKey,
    /// Name for people.
    pub name: String,
    /// Names of the modules it loads, as requested.
    pub modules: Vec<String>,
    /// What to do about a module that fails.
    pub on_error: OnPreloadError,
    /// Whose it is; `None` is everybody's who is served. That nobody else opens it the loop sees
    /// to.
    pub uid: Option<u32>,
}

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
    /// `ps`: answered by [`Action::Processes`].
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

/// Who asked for a reload or a stop: a session's request, or a signal.
pub type Origin = Option<(SessionId, RequestId)>;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client passed the handshake.
    SessionOpened {
        /// Its connection.
        session: SessionId,
        /// Who it is.
        peer: Peer,
    },
    /// It is gone, with all that it waited for.
    SessionClosed {
        /// Its connection.
        session: SessionId,
    },
    /// It asks.
    Asked {
        /// Who.
        session: SessionId,
        /// Number of the request.
        id: RequestId,
        /// What.
        ask: Ask,
    },
    /// Settings and preloaded pools are to be these; a new generation. The first one comes right
    /// after the core was made.
    Configured {
        /// Who asked.
        origin: Origin,
        /// The new settings.
        settings: Box<super::Settings>,
        /// Pools that always exist.
        preload: Vec<PoolSpec>,
    },
    /// Stop.
    StopAsked {
        /// Who asked.
        origin: Origin,
        /// How to treat workers.
        policy: StopPolicy,
        /// How long.
        grace: Duration,
    },
    /// The process of a template was started.
    TemplateStarted {
        /// Which.
        template: TemplateId,
        /// Its pid.
        pid: u32,
    },
    /// It could not be started at all.
    TemplateNotStarted {
        /// Which.
        template: TemplateId,
        /// Why.
        error: PreloadError,
    },
    /// It reached `freeze_support()`.
    TemplateHello {
        /// Which.
        template: TemplateId,
    },
    /// It works on this module now.
    TemplateLoading {
        /// Which.
        template: TemplateId,
        /// Module, or the executable's name.
        module: String,
        /// What it does to it.
        stage: Stage,
    },
    /// It is ready.
    TemplateReady {
        /// Which.
        template: TemplateId,
        /// Its modules.
        modules: Vec<ModuleReport>,
        /// Its memory.
        memory: Memory,
    },
    /// It says that it failed; it exits next.
    TemplateFailed {
        /// Which.
        template: TemplateId,
        /// Why.
        error: PreloadError,
    },
    /// It reports its memory.
    TemplateMemory {
        /// Which.
        template: TemplateId,
        /// How much.
        memory: Memory,
    },
    /// Its process ended, or its connection broke (then the loop killed it). Its workers live on
    /// and are reported by the loop one by one.
    TemplateGone {
        /// Which.
        template: TemplateId,
        /// Exit code or minus the signal, where known.
        code: Option<i32>,
    },
    /// A template of an earlier daemon attached itself, with the workers it has.
    TemplateAttached {
        /// Id that the loop took from the core (see `Core::new_template_id`).
        template: TemplateId,
        /// What it was built from.
        pool: PoolSpec,
        /// Generation of the configuration that it was built under.
        generation: u32,
        /// Its pid.
        pid: u32,
        /// Its modules.
        modules: Vec<ModuleReport>,
        /// Its memory.
        memory: Memory,
    },
    /// A worker that came with an attached template.
    WorkerAdopted {
        /// Its template.
        template: TemplateId,
        /// Its id, given by the earlier daemon.
        worker: WorkerId,
        /// Its pid.
        pid: u32,
    },
    /// An attached template tells who has its workers.
    LesseesKnown {
        /// Which.
        template: TemplateId,
        /// Who.
        lessees: Vec<Lessee>,
    },
    /// Spares came up.
    Spares {
        /// Their template.
        template: TemplateId,
        /// Their ids and pids.
        spares: Vec<(WorkerId, u32)>,
    },
    /// The template could not fork some of what it was asked for.
    ForkFailed {
        /// Which.
        template: TemplateId,
        /// How many are missing.
        missing: u16,
        /// What the kernel said.
        message: String,
    },
    /// A worker or spare ended, and its status was delivered.
    WorkerEnded {
        /// Which.
        worker: WorkerId,
        /// How.
        record: ExitRecord,
        /// What stood on its board.
        last: Option<LastWords>,
        /// The last lines that it wrote to standard error, where they can be seen.
        stderr: Vec<String>,
    },
    /// A client of this user did something wrong that no peer of good will does.
    Misbehaved {
        /// Whose client.
        uid: u32,
        /// What it did.
        why: String,
    },
    /// What a worker used was measured, as [`Action::Measure`] asked.
    Measured {
        /// Which.
        worker: WorkerId,
        /// What it used; `None` if that cannot be known, because it ends just now.
        sample: Option<Sample>,
    },
    /// The kernel does not hold the limits of a worker after all.
    NotHeld {
        /// Which.
        worker: WorkerId,
    },
    /// The loop saw who causes the end of a worker; told before its end is.
    Blamed {
        /// Which.
        worker: WorkerId,
        /// Who.
        cause: Cause,
    },
    /// A worker that was to be looked at ([`Action::LookAtSlow`]) is not slow yet.
    NotSlow {
        /// Which.
        worker: WorkerId,
        /// When to look again.
        again: Duration,
    },
    /// A supervisor wants to know whether workers can be had: answered with [`Action::Proven`].
    ProbeDue,
    /// The time that `Core::next_deadline` named has come (or any other time: always harmless).
    Tick,
}

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
    /// Measure a worker and its descendants; answered with [`Event::Measured`].
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
    /// Look at a worker whose task may run long: report it, or say [`Event::NotSlow`].
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
