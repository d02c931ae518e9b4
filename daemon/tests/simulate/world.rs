//! Virtual time, the schedule of events, and the reaction to each action. Everything that can
//! happen to a real daemon from outside happens here by chance.

use crate::clients::{Client, OPERATOR};
use crate::seen::{IsWork, Seen, kind};
use crate::templates::{Process, Worker};
use fastrand::Rng;
use mpserverd::core::{
    Action, Admission, Core, EarlyRefusal, Event, Held, PoisonRule, PoolKey, PoolSpec, SessionId,
    Settings, Time,
};
use mpserverd::state;
use mpserverd_proto::ids::{PoolId, TemplateId, WorkerId};
use mpserverd_proto::template::OnPreloadError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub(crate) const FIRST_ID: u64 = 1_000_000;

/// Users who are no operators.
pub(crate) const USERS: std::ops::Range<u32> = 2000..2003;

/// Events that a failure tells.
const STORY_EVENTS: usize = 40;

/// The book as the next program has it.
pub(crate) fn hand_over(core: &Core) -> Core {
    let written = state::encode(&core.export()).expect("a book can be written");
    let book = state::decode(&written).expect("and be read");
    let core = Core::import(book, Time::default()).unwrap_or_else(|error| panic!("{error}"));
    let again = state::encode(&core.export()).expect("a book can be written");
    assert_eq!(again, written, "what was read is not what was written");
    core
}

/// How likely things go wrong, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odds {
    pub(crate) load_fails: u8,
    pub(crate) hangs: u8,
    pub(crate) dies: u8,
    pub(crate) fork_fails: u8,
    pub(crate) spare_dies: u8,
    pub(crate) chaos: u8,
}

impl Odds {
    pub(crate) const NONE: Self =
        Self { load_fails: 0, hangs: 0, dies: 0, fork_fails: 0, spare_dies: 0, chaos: 0 };
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) core: Core,
    pub(crate) now: Duration,
    pub(crate) odds: Odds,
    schedule: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    pub(crate) settings: Settings,
    /// Spares that each pool keeps once the reload in progress has switched.
    pub(crate) reloading: Option<u32>,
    /// The highest bound of spares that any settings had.
    pub(crate) spares_max: u32,
    pub(crate) templates: BTreeMap<TemplateId, Process>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// Workers that have a group.
    pub(crate) groups: BTreeSet<WorkerId>,
    pub(crate) clients: BTreeMap<SessionId, Client>,
    pub(crate) keys: BTreeMap<PoolId, PoolKey>,
    pub(crate) known_keys: BTreeSet<PoolKey>,
    pub(crate) last_session: u64,
    pub(crate) last_pid: u32,
    pub(crate) events: u64,
    pub(crate) ticks: u64,
    pub(crate) settled: u32,
    /// Proofs that a watchdog got.
    pub(crate) proven: u32,
    pub(crate) listening: bool,
    pub(crate) finished_at: Option<Duration>,
    pub(crate) seen: Seen,
    past: VecDeque<(Duration, Event, Vec<Action>)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let calm = rng.u8(..4) == 0;
        let mut odd = |most: u8| if calm { 0 } else { rng.u8(0..=most) };
        let odds = Odds {
            load_fails: odd(30),
            hangs: odd(10),
            dies: odd(10),
            fork_fails: odd(20),
            spare_dies: odd(10),
            chaos: odd(20),
        };
        let groups = rng.bool();
        let held = Held { groups, memory: groups, cpu: true, pids: groups && rng.bool(), cpus: 2 };
        let core = Core::new(Time::default(), "1.2.3", 42, "/run/sock", FIRST_ID);
        let core = core.with_uid(1000).with_held(held).with_seed(seed);
        let mut world = Self {
            rng,
            core,
            now: Duration::ZERO,
            odds,
            schedule: BTreeMap::new(),
            sequence: 0,
            settings: Settings::default(),
            reloading: None,
            spares_max: 0,
            templates: BTreeMap::new(),
            workers: BTreeMap::new(),
            groups: BTreeSet::new(),
            clients: BTreeMap::new(),
            keys: BTreeMap::new(),
            known_keys: BTreeSet::new(),
            last_session: 0,
            last_pid: 1000,
            events: 0,
            ticks: 0,
            settled: 0,
            proven: 0,
            listening: true,
            finished_at: None,
            seen: Seen::new(),
            past: VecDeque::new(),
        };
        let (settings, preload) = (world.any_settings(), world.any_preload());
        world.learn(&settings, &preload);
        world.tell(Event::Configured { origin: None, settings: Box::new(settings), preload });
        world
    }

    pub(crate) fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    /// Some time, mostly short, up to `most` milliseconds.
    pub(crate) fn some_ms(&mut self, most: u64) -> Duration {
        let bound = 1 + self.rng.u64(..=most * 1000);
        Duration::from_micros(self.rng.u64(..bound))
    }

    pub(crate) fn next_pid(&mut self) -> u32 {
        self.last_pid += 1;
        self.last_pid
    }

    pub(crate) fn any_settings(&mut self) -> Settings {
        let rng = &mut self.rng;
        let mut ms = |from: u64, to: u64| Duration::from_millis(rng.u64(from..=to));
        let mut settings = Settings {
            preload_timeout: ms(50, 500),
            handshake_timeout: ms(20, 200),
            idle_timeout: ms(100, 5000),
            backoff_min: ms(1, 50),
            backoff_max: ms(100, 3000),
            backoff_reset: ms(10, 2000),
            refill_delay: ms(0, 3),
            decay_after: ms(5, 500),
            kill_after: ms(10, 300),
            ..Settings::default()
        };
        settings.spares_min = rng.u32(0..4);
        settings.spares_max = rng.u32(1..40);
        settings.workers_max = rng.u64(1..30);
        settings.templates_max = rng.usize(1..8);
        settings.limits = crate::limits::any_limits(rng);
        settings.operators = vec![1000];
        settings.deaths_kept = rng.usize(..30);
        settings.slow_log = rng.bool().then(|| Duration::from_millis(rng.u64(1..200)));
        settings.poison = PoisonRule {
            deaths: rng.u32(..5),
            window: Duration::from_millis(rng.u64(1..3000)),
            back_off: Duration::from_millis(rng.u64(1..500)),
        };
        settings.admission = self.any_admission();
        settings
    }

    fn any_admission(&mut self) -> Admission {
        let rng = &mut self.rng;
        let begin = rng.u32(1..40);
        let rule = EarlyRefusal { begin, rate: rng.u32(0..=100), full: begin + rng.u32(0..60) };
        let mut ms = |from: u64, to: u64| Duration::from_millis(rng.u64(from..=to));
        let (penalty, penalty_min, penalty_max) = (ms(1, 20), ms(1, 50), ms(50, 2000));
        let good_conduct = ms(5, 500);
        Admission {
            early_refusal: rng.bool().then_some(rule),
            // Many worlds have none, so that everything else is seen often enough.
            penalty: if rng.bool() { penalty } else { Duration::ZERO },
            penalty_min,
            penalty_max,
            good_conduct,
            penalised_max: rng.usize(1..4),
            exempt: if rng.bool() { [OPERATOR].into() } else { [].into() },
        }
    }

    pub(crate) fn any_spec(&mut self) -> PoolSpec {
        let key = self.rng.u8(..6);
        let all = ["alpha", "beta", "gamma"];
        let modules = all[..usize::from(key) % 4].iter().map(|&name| name.to_owned()).collect();
        let on_error = match self.rng.u8(..5) {
            0 => OnPreloadError::Fail,
            1 | 2 => OnPreloadError::Ignore,
            _ => OnPreloadError::Warn,
        };
        let (name, uid) = (format!("pool-{key}"), (key > 3).then_some(2000));
        PoolSpec { key: PoolKey(vec![key]), name, modules, on_error, uid }
    }

    pub(crate) fn any_preload(&mut self) -> Vec<PoolSpec> {
        (0..self.rng.usize(..4)).map(|_| self.any_spec()).collect()
    }

    pub(crate) fn learn(&mut self, settings: &Settings, preload: &[PoolSpec]) {
        self.spares_max = self.spares_max.max(settings.spares_max).max(settings.spares_min);
        self.known_keys.extend(preload.iter().map(|spec| spec.key.clone()));
        self.settings = settings.clone();
    }

    pub(crate) fn schedule(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.schedule.insert((self.now + delay, self.sequence), event);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.schedule.is_empty()
    }

    /// The daemon goes on as another program: the book is the same, to the last timer.
    pub(crate) fn hand_over(&mut self) {
        let core = hand_over(&self.core);
        assert_eq!(format!("{core:?}"), format!("{:?}", self.core));
        self.core = core;
        *self.seen.entry("handed over").or_default() += 1;
    }

    /// The next thing that happens: a scheduled event, a deadline, or something new.
    pub(crate) fn step(&mut self) {
        if self.chance(1) {
            self.hand_over();
        }
        let new = self.now + self.some_ms(4);
        if !self.advance_until(Some(new)) {
            self.now = new;
            self.something_new();
        }
    }

    /// The next scheduled event or deadline, if there is one before that time.
    pub(crate) fn advance_until(&mut self, limit: Option<Duration>) -> bool {
        let event = self.schedule.first_key_value().map(|(&(at, _), _)| at);
        let tick = self.core.next_deadline().map(|Time(at)| at.max(self.now));
        let Some(first) = event.into_iter().chain(tick).min() else { return false };
        if limit.is_some_and(|limit| first > limit) {
            return false;
        }
        self.now = self.now.max(first);
        if event == Some(first) && (tick != event || self.rng.bool()) {
            if let Some((_, event)) = self.schedule.pop_first() {
                self.happen(event);
            }
        } else {
            self.ticks += 1;
            self.tell(Event::Tick);
            let next = self.core.next_deadline();
            assert!(next.is_none_or(|Time(at)| at > self.now), "a deadline that is past");
        }
        true
    }

    /// Tells the core, then does what it wants and checks everything.
    pub(crate) fn tell(&mut self, event: Event) {
        self.events += 1;
        let mut actions = Vec::new();
        if self.past.len() == STORY_EVENTS {
            self.past.pop_front();
        }
        self.past.push_back((self.now, event.clone(), Vec::new()));
        self.core.handle(Time(self.now), event, &mut actions);
        if let Some((_, _, past)) = self.past.back_mut() {
            past.clone_from(&actions);
        }
        for action in actions {
            *self.seen.entry(kind(&action)).or_default() += 1;
            self.act(action);
        }
        if let Err(wrong) = self.core.audit() {
            panic!("{wrong}");
        }
    }

    /// What happened last.
    pub(crate) fn story(&self) -> String {
        let lines = self.past.iter().map(|(at, event, actions)| {
            let actions = actions.iter().map(|action| format!("\n      -> {action:?}"));
            format!("{at:?} {event:?}{}\n", actions.collect::<String>())
        });
        lines.collect()
    }

    fn act(&mut self, action: Action) {
        assert!(self.finished_at.is_none() || !action.is_work(), "after the end: {action:?}");
        match action {
            Action::Reply { session, id, reply } => self.replied(session, id, &reply),
            Action::Processes { session, id, report, filter } => {
                self.listed(session, id, &report, &filter);
            }
            Action::Grant { session, id, grant } => self.granted(session, id, grant),
            Action::Build { template, pool, key, generation, without, .. } => {
                assert!(self.known_keys.contains(&key), "a forgotten pool is built");
                self.keys.insert(pool, key.clone());
                self.build(template, pool, &key, generation, &without);
            }
            Action::Fork { template, first, count } => self.fork(template, first, count),
            Action::Retire { template } => self.retire(template),
            Action::StopTemplate { template } => self.stop_template(template),
            Action::KillTemplate { template } => self.kill_template(template),
            Action::ReleaseSpare { worker } => self.release(worker),
            Action::Signal { worker, signal } => self.signal(worker, signal),
            Action::Limit { worker, .. } => self.limit(worker),
            Action::Measure { worker, .. } => self.measure(worker),
            Action::AskToEnd { worker, signal } => self.signal(worker, signal),
            Action::KillTree { worker } => self.kill_tree(worker),
            Action::Unlimit { worker, .. } => self.unlimit(worker),
            Action::LookAtSlow { worker, after, leased } => {
                assert!(leased >= after, "{leased:?} is not slow");
                assert!(self.workers.contains_key(&worker), "a worker that is not there");
                if self.rng.bool() {
                    let at = self.some_ms(2);
                    let again = self.some_ms(50);
                    self.schedule(at, Event::NotSlow { worker, again });
                }
            }
            Action::ForgetPool { key } => self.forget(&key),
            Action::Settled { .. } | Action::StartFailed { .. } => {
                self.settled += 1;
                assert_eq!(self.settled, 1, "the verdict is told once");
            }
            Action::ReloadEnded { switched } => self.reload_ended(switched),
            Action::Proven => self.proven += 1,
            Action::StopListening => {
                assert!(std::mem::replace(&mut self.listening, false));
            }
            Action::Finished => {
                assert!(self.core.is_drained());
                assert!(self.finished_at.replace(self.now).is_none());
            }
        }
    }

    /// Who is switched to has proven itself, and has spares for who comes first.
    fn reload_ended(&mut self, switched: bool) {
        let spares_min = self.reloading.take().expect("a reload was asked for");
        if !switched {
            return;
        }
        let now = self.core.generation();
        for (id, process) in &self.templates {
            let serves = process.generation == now && !process.leaving;
            // What still loads at the switch begins again, and is no part of it.
            if serves && process.ready && spares_min > 0 {
                assert!(process.sent > 0, "{id} is switched to without a spare");
            }
        }
    }

    fn forget(&mut self, key: &PoolKey) {
        assert!(self.known_keys.remove(key), "forgotten twice");
        let open = |client: &Client| client.pools.iter().any(|p| self.keys.get(p) == Some(key));
        assert!(!self.clients.values().any(open), "a pool that a session opened");
        self.keys.retain(|_, known| known != key);
    }
}
