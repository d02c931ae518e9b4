//! Template processes and their workers, as the core sees them: they load, fork, fail, hang and
//! die at random.

use crate::clients::any_task;
use crate::world::World;
use mpserverd::core::{Event, Obituary, PoolKey};
use mpserverd_proto::death::{Foreseen, LastWords};
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use mpserverd_proto::ids::{PoolId, TemplateId, WorkerId};
use mpserverd_proto::job::END_IF_IDLE;
use mpserverd_proto::status::{ExitRecord, Reporter, Usage};
use mpserverd_proto::template::{Memory, ModuleReport};
use std::time::Duration;

/// A template process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pool: PoolId,
    pub(crate) ready: bool,
    /// It exits after its last worker.
    pub(crate) retired: bool,
    pub(crate) hangs: bool,
    /// Forks that were asked for and not answered.
    pub(crate) in_flight: u32,
    /// Generation that it was built for; 0 if it attached itself.
    pub(crate) generation: u32,
    /// Spares that it has sent.
    pub(crate) sent: u32,
    /// It was told to leave.
    pub(crate) leaving: bool,
}

impl Process {
    pub(crate) fn new(pool: PoolId, generation: u32) -> Self {
        Self {
            pool,
            ready: false,
            retired: false,
            hangs: false,
            in_flight: 0,
            generation,
            sent: 0,
            leaving: false,
        }
    }
}

/// Who has a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Pool,
    Client,
    Nobody,
}

/// A worker, until the core was told of its end.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) template: TemplateId,
    pub(crate) owner: Owner,
    /// Whose it is, once a client has it.
    pub(crate) uid: Option<u32>,
    /// Its end is scheduled.
    pub(crate) ending: bool,
}

pub(crate) fn module(name: &str) -> ModuleReport {
    ModuleReport {
        name: name.into(),
        title: name.into(),
        version: "1".into(),
        path: format!("/lib/{name}.so"),
        tasks: Vec::new(),
        load_us: 10,
        added_kib: 1,
        error: None,
    }
}

impl World {
    /// A template process starts; its life up to readiness is scheduled here.
    pub(crate) fn build(
        &mut self,
        id: TemplateId,
        pool: PoolId,
        key: &PoolKey,
        generation: u32,
        without: &[String],
    ) {
        let process = Process::new(pool, generation);
        assert!(self.templates.insert(id, process).is_none(), "a template id came twice");
        let mut at = self.some_ms(2);
        if self.chance(self.odds.load_fails / 4) {
            let error = broken("exec", Stage::Exec);
            return self.schedule(at, Event::TemplateNotStarted { template: id, error });
        }
        let pid = self.next_pid();
        self.schedule(at, Event::TemplateStarted { template: id, pid });
        if self.chance(self.odds.hangs) {
            return;
        }
        at += self.some_ms(5);
        if self.chance(self.odds.dies) {
            return self.schedule(at, Event::TemplateGone { template: id, code: Some(0) });
        }
        self.schedule(at, Event::TemplateHello { template: id });
        let all = ["alpha", "beta", "gamma"];
        let mut modules = Vec::new();
        for name in &all[..usize::from(key.0[0]) % 4] {
            if without.iter().any(|left_out| left_out == name) {
                continue;
            }
            at += self.some_ms(10);
            let stage = Stage::Load;
            let loading = Event::TemplateLoading { template: id, module: (*name).into(), stage };
            self.schedule(at, loading);
            if self.chance(self.odds.load_fails / 3) {
                return self.fail_at(id, name, at);
            }
            modules.push(module(name));
        }
        at += self.some_ms(3);
        let memory = Memory::default();
        self.schedule(at, Event::TemplateReady { template: id, modules, memory });
    }

    fn fail_at(&mut self, id: TemplateId, name: &str, mut at: Duration) {
        at += self.some_ms(5);
        match self.rng.u8(..4) {
            0 => {}
            1 => self.schedule(at, Event::TemplateGone { template: id, code: Some(-11) }),
            _ => {
                let error = broken(name, Stage::Init);
                self.schedule(at, Event::TemplateFailed { template: id, error });
                at += self.some_ms(3);
                self.schedule(at, Event::TemplateGone { template: id, code: Some(1) });
            }
        }
    }

    /// Whether it would happen to a template that is gone.
    fn is_moot(&self, event: &Event) -> bool {
        match event {
            Event::TemplateNotStarted { template, .. }
            | Event::TemplateGone { template, .. }
            | Event::TemplateStarted { template, .. }
            | Event::TemplateHello { template }
            | Event::TemplateLoading { template, .. }
            | Event::TemplateFailed { template, .. } => !self.templates.contains_key(template),
            _ => false,
        }
    }

    /// Something scheduled happens, if those to whom it was to happen still live.
    pub(crate) fn happen(&mut self, event: Event) {
        if self.is_moot(&event) {
            return;
        }
        match &event {
            Event::TemplateNotStarted { template, .. } | Event::TemplateGone { template, .. } => {
                self.templates.remove(template);
            }
            Event::TemplateReady { template, .. } => {
                let Some(process) = self.templates.get_mut(template) else { return };
                process.ready = true;
                self.plan_death(*template);
            }
            Event::Spares { template, spares } => {
                let Some(process) = self.templates.get_mut(template) else { return };
                process.in_flight -= spares.len() as u32;
                process.sent += spares.len() as u32;
                for &(id, _) in spares {
                    let worker = Worker {
                        template: *template,
                        owner: Owner::Pool,
                        uid: None,
                        ending: false,
                    };
                    assert!(self.workers.insert(id, worker).is_none(), "a worker id came twice");
                }
                for (id, _) in spares.clone() {
                    if self.chance(self.odds.spare_dies) {
                        let life = self.some_ms(50);
                        self.end_worker(id, life, -9);
                    }
                }
            }
            Event::ForkFailed { template, missing, .. } => {
                let Some(process) = self.templates.get_mut(template) else { return };
                process.in_flight -= u32::from(*missing);
            }
            Event::WorkerEnded { worker, record, last, .. } => {
                // It ran nothing, as one that was leased in advance and given back.
                let idle = record.code == 0 && last.as_ref().is_some_and(|l| l.task.is_empty());
                let idle = idle || record.code == -END_IF_IDLE;
                let Some(gone) = self.workers.remove(worker) else { return };
                let before = self.core.deaths();
                self.tell(event);
                self.check_certificate(&gone, idle, self.core.deaths() - before);
                return self.exit_if_retired(gone.template);
            }
            _ => {}
        }
        self.tell(event);
    }

    /// Each client's worker that ended has exactly one certificate, no spare that was let go has
    /// one. (A stopped daemon gives up on those whose end is not reported.)
    fn check_certificate(&self, gone: &Worker, idle: bool, written: u64) {
        match gone.owner {
            Owner::Client if idle => assert!(written <= 1, "one death is recorded twice"),
            Owner::Client => assert!(written == 1 || !self.listening, "a death without record"),
            Owner::Nobody => assert_eq!(written, 0, "a spare was let go, and has a certificate"),
            Owner::Pool => assert!(written <= 1, "one death is recorded twice"),
        }
    }

    fn plan_death(&mut self, id: TemplateId) {
        if self.chance(self.odds.dies) {
            let life = self.some_ms(3000);
            self.schedule(life, Event::TemplateGone { template: id, code: Some(-6) });
        }
    }

    pub(crate) fn fork(&mut self, id: TemplateId, first: WorkerId, count: u16) {
        let count = u32::from(count);
        let waiting = self.waiting_for(self.templates[&id].pool);
        let parked = self.workers.values().filter(|w| w.template == id && w.owner == Owner::Pool);
        let parked = parked.count() as u32;
        let (hang, failing) = (self.chance(self.odds.hangs / 3), self.chance(self.odds.fork_fails));
        let process = self.templates.get_mut(&id).expect("forks of a template that lives");
        assert!(process.ready && !process.retired, "a fork of a template that does not serve");
        assert!((1..=32).contains(&count));
        process.in_flight += count;
        let bound = self.spares_max + waiting;
        let would_be = parked + process.in_flight;
        assert!(would_be <= bound, "{would_be} spares, {bound} are wanted at most");
        if hang {
            return;
        }
        let good = if failing { self.rng.u32(..count) } else { count };
        let split = self.rng.u32(..=good);
        let mut at = self.some_ms(3);
        for range in [0..split, split..good] {
            let spares: Vec<_> =
                range.map(|n| (WorkerId(first.0 + u64::from(n)), self.next_pid())).collect();
            if !spares.is_empty() {
                self.schedule(at, Event::Spares { template: id, spares });
                at += self.some_ms(3);
            }
        }
        if good < count {
            let missing = (count - good) as u16;
            let message = "Resource temporarily unavailable".into();
            self.schedule(at, Event::ForkFailed { template: id, missing, message });
        }
    }

    pub(crate) fn retire(&mut self, id: TemplateId) {
        let hangs = self.chance(self.odds.hangs);
        // One that has just died is not known any more.
        let Some(process) = self.templates.get_mut(&id) else { return };
        assert!(process.ready, "what loads is stopped, not retired");
        process.retired = true;
        process.leaving = true;
        process.hangs = hangs;
        self.exit_if_retired(id);
    }

    fn exit_if_retired(&mut self, id: TemplateId) {
        let Some(process) = self.templates.get(&id) else { return };
        let busy = self.workers.values().any(|w| w.template == id);
        if process.retired && !process.hangs && !busy {
            let at = self.some_ms(5);
            self.schedule(at, Event::TemplateGone { template: id, code: Some(0) });
        }
    }

    pub(crate) fn stop_template(&mut self, id: TemplateId) {
        self.templates.entry(id).and_modify(|process| process.leaving = true);
        let own: Vec<_> =
            self.workers.iter().filter(|(_, w)| w.template == id).map(|(id, _)| *id).collect();
        for worker in own {
            self.end_worker(worker, Duration::ZERO, -9);
        }
        if !self.chance(self.odds.hangs) {
            let at = Duration::from_micros(1) + self.some_ms(5);
            self.schedule(at, Event::TemplateGone { template: id, code: Some(0) });
        }
    }

    pub(crate) fn kill_template(&mut self, id: TemplateId) {
        self.templates.entry(id).and_modify(|process| process.leaving = true);
        // Now and then even that is never reported.
        if !self.chance(self.odds.hangs / 5) {
            let at = self.some_ms(3);
            self.schedule(at, Event::TemplateGone { template: id, code: Some(-9) });
        }
    }

    pub(crate) fn release(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        assert_eq!(worker.owner, Owner::Pool, "{id} is released, but not a spare");
        worker.owner = Owner::Nobody;
        if !self.chance(self.odds.hangs) {
            let at = self.some_ms(3);
            self.end_worker(id, at, 0);
        }
    }

    pub(crate) fn signal(&mut self, id: WorkerId, signal: i32) {
        assert!(self.workers.contains_key(&id), "a signal to a worker that is not there");
        if signal == END_IF_IDLE {
            return self.end_if_idle(id);
        }
        let deaf = if signal == 9 { self.odds.hangs / 5 } else { self.odds.hangs * 3 };
        if matches!(signal, 9 | 15 | 24) && !self.chance(deaf) {
            let at = self.some_ms(5);
            self.end_worker(id, at, -signal);
        }
    }

    /// What stands on a board, if there is one.
    fn any_words(&mut self) -> Option<LastWords> {
        let task = any_task(&mut self.rng).unwrap_or_default();
        let foreseen = [None, None, Some(Foreseen::Deadline), Some(Foreseen::ClientGone)];
        let foreseen = self.rng.choice(foreseen).flatten();
        let finished = self.rng.bool();
        let words = LastWords { task, foreseen, finished, ..LastWords::default() };
        self.rng.bool().then_some(words)
    }

    pub(crate) fn end_worker(&mut self, id: WorkerId, at: Duration, code: i32) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !std::mem::replace(&mut worker.ending, true) {
            let mut ended = ended(id, code);
            if let Event::WorkerEnded { last, .. } = &mut ended {
                *last = self.any_words();
            }
            self.schedule(at, ended);
        }
    }
}

/// The end of a worker, as the loop tells it.
pub(crate) fn ended(worker: WorkerId, code: i32) -> Event {
    let (usage, reporter) = (Usage::default(), Reporter::Template);
    let record = ExitRecord { code, core: false, usage, reporter, out_of_cpu: false };
    Event::WorkerEnded { worker, record, last: None, stderr: Vec::new() }
}

/// The same, as a template tells it to the next daemon.
pub(crate) fn obituary(worker: WorkerId, code: i32) -> Obituary {
    let Event::WorkerEnded { record, .. } = ended(worker, code) else { panic!("no end") };
    let last = Some(LastWords { panic: Some("no".into()), ..LastWords::default() });
    let (ended_ms, lessee, stderr) = (u64::MAX, None, vec!["x".repeat(400); 40]);
    Obituary { worker, pid: 1, record, last, ended_ms, lessee, stderr }
}

pub(crate) fn broken(module: &str, stage: Stage) -> PreloadError {
    let fault = Fault::HookFailed("no".into());
    PreloadError { module: module.into(), stage, fault }
}
