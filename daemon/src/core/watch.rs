//! Workers that are looked after as long as they run: their deadlines, and what is measured where
//! the kernel holds nothing. While there is none, nothing here has a timer.

use super::Core;
use super::action::Action;
use super::event::{PoolSpec, SessionId, Time};
use super::limits;
use super::quota::Scopes;
use super::stop::SIGTERM;
use super::timers::Timer;
use super::workers::SIGKILL;
use mpserverd_proto::bounds::{Birth, Bound, Bounds};
use mpserverd_proto::death::{Cause, LimitKind};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::{PoolId, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Time on the CPU is over.
const SIGXCPU: i32 = 24;
/// Time on the CPU is not looked at more often.
const CPU_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Of the time, looking at memory may take one part in so many.
const SAMPLING_SHARE: u32 = 20;
/// What was killed and is still there after this time is killed again; the pause doubles.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Doublings of that pause.
const AGAIN_DOUBLINGS_MAX: u32 = 9;

/// What a worker and its descendants used, as far as it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Time on the CPU so far.
    pub cpu: Duration,
    /// Private memory, bytes; `None` where it cannot be more than the resident memory, which is
    /// below the limit.
    pub private: Option<u64>,
    /// Processes and threads.
    pub tasks: u64,
    /// How long the measuring took.
    pub took: Duration,
}

/// What is to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Private memory, as far as it may be above so many bytes.
    pub memory_above: Option<u64>,
    /// Processes and threads.
    pub tasks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// Within its limits.
    Running,
    /// Asked to end.
    Asked,
    /// Killed so many times.
    Killed(u32),
}

/// A worker that is looked after.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watch {
    bounds: Bounds,
    /// When its time on the wall is over.
    wall_at: Option<Time>,
    stage: Stage,
    /// The kernel holds its memory and its processes.
    held: (bool, bool),
    /// A measurement is under way.
    measuring: bool,
    /// When the next one is due.
    measure_at: Option<Time>,
}

/// All of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watches {
    by_id: BTreeMap<WorkerId, Watch>,
    /// Workers that were given a group of their own, spares included.
    grouped: BTreeSet<WorkerId>,
}

impl Watches {
    pub(super) fn contains(&self, worker: WorkerId) -> bool {
        self.by_id.contains_key(&worker)
    }

    /// Whether they can have come about, for the check of a book from elsewhere.
    pub(super) fn are_sound(&self) -> bool {
        let sound = |watch: &Watch| match watch.stage {
            Stage::Running | Stage::Asked => true,
            Stage::Killed(times) => times <= AGAIN_DOUBLINGS_MAX,
        };
        self.by_id.values().all(sound)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.by_id.keys().copied()
    }
}

fn number(bounds: &Bounds, bound: Bound) -> Option<u64> {
    bounds.get(bound).and_then(|value| u64::try_from(value).ok())
}

fn time(bounds: &Bounds, bound: Bound) -> Option<Duration> {
    number(bounds, bound).map(Duration::from_millis)
}

impl Watch {
    fn measure(&self) -> Option<Measure> {
        let memory = number(&self.bounds, Bound::Memory).filter(|_| !self.held.0);
        let tasks = self.bounds.get(Bound::Pids).is_some() && !self.held.1;
        let any = memory.is_some() || tasks || self.bounds.get(Bound::CpuTime).is_some();
        any.then_some(Measure { memory_above: memory, tasks })
    }

    fn is_sampled(&self) -> bool {
        self.measure().is_some_and(|what| what.memory_above.is_some() || what.tasks)
    }

    /// Which limit a sample is beyond.
    fn exceeded(&self, sample: &Sample) -> Option<LimitKind> {
        let above = |bound, value: Option<u64>| {
            number(&self.bounds, bound).zip(value).is_some_and(|(limit, value)| value > limit)
        };
        if !self.held.0 && above(Bound::Memory, sample.private) {
            Some(LimitKind::Memory)
        } else if !self.held.1 && above(Bound::Pids, Some(sample.tasks)) {
            Some(LimitKind::Pids)
        } else if time(&self.bounds, Bound::CpuTime).is_some_and(|limit| sample.cpu >= limit) {
            Some(LimitKind::CpuTime)
        } else {
            None
        }
    }

    /// How long nothing can happen that a measurement would show.
    fn pause(&self, sample: &Sample, cpus: u32, sample_every: Duration) -> Option<Duration> {
        let sampling =
            self.is_sampled().then(|| sample_every.max(sample.took.saturating_mul(SAMPLING_SHARE)));
        let cpu = time(&self.bounds, Bound::CpuTime).map(|limit| {
            // No sooner can all CPUs of the machine have used up the rest.
            (limit.saturating_sub(sample.cpu) / cpus.max(1)).max(CPU_PAUSE_MIN)
        });
        sampling.into_iter().chain(cpu).min()
    }
}

impl Core {
    /// Limits a worker, before it is handed over or when it is adopted.
    fn limit(&mut self, worker: WorkerId, bounds: Bounds) {
        if self.held.groups && limits::is_watched(&bounds) {
            self.watches.grouped.insert(worker);
            self.out.push(Action::Limit { worker, bounds });
        }
    }

    /// The user that a worker's template runs as.
    fn owner_of(&self, worker: WorkerId) -> u32 {
        let pool = self.workers.get(&worker).and_then(|worker| self.pools.get(&worker.pool));
        pool.and_then(|pool| pool.spec.uid).unwrap_or(self.identity.uid)
    }

    /// The configured limits of a worker of this user and template.
    fn configured_bounds(&self, worker: WorkerId, uid: u32) -> Bounds {
        let pool = self.workers.get(&worker).and_then(|worker| self.pools.get(&worker.pool));
        let names = pool.map(|pool| limits::names(&pool.spec)).unwrap_or_default();
        let generation = self.workers.get(&worker).map_or(0, |worker| worker.generation);
        limits::values(&self.settings_of(generation).limits.of_worker(uid, &names))
    }

    /// What the workers of a new template of this pool limit themselves by.
    pub(super) fn birth_of(&self, generation: u32, spec: &PoolSpec) -> Birth {
        let configured = &self.settings_of(generation).limits;
        let uid = spec.uid.unwrap_or(self.identity.uid);
        let rules = configured.of_worker(uid, &limits::names(spec));
        limits::birth(&limits::values(&rules), &self.held, self.settings.kill_after)
    }

    /// Whether a client may have its worker limited so.
    pub(super) fn may_limit(
        &self,
        session: SessionId,
        pool_id: PoolId,
        asked: &Bounds,
    ) -> Result<(), Refusal> {
        if asked.is_empty() {
            return Ok(());
        }
        let Some(pool) = self.pools.get(&pool_id) else { return Ok(()) };
        let names = limits::names(&pool.spec);
        let rules = self.settings.limits.of_worker(self.uid_of(session), &names);
        limits::check(asked, &rules, &self.held)
    }

    /// A spare was born: the kernel is told its limits while nobody waits for it.
    pub(super) fn limit_spare(&mut self, worker: WorkerId) {
        if !self.settings.limits.is_empty() {
            let bounds = self.configured_bounds(worker, self.owner_of(worker));
            self.limit(worker, bounds);
        }
    }

    /// A worker is about to be handed over.
    pub(super) fn limit_started(&mut self, id: WorkerId, uid: u32, scopes: Scopes, asked: &Bounds) {
        self.count_start(id, scopes);
        let mut bounds = self.configured_bounds(id, uid);
        let spare = self.configured_bounds(id, self.owner_of(id));
        asked.iter().for_each(|(bound, value)| bounds.tighten(bound, value));
        if bounds != spare {
            self.limit(id, bounds);
        }
        self.watch(id, bounds);
    }

    /// A worker of an earlier daemon: its times begin anew, its group has kept the rest.
    pub(super) fn limit_adopted(&mut self, id: WorkerId) {
        let uid = self.owner_of(id);
        let Some(pool) = self.workers.get(&id).map(|worker| worker.pool) else { return };
        self.count_adopted(id, self.scopes(uid, pool));
        let bounds = self.configured_bounds(id, uid);
        self.limit(id, bounds);
        self.watch(id, bounds);
    }

    fn watch(&mut self, id: WorkerId, bounds: Bounds) {
        if !limits::is_watched(&bounds) {
            return;
        }
        let watch = Watch {
            bounds,
            wall_at: time(&bounds, Bound::WallTime).and_then(|limit| self.now.after(limit)),
            stage: Stage::Running,
            held: (self.held.memory, self.held.pids),
            measuring: false,
            measure_at: None,
        };
        self.watches.by_id.insert(id, watch);
        self.measured(id, Some(Sample::default()));
    }

    /// The kernel does not hold a worker's limits after all: it is measured.
    pub(super) fn not_held(&mut self, id: WorkerId) {
        if let Some(watch) = self.watches.by_id.get_mut(&id) {
            watch.held = (false, false);
            self.measured(id, Some(Sample::default()));
        }
    }

    /// Workers of which a measurement is under way.
    #[must_use]
    pub fn measuring(&self) -> Vec<WorkerId> {
        let watches = self.watches.by_id.iter();
        watches.filter(|(_, watch)| watch.measuring).map(|(id, _)| *id).collect()
    }

    /// What a worker used was measured, or it could not be.
    pub(super) fn measured(&mut self, id: WorkerId, sample: Option<Sample>) {
        if let Some(bytes) = sample.and_then(|sample| sample.private) {
            self.peaked(id, bytes >> 10);
        }
        let (cpus, every) = (self.held.cpus, self.settings.limits.sample_every);
        let Some(watch) = self.watches.by_id.get_mut(&id) else { return };
        watch.measuring = false;
        let sample = sample.unwrap_or_default();
        if watch.stage != Stage::Running {
            return;
        }
        if let Some(kind) = watch.exceeded(&sample) {
            return self.break_limit(id, kind);
        }
        watch.measure_at = watch.pause(&sample, cpus, every).and_then(|p| self.now.after(p));
        self.arm_watch(id);
    }

    fn arm_watch(&mut self, id: WorkerId) {
        let Some(watch) = self.watches.by_id.get(&id) else { return };
        match watch.wall_at.into_iter().chain(watch.measure_at).min() {
            Some(at) => self.timers.set(Timer::Limit(id), self.now, at.since(self.now)),
            None => self.timers.cancel(Timer::Limit(id)),
        }
    }

    /// A deadline of a worker, or the time to measure it.
    pub(super) fn limit_due(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(watch) = self.watches.by_id.get_mut(&id) else { return };
        match watch.stage {
            Stage::Running if watch.wall_at.is_some_and(|at| at <= now) => {
                self.break_limit(id, LimitKind::WallTime);
            }
            Stage::Running => {
                watch.measure_at = None;
                if let Some(what) = watch.measure().filter(|_| !watch.measuring) {
                    watch.measuring = true;
                    self.out.push(Action::Measure { worker: id, what });
                }
                self.arm_watch(id);
            }
            Stage::Asked => self.kill_tree(id, 0),
            Stage::Killed(times) => self.kill_tree(id, times),
        }
    }

    /// A worker is beyond a limit: asked to end where time ran out, killed at once where more of
    /// it is more harm.
    fn break_limit(&mut self, id: WorkerId, kind: LimitKind) {
        tracing::warn!(worker = %id, %kind, "a worker is beyond a limit");
        self.accuse(id, Cause::Limit(kind));
        let signal = match kind {
            LimitKind::WallTime => SIGTERM,
            LimitKind::CpuTime => SIGXCPU,
            LimitKind::Memory | LimitKind::Pids | LimitKind::FileSize => 0,
        };
        let Some(watch) = self.watches.by_id.get_mut(&id) else { return };
        let grace = time(&watch.bounds, Bound::KillGrace).unwrap_or(self.settings.kill_after);
        if signal == 0 || grace.is_zero() {
            return self.kill_tree(id, 0);
        }
        watch.stage = Stage::Asked;
        self.out.push(Action::AskToEnd { worker: id, signal });
        self.timers.set(Timer::Limit(id), self.now, grace);
    }

    fn kill_tree(&mut self, id: WorkerId, times: u32) {
        let Some(watch) = self.watches.by_id.get_mut(&id) else { return };
        watch.stage = Stage::Killed(times.saturating_add(1).min(AGAIN_DOUBLINGS_MAX));
        self.out.push(Action::KillTree { worker: id });
        self.timers.set(Timer::Limit(id), self.now, AGAIN_AFTER * (1 << times));
    }

    /// A worker has ended: who was beyond a limit takes its descendants along.
    pub(super) fn limit_ended(&mut self, id: WorkerId) {
        let watch = self.watches.by_id.get(&id);
        let kill = watch.is_some_and(|watch| watch.stage != Stage::Running);
        if kill || self.watches.grouped.contains(&id) {
            self.out.push(Action::Unlimit { worker: id, kill });
        }
    }

    /// It is struck from the book.
    pub(super) fn unwatch(&mut self, id: WorkerId) {
        self.watches.by_id.remove(&id);
        self.watches.grouped.remove(&id);
        self.timers.cancel(Timer::Limit(id));
        self.count_end(id);
    }

    /// The loop saw in the kernel's counts who killed a worker.
    pub(super) fn blamed(&mut self, id: WorkerId, cause: Cause) {
        self.accuse_by_signal(id, cause, SIGKILL);
    }
}
