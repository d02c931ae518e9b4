//! What the core is told. What it wants done stands in `action.rs`. No descriptors, no clocks: the
//! loop keeps those.

use super::ask::Ask;
use super::watch::Sample;
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::death::{Cause, LastWords};
use mpserverd_proto::error::{PreloadError, Stage};
use mpserverd_proto::ids::{RequestId, TemplateId, WorkerId};
use mpserverd_proto::status::ExitRecord;
use mpserverd_proto::template::{Lessee, Memory, ModuleReport, OnPreloadError};
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

/// Who asked for a reload or a stop: a session's request, or a signal.
pub type Origin = Option<(SessionId, RequestId)>;

/// The end of a worker that no daemon has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obituary {
    /// Which.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// How.
    pub record: ExitRecord,
    /// What stood on its board.
    pub last: Option<LastWords>,
    /// When, milliseconds since the epoch.
    pub ended_ms: u64,
    /// Who had it, as far as that is known.
    pub lessee: Option<Lessee>,
    /// The last lines that it wrote to standard error, where they were caught.
    pub stderr: Vec<String>,
}

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
        /// An earlier daemon has told it to retire.
        retiring: bool,
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
    /// What a worker used was measured, as [`Action::Measure`](super::Action::Measure) asked.
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
    /// The loop saw how much private memory a worker had at most; told before its end is.
    Peaked {
        /// Which.
        worker: WorkerId,
        /// So much, KiB.
        kib: u64,
    },
    /// Workers of an attached template ended while no daemon was there, or shortly before.
    Missed {
        /// Their template.
        template: TemplateId,
        /// Which they were.
        deaths: Vec<Obituary>,
        /// How many more there were.
        forgotten: u64,
    },
    /// A worker that was to be looked at ([`Action::LookAtSlow`](super::Action::LookAtSlow)) is not
    /// slow yet.
    NotSlow {
        /// Which.
        worker: WorkerId,
        /// When to look again.
        again: Duration,
    },
    /// A client or a signal asks for another program, which is being tried.
    UpgradeBegan {
        /// Who asked.
        origin: Origin,
    },
    /// Another program has taken over, or none has.
    UpgradeEnded {
        /// How long nobody listened.
        pause: Duration,
        /// Why all is as it was; `None`: another program goes on.
        error: Option<String>,
    },
    /// A new configuration cannot even be read, so no reload was begun.
    ReloadRefused {
        /// Why.
        why: String,
    },
    /// Workers of this template are confined in another way than the configuration now wants.
    TemplateOutdated {
        /// Which.
        template: TemplateId,
    },
    /// A supervisor wants to know whether workers can be had: answered with
    /// [`Action::Proven`](super::Action::Proven).
    ProbeDue,
    /// The time that `Core::next_deadline` named has come (or any other time: always harmless).
    Tick,
}
