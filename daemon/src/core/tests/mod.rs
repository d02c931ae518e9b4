//! One test per rule of the core; what holds whatever happens is the simulator's.

mod admission;
mod builds;
mod explanations;
mod leases;
mod limits;
mod measures;
mod processes;
mod reloads;
mod reports;
mod sights;
mod stops;
mod upkeep;

use super::*;
use mpserverd_proto::client::{Grant, Reply};
use mpserverd_proto::error::{Fault, PreloadError, Refusal, Stage};
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::status::{ExitRecord, Reporter, Usage};
use mpserverd_proto::template::{Memory, ModuleReport, OnPreloadError};
use std::time::Duration;

const S: SessionId = SessionId(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn spec(name: &str, modules: &[&str], on_error: OnPreloadError) -> PoolSpec {
    PoolSpec {
        key: PoolKey(name.as_bytes().to_vec()),
        name: name.into(),
        modules: modules.iter().map(|&name| name.to_owned()).collect(),
        on_error,
        uid: None,
    }
}

fn warn(name: &str) -> PoolSpec {
    spec(name, &["alpha", "beta"], OnPreloadError::Warn)
}

fn broken(module: &str) -> PreloadError {
    PreloadError {
        module: module.into(),
        stage: Stage::Init,
        fault: Fault::HookFailed("no".into()),
    }
}

fn module(name: &str) -> ModuleReport {
    ModuleReport {
        name: name.into(),
        title: name.into(),
        version: "1".into(),
        path: String::new(),
        tasks: Vec::new(),
        load_us: 1,
        added_kib: 1,
        error: None,
    }
}

/// A core with a clock, audited after every event.
struct Bench {
    core: Core,
    now: Duration,
    last_request: u64,
    last_pid: u32,
}

impl Bench {
    fn new(settings: Settings, preload: Vec<PoolSpec>) -> (Self, Vec<Action>) {
        let core = Core::new(Time::default(), "1.0", 7, "/sock", 100);
        let mut bench = Self { core, now: Duration::ZERO, last_request: 0, last_pid: 0 };
        let settings = Settings { operators: vec![1000], ..settings };
        let actions =
            bench.tell(Event::Configured { origin: None, settings: Box::new(settings), preload });
        bench.connect(S);
        (bench, actions)
    }

    /// One preloaded pool that serves with its first spares.
    fn serving(settings: Settings) -> (Self, PoolId, TemplateId) {
        let (mut bench, actions) = Bench::new(settings, vec![warn("p")]);
        let template = built(&actions)[0];
        let actions = bench.ready(template);
        bench.come_up(&actions);
        let pool = bench.open(warn("p"));
        (bench, pool, template)
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.core.handle(Time(self.now), event, &mut actions);
        self.core.audit().expect("the book is right");
        actions
    }

    /// Lets time pass, with a tick at every deadline.
    fn wait(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        while let Some(Time(at)) = self.core.next_deadline().filter(|at| at.0 <= end) {
            self.now = at;
            actions.extend(self.tell(Event::Tick));
        }
        self.now = end;
        actions
    }

    fn connect(&mut self, session: SessionId) {
        self.tell(Event::SessionOpened { session, peer: Peer { pid: 900, uid: 1000, gid: 1000 } });
    }

    fn ask(&mut self, session: SessionId, ask: Ask) -> (RequestId, Vec<Action>) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        (id, self.tell(Event::Asked { session, id, ask }))
    }

    fn open(&mut self, spec: PoolSpec) -> PoolId {
        let (_, actions) = self.ask(S, Ask::Open(spec));
        let opened = actions.iter().find_map(|action| match action {
            Action::Reply { reply: Reply::Opened(pool), .. } => Some(*pool),
            _ => None,
        });
        opened.expect("opened")
    }

    fn lease(&mut self, session: SessionId, pool: PoolId) -> (RequestId, Vec<Action>) {
        self.ask(session, Ask::Lease { pool, wait: ms(5000), task: None, trace: None })
    }

    fn ready(&mut self, template: TemplateId) -> Vec<Action> {
        self.tell(Event::TemplateHello { template });
        let modules = vec![module("alpha"), module("beta")];
        self.tell(Event::TemplateReady { template, modules, memory: Memory::default() })
    }

    /// A template is ready, and so are the spares that it is asked for.
    fn ready_with_spares(&mut self, template: TemplateId) -> Vec<Action> {
        let mut actions = self.ready(template);
        let then = self.come_up(&actions);
        actions.extend(then);
        actions
    }

    fn fail(&mut self, template: TemplateId, module: &str) -> Vec<Action> {
        let actions = self.tell(Event::TemplateFailed { template, error: broken(module) });
        self.tell(Event::TemplateGone { template, code: Some(1) });
        actions
    }

    /// All forks that were asked for succeed.
    fn come_up(&mut self, actions: &[Action]) -> Vec<Action> {
        let mut then = Vec::new();
        for (template, first, count) in forked(actions) {
            let spares = (0..u64::from(count)).map(|n| {
                self.last_pid += 1;
                (WorkerId(first.0 + n), self.last_pid)
            });
            let spares = spares.collect();
            then.extend(self.tell(Event::Spares { template, spares }));
        }
        then
    }

    fn end(&mut self, worker: WorkerId) -> Vec<Action> {
        self.end_with(worker, 0)
    }

    fn end_with(&mut self, worker: WorkerId, code: i32) -> Vec<Action> {
        let (usage, reporter) = (Usage::default(), Reporter::Template);
        let record = ExitRecord { code, core: false, usage, reporter, out_of_cpu: false };
        self.tell(Event::WorkerEnded { worker, record, last: None, stderr: Vec::new() })
    }
}

fn built(actions: &[Action]) -> Vec<TemplateId> {
    let built = actions.iter().filter_map(|action| match action {
        Action::Build { template, .. } => Some(*template),
        _ => None,
    });
    built.collect()
}

fn without(actions: &[Action]) -> Vec<String> {
    let lists = actions.iter().filter_map(|action| match action {
        Action::Build { without, .. } => Some(without.clone()),
        _ => None,
    });
    lists.flatten().collect()
}

fn forked(actions: &[Action]) -> Vec<(TemplateId, WorkerId, u16)> {
    let forked = actions.iter().filter_map(|action| match action {
        Action::Fork { template, first, count } => Some((*template, *first, *count)),
        _ => None,
    });
    forked.collect()
}

fn forks(actions: &[Action]) -> u16 {
    forked(actions).iter().map(|(_, _, count)| count).sum()
}

fn granted(actions: &[Action]) -> Vec<(SessionId, Grant)> {
    let granted = actions.iter().filter_map(|action| match action {
        Action::Grant { session, grant, .. } => Some((*session, *grant)),
        _ => None,
    });
    granted.collect()
}

fn released(actions: &[Action]) -> Vec<WorkerId> {
    let released = actions.iter().filter_map(|action| match action {
        Action::ReleaseSpare { worker } => Some(*worker),
        _ => None,
    });
    released.collect()
}

fn signals(actions: &[Action]) -> Vec<i32> {
    let signals = actions.iter().filter_map(|action| match action {
        Action::Signal { signal, .. } => Some(*signal),
        _ => None,
    });
    signals.collect()
}

fn refused(actions: &[Action]) -> Vec<(RequestId, Refusal)> {
    let refused = actions.iter().filter_map(|action| match action {
        Action::Reply { id, reply: Reply::Refused(refusal), .. } => Some((*id, refusal.clone())),
        _ => None,
    });
    refused.collect()
}

fn replies(actions: &[Action]) -> Vec<Reply> {
    let replies = actions.iter().filter_map(|action| match action {
        Action::Reply { reply, .. } => Some(reply.clone()),
        _ => None,
    });
    replies.collect()
}
