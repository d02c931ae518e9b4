//! Sessions that ask, cancel and vanish, and operators that reload, kill and stop.

use crate::templates::{Owner, Process, Worker, broken, ended, module, obituary};
use crate::world::{USERS, World};
use mpserverd::core::{Ask, Event, Peer, PoolKey, SessionId};
use mpserverd_proto::client::{Grant, Reply, WorkerRef};
use mpserverd_proto::death::DeathsQuery;
use mpserverd_proto::error::{Refusal, Stage};
use mpserverd_proto::explain::Subject;
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId, WorkerId};
use mpserverd_proto::report::{ProcessFilter, ProcessesReport, StatusReport};
use mpserverd_proto::template::{Lessee, Memory};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a request that is not answered yet is.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Open(PoolKey),
    Lease(PoolId),
    Other,
}

/// The user that sees everything.
pub(crate) const OPERATOR: u32 = 1000;

/// A client connection.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) pools: Vec<PoolId>,
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    pub(crate) last: u64,
    /// Its user: 1000 is an operator.
    pub(crate) uid: u32,
}

/// What a worker is leased for, if the client says so.
pub(crate) fn any_task(rng: &mut fastrand::Rng) -> Option<String> {
    rng.choice(["", "good", "bad"]).filter(|task| !task.is_empty()).map(str::to_owned)
}

/// Some deaths.
pub(crate) fn any_query(rng: &mut fastrand::Rng) -> DeathsQuery {
    DeathsQuery { after: rng.u64(..20), limit: rng.u32(..20), worker: None, cause: None }
}

impl World {
    /// Something that nobody expected.
    pub(crate) fn something_new(&mut self) {
        if self.chance(self.odds.chaos) {
            return self.chaos();
        }
        match self.rng.u8(..100) {
            0..5 => self.connect(),
            5..7 => self.hang_up(),
            7..14 => self.ask_to_open(),
            14..50 => self.ask_for_workers(),
            50..55 => self.cancel_something(),
            55..80 => self.end_some_worker(),
            80..90 => self.ask_for_a_report(),
            90..93 => self.kill_something(),
            93..95 => self.reload(),
            95 => {
                let (uid, why) = (self.some_user(), "nonsense".to_owned());
                self.tell(Event::Misbehaved { uid, why });
            }
            96..98 => self.attach(),
            98 if self.rng.bool() => self.change_something(),
            98 => self.tell(Event::ProbeDue),
            // The loop was late.
            _ => {
                let late = self.some_ms(3000);
                self.now += late;
            }
        }
    }

    /// An operator, or somebody who is none.
    fn some_user(&mut self) -> u32 {
        if self.chance(70) { OPERATOR } else { self.rng.u32(USERS) }
    }

    fn some_session(&mut self) -> Option<SessionId> {
        let sessions: Vec<_> = self.clients.keys().copied().collect();
        self.rng.choice(sessions)
    }

    pub(crate) fn ask(&mut self, session: SessionId, asked: Asked, ask: Ask) -> RequestId {
        let client = self.clients.get_mut(&session).expect("a session that is open");
        client.last += 1;
        let id = RequestId(client.last);
        client.asked.insert(id, asked);
        self.tell(Event::Asked { session, id, ask });
        id
    }

    fn connect(&mut self) {
        if !self.listening {
            return;
        }
        self.last_session += 1;
        let (session, pid) = (SessionId(self.last_session), self.next_pid());
        let uid = self.some_user();
        self.clients.insert(session, Client { uid, ..Client::default() });
        self.tell(Event::SessionOpened { session, peer: Peer { pid, uid, gid: 1000 } });
    }

    fn hang_up(&mut self) {
        if let Some(session) = self.some_session() {
            self.close(session);
        }
    }

    pub(crate) fn close(&mut self, session: SessionId) {
        self.clients.remove(&session);
        self.tell(Event::SessionClosed { session });
    }

    fn ask_to_open(&mut self) {
        let Some(session) = self.some_session() else { return self.connect() };
        let spec = self.any_spec();
        self.known_keys.insert(spec.key.clone());
        self.ask(session, Asked::Open(spec.key.clone()), Ask::Open(spec));
    }

    fn ask_for_workers(&mut self) {
        let Some(session) = self.some_session() else { return self.connect() };
        let Some(pool) = self.rng.choice(self.clients[&session].pools.clone()) else {
            return self.ask_to_open();
        };
        let burst = if self.chance(10) { self.rng.u32(1..60) } else { 1 };
        for _ in 0..burst {
            let wait = self.some_ms(400);
            if self.chance(5) {
                self.ask(session, Asked::Other, Ask::PoolModules { pool, wait });
            } else if self.chance(20) {
                let bounds = crate::limits::any_bounds(&mut self.rng);
                let ask = Ask::LeaseWith { pool, wait, bounds, task: None, trace: None };
                self.ask(session, Asked::Lease(pool), ask);
            } else {
                let task = any_task(&mut self.rng);
                let ask = Ask::Lease { pool, wait, task, trace: None };
                self.ask(session, Asked::Lease(pool), ask);
            }
        }
    }

    fn cancel_something(&mut self) {
        let Some(session) = self.some_session() else { return };
        let waiting: Vec<_> = self.clients[&session].asked.keys().copied().collect();
        let target = self.rng.choice(waiting).unwrap_or(RequestId(7));
        self.ask(session, Asked::Other, Ask::Cancel(target));
    }

    fn end_some_worker(&mut self) {
        let leased = self.workers.iter().filter(|(_, w)| w.owner == Owner::Client);
        let leased: Vec<_> = leased.map(|(id, _)| *id).collect();
        if let Some(worker) = self.rng.choice(leased) {
            let code = self.rng.i32(-15..3);
            self.end_worker(worker, Duration::ZERO, code);
        }
    }

    fn ask_for_a_report(&mut self) {
        let Some(session) = self.some_session() else { return };
        let ask = match self.rng.u8(..6) {
            0 => self.some_processes(),
            3 => Ask::Deaths { query: any_query(&mut self.rng), all: self.rng.bool() },
            4 => {
                let worker = self.rng.choice(self.workers.keys().copied().collect::<Vec<_>>());
                let worker = worker.unwrap_or(WorkerId(3));
                Ask::Signals { worker, signal: self.rng.i32(-2..70) }
            }
            1 => Ask::Modules,
            2 => Ask::Explain(self.somebody()),
            _ => Ask::Status,
        };
        self.ask(session, Asked::Other, ask);
    }

    fn some_processes(&mut self) -> Ask {
        let workers: Vec<_> = self.workers.keys().copied().collect();
        let after = self.rng.choice(workers).filter(|_| self.rng.bool());
        let filter = ProcessFilter { spares: self.rng.bool(), ..ProcessFilter::default() };
        Ask::Processes { after, limit: self.rng.u32(..5), filter }
    }

    /// Somebody to ask about: a worker, a template, a client, or nobody.
    fn somebody(&mut self) -> Subject {
        let workers: Vec<_> = self.workers.keys().copied().collect();
        let templates: Vec<_> = self.templates.keys().copied().collect();
        match self.rng.u8(..4) {
            0 => Subject::Worker(self.rng.choice(workers).unwrap_or(WorkerId(3))),
            1 => Subject::Template(self.rng.choice(templates).unwrap_or(TemplateId(3))),
            2 => Subject::Pid(self.rng.u32(..=self.last_pid)),
            _ => Subject::Pid(1),
        }
    }

    fn kill_something(&mut self) {
        let Some(session) = self.some_session() else { return };
        let workers: Vec<_> = self.workers.keys().copied().collect();
        let id = self.rng.choice(workers).unwrap_or(WorkerId(3));
        let worker = if self.chance(20) { WorkerRef::Pid(1) } else { WorkerRef::Id(id) };
        let signal = self.rng.choice([0, 9, 15, 15, 64, 65]).unwrap_or(9);
        self.ask(session, Asked::Other, Ask::Kill { worker, signal });
    }

    fn reload(&mut self) {
        let (settings, preload) = (self.any_settings(), self.any_preload());
        self.learn(&settings, &preload);
        let session = if self.chance(30) { None } else { self.some_session() };
        let origin = session.map(|session| {
            let client = self.clients.get_mut(&session).expect("a session that is open");
            client.last += 1;
            client.asked.insert(RequestId(client.last), Asked::Other);
            (session, RequestId(client.last))
        });
        self.reloading.get_or_insert(settings.spares_min);
        self.tell(Event::Configured { origin, settings: Box::new(settings), preload });
    }

    fn attach(&mut self) {
        let template = self.core.new_template_id();
        let pool = self.any_spec();
        self.known_keys.insert(pool.key.clone());
        let pid = self.next_pid();
        let modules = pool.modules.iter().map(|name| module(name)).collect();
        // Which pool it is for the core does not tell; a fork that comes names it by a lease.
        let process = Process { ready: true, ..Process::new(PoolId(0), 0) };
        self.templates.insert(template, process);
        let known = self.keys.iter().find(|(_, key)| **key == pool.key).map(|(id, _)| *id);
        if let (Some(known), Some(process)) = (known, self.templates.get_mut(&template)) {
            process.pool = known;
        }
        let (memory, uid) = (Memory::default(), pool.uid);
        let (generation, retiring) = (self.rng.u32(..9), self.rng.u8(..4) == 0);
        self.tell(Event::TemplateAttached {
            template,
            pool,
            generation,
            pid,
            modules,
            memory,
            retiring,
        });
        for _ in 0..self.rng.u32(..4) {
            let number = self.rng.u64(1..crate::world::FIRST_ID);
            let (worker, pid) = (WorkerId(number), self.next_pid());
            if self.workers.contains_key(&worker) || !self.templates.contains_key(&template) {
                continue;
            }
            let entry = Worker { template, owner: Owner::Client, uid, ending: false };
            self.workers.insert(worker, entry);
            self.tell(Event::WorkerAdopted { template, worker, pid });
            let lessee = Lessee { worker, pid, client_pid: pid, client_uid: 1000 };
            self.tell(Event::LesseesKnown { template, lessees: vec![lessee] });
        }
        self.tell_missed(template);
    }

    /// A template tells of deaths; of some that are none.
    fn tell_missed(&mut self, template: TemplateId) {
        for _ in 0..self.rng.u32(..3) {
            let worker = WorkerId(self.rng.u64(1..crate::world::FIRST_ID));
            let living = self.workers.keys().next().copied();
            let meant = living.filter(|_| self.rng.bool()).unwrap_or(worker);
            let is_alive = self.workers.contains_key(&meant);
            let (before, deaths) = (self.core.deaths(), vec![obituary(meant, -6)]);
            self.tell(Event::Missed { template, deaths, forgotten: 0 });
            let written = self.core.deaths() - before;
            assert!(written <= u64::from(!is_alive), "{meant} lives, and is dead");
        }
    }

    /// Events that no sane loop sends.
    fn chaos(&mut self) {
        let template = TemplateId(5_000_000 + self.rng.u64(..9));
        let worker = WorkerId(5_000_000_000 + self.rng.u64(..9));
        let session = SessionId(5_000_000);
        let memory = Memory::default();
        let event = match self.rng.u8(..14) {
            0 => Event::TemplateReady { template, modules: Vec::new(), memory },
            1 => Event::TemplateGone { template, code: None },
            2 => Event::TemplateFailed { template, error: broken("?", Stage::Find) },
            3 => Event::Spares { template, spares: vec![(worker, 1)] },
            4 => Event::ForkFailed { template, missing: 9, message: "?".into() },
            5 => ended(worker, 0),
            6 => Event::WorkerAdopted { template, worker, pid: 1 },
            7 => Event::SessionClosed { session },
            8 => Event::Asked { session, id: RequestId(1), ask: Ask::Status },
            9 => Event::TemplateHello { template },
            10 => Event::Tick,
            11 => self.misplaced_ready(),
            12 => return self.ask_twice(),
            _ => return self.unasked_spare(),
        };
        self.tell(event);
    }

    /// A template says twice that it is ready, or after it was stopped.
    fn misplaced_ready(&mut self) -> Event {
        let ready = self.templates.iter().filter(|(_, process)| process.ready);
        let ready: Vec<_> = ready.map(|(id, _)| *id).collect();
        let template = self.rng.choice(ready).unwrap_or(TemplateId(1));
        Event::TemplateReady { template, modules: Vec::new(), memory: Memory::default() }
    }

    /// A client gives two requests the same number.
    fn ask_twice(&mut self) {
        let Some(session) = self.some_session() else { return };
        let asked = &self.clients[&session].asked;
        let Some((&id, what)) = asked.first_key_value() else { return };
        let what = what.clone();
        self.tell(Event::Asked { session, id, ask: Ask::Status });
        // One of the two is answered, the other still waits.
        if let Some(client) = self.clients.get_mut(&session) {
            assert!(!client.asked.contains_key(&id), "two requests of a number, no answer");
            client.asked.insert(id, what);
        }
    }

    /// A template sends a spare that nobody asked for.
    fn unasked_spare(&mut self) {
        let ids: Vec<_> = self.templates.keys().copied().collect();
        let Some(template) = self.rng.choice(ids) else { return };
        let spares = vec![(WorkerId(u64::MAX), 1)];
        self.tell(Event::Spares { template, spares });
    }

    pub(crate) fn waiting_for(&self, pool: PoolId) -> u32 {
        let asked = self.clients.values().flat_map(|client| client.asked.values());
        // The pool of an attached template may be unknown here.
        let waits = |asked: &&Asked| matches!(asked, Asked::Lease(p) if *p == pool || pool.0 == 0);
        asked.filter(waits).count() as u32
    }

    fn answered(&mut self, session: SessionId, id: RequestId) -> Asked {
        let client = self.clients.get_mut(&session).expect("an answer to a session that is open");
        client.asked.remove(&id).expect("an answer to a request that waits")
    }

    pub(crate) fn replied(&mut self, session: SessionId, id: RequestId, reply: &Reply) {
        let asked = self.answered(session, id);
        match (asked, reply) {
            (Asked::Open(key), Reply::Opened(pool)) => {
                self.keys.insert(*pool, key);
                let client = self.clients.get_mut(&session).expect("it is open");
                if !client.pools.contains(pool) {
                    client.pools.push(*pool);
                }
            }
            (Asked::Lease(_), Reply::Refused(Refusal::UnknownPool)) => {
                panic!("a pool that a session has open was forgotten")
            }
            (Asked::Lease(_) | Asked::Open(_), Reply::Refused(_)) => {}
            (Asked::Lease(_) | Asked::Open(_), other) => panic!("answered by {other:?}"),
            (Asked::Other, Reply::Status(status)) => self.compare(session, status),
            (Asked::Other, _) => {}
        }
    }

    /// A page of `ps`: what it says is so, it goes on where it ends, and users are told of no
    /// worker that another one has.
    pub(crate) fn listed(
        &mut self,
        session: SessionId,
        id: RequestId,
        report: &ProcessesReport,
        filter: &ProcessFilter,
    ) {
        assert!(matches!(self.answered(session, id), Asked::Other));
        assert!(report.rows.is_sorted_by(|a, b| a.worker < b.worker), "{report:?}");
        assert!(report.rows.last().is_none_or(|row| report.next.is_none_or(|at| at >= row.worker)));
        let uid = self.clients[&session].uid;
        for row in &report.rows {
            let worker = self.workers.get(&row.worker).expect("a worker that there is");
            assert_eq!(row.spare, worker.owner != Owner::Client, "{row:?}");
            assert!(filter.admits(row), "{row:?}");
            let own = row.spare || worker.uid == Some(uid);
            assert!(uid == OPERATOR || own, "a user sees another one's worker: {row:?}");
        }
    }

    fn compare(&self, session: SessionId, status: &StatusReport) {
        let uid = self.clients[&session].uid;
        if uid != OPERATOR {
            let own = |w: &&Worker| w.owner == Owner::Client && w.uid == Some(uid);
            assert_eq!(status.workers, self.workers.values().filter(own).count() as u64);
            return;
        }
        let asked = self.clients.values().flat_map(|client| client.asked.values());
        let queued = asked.filter(|asked| matches!(asked, Asked::Lease(_))).count() as u64;
        assert_eq!(status.queued, queued);
        assert_eq!(status.clients, self.clients.len() as u64);
        let leased = self.workers.values().filter(|w| w.owner == Owner::Client).count() as u64;
        assert_eq!(status.workers, leased);
        let rows: u64 = status.templates.iter().map(|row| row.queued).sum();
        assert_eq!(rows, queued);
    }

    pub(crate) fn granted(&mut self, session: SessionId, id: RequestId, grant: Grant) {
        let asked = self.answered(session, id);
        let Asked::Lease(pool) = asked else { panic!("{asked:?} was granted a worker") };
        let worker = self.workers.get_mut(&grant.worker).expect("a worker that lives");
        assert_eq!(worker.owner, Owner::Pool, "{} has two owners", grant.worker);
        assert_eq!(worker.template, grant.template);
        worker.owner = Owner::Client;
        worker.uid = self.clients.get(&session).map(|client| client.uid);
        let template = self.templates.get(&grant.template);
        assert!(template.is_none_or(|t| t.pool == pool || t.pool.0 == 0), "a worker of another");
    }
}
