//! Clients: what they ask, what they opened, what they still wait for. Every question is answered
//! exactly once, unless its session closes first. Frames and permissions are the loop's.

use super::Core;
use super::action::Action;
use super::ask::Ask;
use super::event::{Peer, PoolSpec, SessionId, Time};
use super::lease::Wish;
use super::pool::POOLS_MAX;
use super::queue::Ticket;
use super::sight::Sight;
use super::timers::Timer;
use super::workers::Owner;
use super::workers::Purpose;
use mpserverd_proto::bounds::Bounds;
use mpserverd_proto::client::{Reply, WorkerRef};
use mpserverd_proto::death::Cause;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::{PoolId, RequestId, WorkerId};
use mpserverd_proto::limits::{QUEUE_PER_SESSION_MAX, QUEUE_TOTAL_MAX};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Highest signal number (`SIGRTMAX`).
const SIGNAL_MAX: i32 = 64;

/// What a request waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Waiting {
    /// A worker.
    Lease { pool: PoolId, ticket: Ticket, since: Time, wish: Box<Wish> },
    /// The list of a pool's modules.
    Modules { pool: PoolId, since: Time },
    /// The end of a reload.
    Reload,
}

/// A client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) peer: Peer,
    /// Only from these may it lease: the loop let it open them.
    pub(super) opened: BTreeSet<PoolId>,
    pub(super) waiting: BTreeMap<RequestId, Waiting>,
}

impl Core {
    pub(super) fn session_opened(&mut self, id: SessionId, peer: Peer) {
        let session = Session { peer, opened: BTreeSet::new(), waiting: BTreeMap::new() };
        self.sessions.entry(id).or_insert(session);
    }

    pub(super) fn session_closed(&mut self, id: SessionId) {
        while let Some((&request, _)) =
            self.sessions.get(&id).and_then(|s| s.waiting.first_key_value())
        {
            self.forget_waiting(id, request);
        }
        let Some(session) = self.sessions.remove(&id) else { return };
        for pool_id in session.opened {
            if let Some(pool) = self.pools.get_mut(&pool_id) {
                pool.openers = pool.openers.saturating_sub(1);
            }
            self.tidy(pool_id);
        }
    }

    pub(super) fn asked(&mut self, session: SessionId, id: RequestId, ask: Ask) {
        let Some(asker) = self.sessions.get(&session) else {
            tracing::debug!(?session, request = %id, "asked by a session that is not open");
            return;
        };
        if asker.waiting.contains_key(&id) {
            let text = format!("request number {id} still waits for its answer");
            return self.refuse(session, id, Refusal::BadRequest(text));
        }
        if matches!(ask, Ask::Open(_) | Ask::Lease { .. } | Ask::PoolModules { .. })
            && let Err(refusal) = self.admit(session)
        {
            if let Ask::Open(spec) = ask {
                self.forget_key(spec.key);
            }
            return self.refuse(session, id, refusal);
        }
        match ask {
            Ask::Open(spec) => self.open(session, id, spec),
            Ask::Lease { pool, wait, task, trace } => {
                self.lease(session, id, pool, wait, Purpose { task, trace }, Bounds::default());
            }
            Ask::LeaseWith { pool, wait, bounds, task, trace } => {
                self.lease(session, id, pool, wait, Purpose { task, trace }, bounds);
            }
            Ask::Cancel(target) => self.cancel(session, id, target),
            Ask::PoolModules { pool, wait } => self.pool_modules(session, id, pool, wait),
            Ask::Status => {
                let report = self.status_report(self.sight(session));
                self.reply(session, id, Reply::Status(Box::new(report)));
            }
            Ask::Processes { after, limit, filter } => {
                let report = self.processes_report(self.sight(session), after, limit, &filter);
                self.out.push(Action::Processes { session, id, report, filter });
            }
            Ask::Modules => {
                let report = self.modules_report(self.sight(session));
                self.reply(session, id, Reply::Modules(report));
            }
            Ask::Deaths { query, all } => {
                let whose = (!all).then_some(asker.peer.uid);
                self.reply(session, id, Reply::Deaths(self.deaths_report(whose, &query)));
            }
            Ask::Signals { worker, signal } => {
                let uid = asker.peer.uid;
                self.client_signals(uid, worker, signal);
                self.reply(session, id, Reply::Done);
            }
            Ask::Kill { worker, signal } => self.kill(session, id, worker, signal),
            Ask::Explain(subject) => self.explain(session, id, subject),
        }
    }

    /// Answers a request that does not wait.
    pub(super) fn reply(&mut self, session: SessionId, id: RequestId, reply: Reply) {
        self.out.push(Action::Reply { session, id, reply });
    }

    /// Answers no.
    pub(super) fn refuse(&mut self, session: SessionId, id: RequestId, refusal: Refusal) {
        self.totals.refused += 1;
        self.reply(session, id, Reply::Refused(refusal));
    }

    fn open(&mut self, session: SessionId, id: RequestId, spec: PoolSpec) {
        if let Err(refusal) = self.may_open(&spec) {
            self.refuse(session, id, refusal);
            return self.forget_key(spec.key);
        }
        let pool_id = self.pool_for(spec);
        let newly = self.sessions.get_mut(&session).is_some_and(|s| s.opened.insert(pool_id));
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.openers += u32::from(newly);
        }
        self.reply(session, id, Reply::Opened(pool_id));
        // A refusal here is told to whoever leases.
        let _no_room = self.ensure_template(pool_id);
        self.tidy(pool_id);
    }

    fn may_open(&mut self, spec: &PoolSpec) -> Result<(), Refusal> {
        if self.stopping() {
            return Err(Refusal::ShuttingDown);
        }
        if self.keys.contains_key(&spec.key) {
            return Ok(());
        }
        if self.pools.len() >= POOLS_MAX {
            let message = format!("{POOLS_MAX} pools are known, which is the limit");
            return Err(Refusal::System { call: "open a template".into(), message });
        }
        self.make_room()
    }

    /// Lets a request wait, if the bounds allow.
    pub(super) fn may_wait(&self, session: SessionId) -> Result<(), Refusal> {
        let own = self.sessions.get(&session).map_or(0, |s| s.waiting.len());
        let (waiting, limit) = if own >= QUEUE_PER_SESSION_MAX {
            (own, QUEUE_PER_SESSION_MAX)
        } else if self.totals.waiting >= QUEUE_TOTAL_MAX {
            (self.totals.waiting, QUEUE_TOTAL_MAX)
        } else {
            return Ok(());
        };
        Err(Refusal::QueueFull { waiting: waiting as u64, limit: limit as u64 })
    }

    /// Notes what a request waits for.
    pub(super) fn add_waiting(
        &mut self,
        session: SessionId,
        id: RequestId,
        waiting: Waiting,
        wait: Option<Duration>,
    ) {
        let Some(asker) = self.sessions.get_mut(&session) else { return };
        self.totals.waiting += 1;
        let is_lease = matches!(waiting, Waiting::Lease { .. });
        self.totals.queued += usize::from(is_lease);
        if let Waiting::Lease { wish, .. } = &waiting {
            self.quota.count_queued(&wish.scopes);
        }
        asker.waiting.insert(id, waiting);
        if is_lease {
            self.count_waiting(session, true);
        }
        if let Some(wait) = wait {
            self.timers.set(Timer::Request(session, id), self.now, wait);
        }
    }

    /// Strikes a request from the session's list; its pool's queue is the caller's business.
    pub(super) fn strike(&mut self, session: SessionId, id: RequestId) -> Option<Waiting> {
        let waiting = self.sessions.get_mut(&session)?.waiting.remove(&id)?;
        self.timers.cancel(Timer::Request(session, id));
        self.totals.waiting -= 1;
        if let Waiting::Lease { wish, .. } = &waiting {
            self.totals.queued -= 1;
            self.quota.count_unqueued(&wish.scopes, self.now);
            self.count_waiting(session, false);
        }
        Some(waiting)
    }

    /// Forgets a waiting request wherever it stands; tells since when it waited.
    fn forget_waiting(&mut self, session: SessionId, id: RequestId) -> Option<Time> {
        match self.strike(session, id)? {
            Waiting::Lease { pool: pool_id, ticket, since, .. } => {
                if let Some(pool) = self.pools.get_mut(&pool_id) {
                    pool.queue.remove(session, ticket);
                }
                self.tidy(pool_id);
                Some(since)
            }
            Waiting::Modules { pool: pool_id, since } => {
                if let Some(pool) = self.pools.get_mut(&pool_id) {
                    pool.watchers.remove(&(session, id));
                }
                self.tidy(pool_id);
                Some(since)
            }
            Waiting::Reload => None,
        }
    }

    fn cancel(&mut self, session: SessionId, id: RequestId, target: RequestId) {
        let waits = self.sessions.get(&session).and_then(|s| s.waiting.get(&target));
        match waits {
            Some(Waiting::Lease { .. } | Waiting::Modules { .. }) => {
                self.forget_waiting(session, target);
                self.refuse(session, target, Refusal::Cancelled);
            }
            // Answered already, or a reload, which cannot be taken back.
            Some(Waiting::Reload) | None => {}
        }
        self.reply(session, id, Reply::Done);
    }

    pub(super) fn request_expired(&mut self, session: SessionId, id: RequestId) {
        let waiting = self.sessions.get(&session).and_then(|s| s.waiting.get(&id));
        let limit = match waiting {
            Some(Waiting::Lease { wish, since, .. }) => {
                self.limit_in_the_way(&wish.scopes, super::report::millis(self.now.since(*since)))
            }
            Some(Waiting::Modules { .. } | Waiting::Reload) | None => None,
        };
        if let Some(since) = self.forget_waiting(session, id) {
            let waited_ms = super::report::millis(self.now.since(since));
            self.refuse(session, id, limit.unwrap_or(Refusal::Deadline { waited_ms }));
        }
    }

    fn kill(&mut self, session: SessionId, id: RequestId, worker: WorkerRef, signal: i32) {
        if !(1..=SIGNAL_MAX).contains(&signal) {
            let text = format!("{signal} is no signal, they go from 1 to {SIGNAL_MAX}");
            return self.refuse(session, id, Refusal::BadRequest(text));
        }
        // One that is another user's is as good as none.
        let found = self.find_worker(worker, self.sight(session));
        match found {
            Ok(worker) => {
                if let Some(Peer { uid, pid, .. }) = self.sessions.get(&session).map(|s| s.peer) {
                    // A client that may not signal a worker of another user has the daemon do it.
                    let own = self.workers.get(&worker).map(|worker| worker.owner);
                    let own = own == Some(Owner::Client { pid: Some(pid) });
                    let cause = if own { Cause::Client } else { Cause::Operator { uid, pid } };
                    self.accuse_by_signal(worker, cause, signal);
                }
                self.out.push(Action::Signal { worker, signal });
                self.reply(session, id, Reply::Done);
            }
            Err(text) => self.refuse(session, id, Refusal::NoSuchWorker(text)),
        }
    }

    fn find_worker(&self, worker: WorkerRef, sight: Sight) -> Result<WorkerId, String> {
        let (id, named) = match worker {
            WorkerRef::Id(id) => (Some(id), id.to_string()),
            WorkerRef::Pid(pid) => (self.pids.get(&pid).copied(), format!("pid {pid}")),
        };
        let seen = |id: &WorkerId| self.workers.get(id).is_some_and(|w| sight.has_worker(w));
        id.filter(seen).ok_or(named)
    }

    /// The session has opened the pool, and the pool is there.
    pub(super) fn has_opened(&self, session: SessionId, pool: PoolId) -> bool {
        self.pools.contains_key(&pool)
            && self.sessions.get(&session).is_some_and(|s| s.opened.contains(&pool))
    }
}
