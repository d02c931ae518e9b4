//! The daemon's book: which pools, templates, spares, leases and requests there are.
//!
//! Sans-IO: [`Core::handle`] takes an event and the time and appends actions. Nothing here has a
//! descriptor, a clock, a thread or a syscall, so the whole book-keeping runs in a simulator
//! (`tests/simulate.rs`). Nothing here panics, whatever the order of events.
//!
//! | file | holds |
//! |---|---|
//! | `ask.rs`, `event.rs`, `action.rs`, `settings.rs` | what goes in and out |
//! | `admission.rs` | who is refused early, and who is penalised |
//! | `timers.rs` | deadlines, each armed at most once |
//! | `queue.rs` | requests that wait, fair between sessions |
//! | `spares.rs` | how many spares a pool wants, and when to fork them |
//! | `backoff.rs` | delays that double |
//! | `sessions.rs` | clients, what they ask and what they still wait for |
//! | `lease.rs` | matching requests with spares |
//! | `workers.rs` | spares and workers, from fork to end |
//! | `pool.rs` | pools, when they are idle and when they are forgotten |
//! | `template.rs` | the life of a template process |
//! | `build.rs` | building templates, and what happens when that fails |
//! | `attach.rs` | templates and workers of an earlier daemon |
//! | `reload.rs` | configuration: the first, and later ones beside what serves |
//! | `upkeep.rs` | how reloads and upgrades went, and what earlier generations left |
//! | `stop.rs` | going down |
//! | [`measures`] | what is counted for metrics |
//! | `deaths.rs` | who caused a death, and the certificates of the last ones |
//! | `certify.rs` | writing those |
//! | `poison.rs` | tasks that are refused for the deaths of their workers |
//! | `slow.rs` | when to look at a worker whose task runs long |
//! | `probe.rs` | the proof that the whole path works |
//! | `limits.rs` | the configured limits, and which one counts |
//! | `quota.rs` | what many workers may have together |
//! | `usage.rs` | what of the limits is used, and who holds them |
//! | `watch.rs` | workers that are looked after as long as they run |
//! | `sight.rs` | who sees what of it |
//! | `report.rs` | `status`, `modules` |
//! | `processes.rs` | `ps`, page by page |
//! | `explain.rs`, `story.rs` | why somebody waits, and how that is said |
//! | `state.rs` | the whole book, to and from the next image of the daemon |
//! | `audit.rs` | what must be true after every event |

#![forbid(unsafe_code)]

mod action;
mod admission;
mod ask;
mod attach;
mod audit;
mod backoff;
mod build;
mod certify;
mod deaths;
mod event;
mod explain;
mod lease;
mod limits;
pub mod measures;
mod poison;
mod pool;
mod probe;
mod processes;
mod queue;
mod quota;
mod reload;
mod report;
mod sessions;
mod settings;
mod sight;
mod slow;
mod spares;
mod state;
mod stop;
mod story;
mod template;
#[cfg(test)]
mod tests;
mod timers;
mod upkeep;
mod usage;
mod watch;
mod workers;

pub use action::Action;
pub use admission::{Admission, EarlyRefusal};
pub use ask::Ask;
pub use event::{Event, Obituary, Origin, Peer, PoolKey, PoolSpec, SessionId, Time};
pub use limits::{Held, Limits, Rule, Section};
pub use pool::POOLS_MAX;
pub use settings::{PoisonRule, Settings};
pub use state::{CoreState, ImportError, Remains};
pub use watch::{Measure, Sample};

use attach::Attached;
use mpserverd_proto::ids::{PoolId, TemplateId, WorkerId};
use pool::Pool;
use reload::{Reload, Startup};
use serde::{Deserialize, Serialize};
use sessions::Session;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use stop::Stop;
use template::Template;
use timers::{Timer, Timers};
use workers::Worker;

/// Who the daemon is, for reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    version: String,
    pid: u32,
    uid: u32,
    socket: String,
    started: Time,
}

/// The next number of each kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct NextIds {
    worker: u64,
    template: u64,
    pool: u64,
}

/// Counters, so that no report has to walk a queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Totals {
    /// Requests of any kind that wait.
    waiting: usize,
    /// Of them, those for a worker.
    queued: usize,
    /// Workers handed over now.
    leased: u64,
    starts: u64,
    spare_hits: u64,
    ends: u64,
    refused: u64,
}

/// The state machine; see the module's documentation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Core {
    now: Time,
    #[serde(skip)]
    out: Vec<Action>,
    identity: Identity,
    settings: Settings,
    generation: u32,
    startup: Startup,
    next: NextIds,
    sessions: BTreeMap<SessionId, Session>,
    pools: BTreeMap<PoolId, Pool>,
    #[serde(skip)]
    keys: BTreeMap<PoolKey, PoolId>,
    templates: BTreeMap<TemplateId, Template>,
    /// Ids given to templates that have not attached themselves yet.
    promised: BTreeSet<TemplateId>,
    workers: BTreeMap<WorkerId, Worker>,
    #[serde(skip)]
    pids: BTreeMap<u32, WorkerId>,
    timers: Timers,
    /// Pools whose requests wait for the number of workers to fall, in turn.
    blocked: VecDeque<PoolId>,
    reload: Option<Reload>,
    probe: probe::Probe,
    #[serde(default)]
    quota: quota::Quota,
    #[serde(default)]
    watches: watch::Watches,
    #[serde(default)]
    held: Held,
    measures: measures::Measures,
    stop: Option<Stop>,
    totals: Totals,
    #[serde(default)]
    users: admission::Users,
    deaths: deaths::Deaths,
    #[serde(default)]
    changes: upkeep::Changes,
    #[serde(default)]
    poison: poison::Poison,
    /// The time of day when the last end was told, milliseconds since the epoch.
    wall_ms: u64,
}

impl Core {
    /// A daemon without settings, pools or clients. Ids start at `first_id`.
    #[must_use]
    pub fn new(now: Time, version: &str, pid: u32, socket: &str, first_id: u64) -> Self {
        Self {
            now,
            out: Vec::new(),
            identity: Identity {
                version: version.into(),
                pid,
                uid: 0,
                socket: socket.into(),
                started: now,
            },
            settings: Settings::default(),
            generation: 0,
            startup: Startup::Fresh,
            next: NextIds { worker: first_id, template: first_id, pool: first_id },
            sessions: BTreeMap::new(),
            pools: BTreeMap::new(),
            keys: BTreeMap::new(),
            templates: BTreeMap::new(),
            promised: BTreeSet::new(),
            workers: BTreeMap::new(),
            pids: BTreeMap::new(),
            timers: Timers::default(),
            blocked: VecDeque::new(),
            reload: None,
            probe: probe::Probe::default(),
            quota: quota::Quota::default(),
            watches: watch::Watches::default(),
            held: Held::default(),
            measures: measures::Measures::default(),
            stop: None,
            totals: Totals::default(),
            users: admission::Users::default(),
            deaths: deaths::Deaths::default(),
            changes: upkeep::Changes::default(),
            poison: poison::Poison::default(),
            wall_ms: 0,
        }
    }

    /// The same, but ids of workers start here: above all that an earlier daemon gave, because
    /// workers outlive daemons.
    #[must_use]
    pub fn with_first_worker(mut self, first: u64) -> Self {
        self.next.worker = first;
        self
    }

    /// The same, but it knows as whom it runs.
    #[must_use]
    pub fn with_uid(mut self, uid: u32) -> Self {
        self.identity.uid = uid;
        self
    }

    /// The same, but the kernel holds something for it.
    #[must_use]
    pub fn with_held(mut self, held: Held) -> Self {
        self.held = held;
        self
    }

    /// Takes an event and appends what is to be done about it, in order.
    pub fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        self.dispatch(event);
        actions.append(&mut self.out);
    }

    /// When [`Event::Tick`] is due; `None` while there is nothing to wait for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// An id for a template that attaches itself; good for one [`Event::TemplateAttached`].
    pub fn new_template_id(&mut self) -> TemplateId {
        let id = self.next_template_id();
        self.promised.insert(id);
        id
    }

    /// The template did not attach itself: the id is nobody's.
    pub fn forget_template_id(&mut self, id: TemplateId) {
        self.promised.remove(&id);
    }

    fn next_template_id(&mut self) -> TemplateId {
        let id = TemplateId(self.next.template);
        self.next.template += 1;
        id
    }

    /// True when no template, worker or waiting request is left.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.templates.is_empty() && self.workers.is_empty() && self.totals.waiting == 0
    }

    /// The generation of the configuration that serves.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The daemon in three numbers: templates, workers handed over, requests that wait.
    #[must_use]
    pub fn summary(&self) -> (usize, u64, usize) {
        (self.templates.len(), self.totals.leased, self.totals.queued)
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::SessionOpened { session, peer } => self.session_opened(session, peer),
            Event::SessionClosed { session } => self.session_closed(session),
            Event::Asked { session, id, ask } => self.asked(session, id, ask),
            Event::Configured { origin, settings, preload } => {
                self.configured(origin, *settings, preload);
            }
            Event::StopAsked { origin, policy, grace } => self.stop_asked(origin, policy, grace),
            Event::TemplateStarted { template, pid } => self.template_started(template, pid),
            Event::TemplateNotStarted { template, error } => {
                self.template_not_started(template, error);
            }
            Event::TemplateHello { template } => self.template_hello(template),
            Event::TemplateLoading { template, module, stage } => {
                self.template_loading(template, module, stage);
            }
            Event::TemplateReady { template, modules, memory } => {
                self.template_ready(template, modules, memory);
            }
            Event::TemplateFailed { template, error } => self.template_failed(template, error),
            Event::TemplateMemory { template, memory } => self.template_memory(template, memory),
            Event::TemplateGone { template, code } => self.template_gone(template, code),
            Event::TemplateAttached {
                template,
                pool,
                generation,
                pid,
                modules,
                memory,
                retiring,
            } => {
                let attached = Attached { generation, pid, modules, memory, retiring };
                self.template_attached(template, pool, attached);
            }
            Event::LesseesKnown { template, lessees } => self.lessees_known(template, &lessees),
            Event::WorkerAdopted { template, worker, pid } => {
                self.worker_adopted(template, worker, pid);
            }
            Event::Spares { template, spares } => self.spares_came(template, &spares),
            Event::ForkFailed { template, missing, message } => {
                self.fork_failed(template, missing, message);
            }
            Event::WorkerEnded { worker, record, last, stderr } => {
                self.worker_ended(worker, record, last, stderr);
            }
            Event::Misbehaved { uid, why } => self.misbehaved(uid, &why),
            Event::Measured { worker, sample } => self.measured(worker, sample),
            Event::NotHeld { worker } => self.not_held(worker),
            Event::Blamed { worker, cause } => self.blamed(worker, cause),
            Event::Peaked { worker, kib } => self.peaked(worker, kib),
            Event::Missed { template, deaths, forgotten } => {
                self.missed(template, deaths, forgotten);
            }
            Event::NotSlow { worker, again } => self.not_slow(worker, again),
            Event::UpgradeBegan { origin } => self.upgrade_began(origin),
            Event::UpgradeEnded { pause, error } => self.upgrade_ended(pause, error.as_deref()),
            Event::ReloadRefused { why } => self.reload_refused(&why),
            Event::TemplateOutdated { template } => self.call_off_leases(template),
            Event::ProbeDue => self.probe_due(),
            Event::Tick => self.tick(),
        }
    }

    fn tick(&mut self) {
        // A timer is always armed later than now, so this ends.
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Request(session, id) => self.request_expired(session, id),
                Timer::Template(template) => self.template_expired(template),
                Timer::Fork(template) => self.fork_expired(template),
                Timer::Worker(worker) => self.worker_expired(worker),
                Timer::Slow(worker) => self.slow_due(worker),
                Timer::Refill(pool) => self.refill_due(pool),
                Timer::ForkRetry(pool) => self.refill_due(pool),
                Timer::Decay(pool) => self.decay_due(pool),
                Timer::Retry(pool) => self.retry_due(pool),
                Timer::Idle(pool) => self.idle_due(pool),
                Timer::Limit(worker) => self.limit_due(worker),
                Timer::Starts => self.unblock(),
                Timer::Stop => self.stop_due(),
                Timer::Leases(template) => self.call_off_leases(template),
            }
        }
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping()
    }

    fn stopping(&self) -> bool {
        self.stop.is_some()
    }
}
