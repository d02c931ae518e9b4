//! Spares and workers, from the fork to the end. Each has exactly one owner: the pool that parks
//! it, the client that leased it, or nobody any more, when it was released and is about to end.

use super::Core;
use super::action::Action;
use super::deaths::Accusations;
use super::event::{Peer, Time};
use super::template::{Leave, Phase};
use super::timers::Timer;
use mpserverd_proto::death::LastWords;
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use mpserverd_proto::ids::{PoolId, TemplateId, WorkerId};
use mpserverd_proto::status::ExitRecord;
use mpserverd_proto::trace::TraceId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Spares that die young one after another before the template is given up.
const CRASHES_MAX: u32 = 5;

/// The signal that nobody survives.
pub(super) const SIGKILL: i32 = 9;

/// Who owns a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Owner {
    /// The pool: it waits for a job.
    Pool,
    /// A client, of which the pid is known unless an earlier daemon handed the worker over.
    Client { pid: Option<u32> },
    /// Nobody: its job socket was closed.
    Nobody,
}

/// What a worker is leased for, as far as the client says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purpose {
    pub(super) task: Option<String>,
    pub(super) trace: Option<TraceId>,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) pid: u32,
    pub(super) pool: PoolId,
    pub(super) template: TemplateId,
    #[serde(with = "super::state::shared_text")]
    pub(super) template_name: Arc<str>,
    pub(super) generation: u32,
    pub(super) owner: Owner,
    /// Whose it is: its client's; of a spare, its pool's, if that is one user's.
    pub(super) uid: Option<u32>,
    /// Since when it has had that owner.
    pub(super) since: Time,
    /// The user that leased it.
    pub(super) client_uid: Option<u32>,
    /// The trace that it was leased for, and the task, where the client named them.
    pub(super) trace: Option<TraceId>,
    pub(super) task: Option<String>,
    /// What it is about to be ended for.
    pub(super) accusations: Accusations,
    /// The most private memory that was measured from outside, KiB.
    #[serde(default)]
    pub(super) peak_private_kib: Option<u64>,
    /// It is to end if it has no job yet.
    #[serde(default)]
    pub(super) outdated: bool,
}

impl Owner {
    /// The client, if it is one that is known.
    pub(super) fn client(self) -> Option<u32> {
        match self {
            Self::Client { pid } => pid,
            Self::Pool | Self::Nobody => None,
        }
    }
}

impl Core {
    /// The process whose worker this is, if that is known.
    #[must_use]
    pub fn client_of(&self, worker: WorkerId) -> Option<u32> {
        self.workers.get(&worker)?.owner.client()
    }

    pub(super) fn spares_came(&mut self, id: TemplateId, spares: &[(WorkerId, u32)]) {
        let mut welcome = 0;
        for &(worker, pid) in spares {
            welcome += u32::from(self.spare_came(id, worker, pid));
        }
        let Some(template) = self.templates.get(&id) else { return };
        let pool_id = template.pool;
        self.fork_progress(id);
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        if pool.active == Some(id) && welcome > 0 {
            pool.fork_backoff.reset();
            pool.marks.arrived();
            self.round_came(pool_id);
            self.probe_saw_spare(pool_id);
        } else if pool.candidate == Some(id) {
            self.candidate_stocked(pool_id, id);
        }
    }

    /// Parks one spare; false if nobody wants it, in which case it is released.
    fn spare_came(&mut self, id: TemplateId, worker: WorkerId, pid: u32) -> bool {
        if self.workers.contains_key(&worker) {
            tracing::debug!(template = %id, %worker, "spare with the number of another");
            return false;
        }
        let given = worker.0 < self.next.worker;
        let Some(template) = self.templates.get_mut(&id).filter(|_| given) else {
            tracing::debug!(template = %id, %worker, "spare that nobody asked for");
            self.out.push(Action::ReleaseSpare { worker });
            return false;
        };
        let asked = template.in_flight > 0;
        template.in_flight = template.in_flight.saturating_sub(1);
        let welcome = asked && matches!(template.phase, Phase::Ready { .. });
        template.idle.insert(worker);
        self.note_fork(id, true);
        self.enter(id, worker, pid, Owner::Pool);
        self.limit_spare(worker);
        if !welcome {
            self.release(worker);
        }
        welcome
    }

    /// Writes a worker into the book.
    pub(super) fn enter(&mut self, id: TemplateId, worker: WorkerId, pid: u32, owner: Owner) {
        let Some(template) = self.templates.get_mut(&id) else { return };
        template.workers += 1;
        if matches!(template.phase, Phase::Retiring) {
            // It has something to wait for again.
            self.timers.cancel(Timer::Template(id));
        }
        let entry = Worker {
            pid,
            pool: template.pool,
            template: id,
            template_name: template.name.clone(),
            generation: template.generation,
            owner,
            uid: self.pools.get(&template.pool).and_then(|pool| pool.spec.uid),
            since: self.now,
            client_uid: None,
            trace: None,
            task: None,
            accusations: Accusations::default(),
            peak_private_kib: None,
            outdated: false,
        };
        if let Some(pool) = self.pools.get_mut(&template.pool) {
            pool.workers += 1;
        }
        self.pids.insert(pid, worker);
        self.workers.insert(worker, entry);
    }

    /// Makes a parked spare a client's worker.
    pub(super) fn hand_over(
        &mut self,
        id: WorkerId,
        client: Option<Peer>,
        purpose: Purpose,
        spare_hit: bool,
    ) -> Option<(u32, TemplateId, u32)> {
        let worker = self.workers.get_mut(&id)?;
        worker.owner = Owner::Client { pid: client.map(|client| client.pid) };
        worker.uid = client.map(|client| client.uid).or(worker.uid);
        worker.client_uid = client.map(|client| client.uid);
        worker.since = self.now;
        worker.trace = purpose.trace;
        worker.task = purpose.task;
        let told = (worker.pid, worker.template, worker.generation);
        let pool_id = worker.pool;
        if let Some(template) = self.templates.get_mut(&worker.template) {
            template.idle.remove(&id);
            template.leased += 1;
        }
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.leased += 1;
            pool.starts += 1;
            pool.spare_hits += u64::from(spare_hit);
            pool.crashes = 0;
            let counts = self.measures.slots.counts(pool.slot);
            counts.starts += 1;
            counts.spare_hits += u64::from(spare_hit);
        }
        self.totals.leased += 1;
        self.totals.starts += 1;
        self.totals.spare_hits += u64::from(spare_hit);
        self.watch_for_slowness(id);
        Some(told)
    }

    /// Lets a parked spare go; it is in the book until its end is reported.
    pub(super) fn release(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.owner != Owner::Pool {
            return;
        }
        worker.owner = Owner::Nobody;
        worker.since = self.now;
        if let Some(template) = self.templates.get_mut(&worker.template) {
            template.idle.remove(&id);
        }
        self.out.push(Action::ReleaseSpare { worker: id });
        self.timers.set(Timer::Worker(id), self.now, self.settings.kill_after);
    }

    /// A released spare did not end.
    pub(super) fn worker_expired(&mut self, worker: WorkerId) {
        tracing::warn!(%worker, "released spare does not end, it is killed");
        self.out.push(Action::Signal { worker, signal: SIGKILL });
    }

    pub(super) fn worker_ended(
        &mut self,
        id: WorkerId,
        record: ExitRecord,
        last: Option<LastWords>,
        stderr: Vec<String>,
    ) {
        let code = record.code;
        self.limit_ended(id);
        let Some(worker) = self.strike_worker(id) else {
            return tracing::debug!(worker = %id, code, "end of an unknown worker");
        };
        self.note_end(&worker, code);
        self.certify(id, &worker, record, last, stderr);
        match worker.owner {
            Owner::Pool => self.spare_died(&worker, code),
            Owner::Client { .. } => {
                self.totals.ends += 1;
                self.unblock();
            }
            Owner::Nobody => {}
        }
        self.probe_saw_end(id);
        self.see_off(worker.template);
        self.tidy(worker.pool);
        self.drain();
    }

    /// Takes a worker out of the book and all counters.
    pub(super) fn strike_worker(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.unwatch(id);
        self.timers.cancel(Timer::Worker(id));
        self.timers.cancel(Timer::Slow(id));
        if self.pids.get(&worker.pid) == Some(&id) {
            self.pids.remove(&worker.pid);
        }
        let leased = u32::from(matches!(worker.owner, Owner::Client { .. }));
        self.totals.leased -= u64::from(leased);
        if let Some(pool) = self.pools.get_mut(&worker.pool) {
            pool.workers -= 1;
            pool.leased -= leased;
        }
        if let Some(template) = self.templates.get_mut(&worker.template) {
            template.workers -= 1;
            template.leased -= leased;
            template.idle.remove(&id);
        }
        Some(worker)
    }

    /// A spare died in the park. One is replaced in time; a series is the template's fault.
    fn spare_died(&mut self, worker: &Worker, code: i32) {
        let Some(pool) = self.pools.get_mut(&worker.pool) else { return };
        if pool.candidate == Some(worker.template) {
            return self.candidate_unsound(worker, code);
        }
        if pool.active != Some(worker.template) {
            return;
        }
        let young = self.now.since(worker.since) < self.settings.backoff_reset;
        pool.crashes = if young { pool.crashes + 1 } else { 0 };
        if pool.crashes < CRASHES_MAX {
            return self.restock(worker.pool, true);
        }
        pool.crashes = 0;
        let text = format!("{CRASHES_MAX} spares in a row ended unused, the last with code {code}");
        let error = PreloadError {
            module: pool.spec.name.clone(),
            stage: Stage::Serving,
            fault: Fault::CanaryFailed(text),
        };
        // However long the template served before, it does not now.
        self.depart(worker.template, Leave::Retire);
        self.serving_failed(worker.pool, worker.template, Duration::ZERO, error);
    }
}
