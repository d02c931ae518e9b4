//! `explain`: who somebody is, and why he waits. Facts only; `story.rs` puts them into words. It
//! may walk a queue: people ask this, and not often.

use super::Core;
use super::event::SessionId;
use super::pool::Pool;
use super::report::millis;
use super::sessions::{Session, Waiting};
use super::sight::Sight;
use super::story;
use super::template::Phase;
use super::timers::Timer;
use super::workers::Owner;
use mpserverd_proto::client::Reply;
use mpserverd_proto::death::Certificate;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::explain::{
    Explanation, Facts, Finding, Subject, WaitKind, WaitReason, WaitingRow,
};
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId, WorkerId};
use mpserverd_proto::limits::EXPLAINED_MAX;

/// Connections of one pid that are told: a program may have many.
const CLIENTS_MAX: usize = 16;

impl Core {
    pub(super) fn explain(&mut self, session: SessionId, id: RequestId, subject: Subject) {
        // What is another user's is as good as not there.
        let sight = self.sight(session);
        let (findings, name) = match subject {
            Subject::Worker(worker) => {
                let alive = self.explain_worker(sight, worker);
                let found = alive.or_else(|| self.explain_death(sight, |it| it.worker == worker));
                (found.into_iter().collect(), worker.to_string())
            }
            Subject::Template(template) => {
                (self.explain_template(sight, template).into_iter().collect(), template.to_string())
            }
            Subject::Pid(pid) => (self.explain_pid(sight, pid), format!("pid {pid}")),
        };
        if findings.is_empty() {
            return self.refuse(session, id, Refusal::NothingKnown(name));
        }
        self.reply(session, id, Reply::Explained(Explanation { findings }));
    }

    /// All that has this pid: a worker may be a client as well.
    fn explain_pid(&self, sight: Sight, pid: u32) -> Vec<Finding> {
        let worker = self.pids.get(&pid).and_then(|id| self.explain_worker(sight, *id));
        let templates = self.templates.iter().filter(|(_, template)| template.pid == Some(pid));
        let templates = templates.filter_map(|(id, _)| self.explain_template(sight, *id));
        let clients = self
            .sessions
            .iter()
            .filter(|(_, session)| session.peer.pid == pid && sight.has_client(session.peer.uid));
        let clients = clients.map(|(id, session)| self.explain_client(*id, session));
        let mut findings: Vec<_> = worker.into_iter().chain(templates).collect();
        findings.extend(clients.take(CLIENTS_MAX));
        // Of whoever has the number now it was not the death.
        if findings.is_empty() {
            findings.extend(self.explain_death(sight, |it| it.pid == pid));
        }
        if pid == self.identity.pid {
            let mut sentences = vec![story::daemon(pid, &self.identity.version)];
            sentences.extend(self.tell_changes(sight));
            findings.push(Finding { sentences, facts: Facts::Daemon });
        }
        findings
    }

    fn explain_worker(&self, sight: Sight, id: WorkerId) -> Option<Finding> {
        let worker = self.workers.get(&id).filter(|worker| sight.has_worker(worker))?;
        let row = self.process_row(id, worker);
        let template_leaves =
            self.templates.get(&worker.template).is_none_or(super::template::Template::is_leaving);
        let sentences = story::worker(&row, worker.owner, template_leaves);
        Some(Finding { sentences, facts: Facts::Worker(row) })
    }

    /// The last death of this kind.
    fn explain_death(&self, sight: Sight, is_it: impl Fn(&Certificate) -> bool) -> Option<Finding> {
        let mut latest = self.deaths.ring.iter().rev();
        let kept =
            latest.find(|kept| sight.has_death(kept.client_uid) && is_it(&kept.certificate))?;
        let certificate = kept.certificate.clone();
        let sentences = story::death(&certificate);
        Some(Finding { sentences, facts: Facts::Death(certificate) })
    }

    fn explain_template(&self, sight: Sight, id: TemplateId) -> Option<Finding> {
        if let Some(template) = self.templates.get(&id).filter(|it| self.sees(sight, it)) {
            let row = self.template_row(id, template);
            let mut sentences = story::template(&row, self.role(id));
            if let Phase::Loading { at: Some((module, stage)) } = &template.phase {
                sentences.push(story::loading(module, *stage));
            }
            sentences.extend(template.without.iter().map(story::without));
            return Some(Finding { sentences, facts: Facts::Template(row) });
        }
        let failed = |pool: &&Pool| pool.failure.as_ref().is_some_and(|why| why.template == id);
        let pool = self.pools.values().filter(|pool| sight.has_pool(pool)).find(failed)?;
        let failure = pool.failure.as_ref()?;
        let row = self.failed_row(pool, failure);
        let sentences = story::failed(&row, millis(failure.retry_at.since(self.now)));
        Some(Finding { sentences, facts: Facts::Template(row) })
    }

    fn explain_client(&self, id: SessionId, session: &Session) -> Finding {
        let requests = session.waiting.iter().take(EXPLAINED_MAX);
        let requests: Vec<_> =
            requests.map(|(request, waiting)| self.waiting_row(id, *request, waiting)).collect();
        let pid = session.peer.pid;
        let has = |owner| owner == Owner::Client { pid: Some(pid) };
        let workers = self.workers.values().filter(|worker| has(worker.owner)).count() as u64;
        let waiting = session.waiting.len() as u64;
        let mut sentences = story::client(pid, session.peer.uid, workers, waiting, &requests);
        if session.waiting.values().any(|waiting| matches!(waiting, Waiting::Reload)) {
            sentences.extend(self.reload.as_ref().and_then(|it| story::missing(&self.missing(it))));
        }
        sentences.extend(self.awaited_change(id));
        sentences.extend(self.full_queues(id));
        sentences.extend(self.hindrances(session.peer.uid));
        let facts = Facts::Client { pid, uid: session.peer.uid, workers, waiting, requests };
        Finding { sentences, facts }
    }

    fn waiting_row(&self, session: SessionId, id: RequestId, waiting: &Waiting) -> WaitingRow {
        let (kind, pool, since) = match waiting {
            Waiting::Lease { pool, since, .. } => (WaitKind::Worker, Some(*pool), Some(*since)),
            Waiting::Modules { pool, since } => (WaitKind::Modules, Some(*pool), Some(*since)),
            Waiting::Reload => (WaitKind::Reload, None, None),
        };
        let ahead = match waiting {
            Waiting::Lease { pool, ticket, .. } => {
                let pool = self.pools.get(pool);
                pool.and_then(|pool| pool.queue.ahead(session, *ticket)).map(|ahead| ahead as u64)
            }
            Waiting::Modules { .. } | Waiting::Reload => None,
        };
        let due = self.timers.at(Timer::Request(session, id));
        WaitingRow {
            request: id,
            kind,
            template_name: pool
                .and_then(|id| self.pools.get(&id))
                .map(|pool| pool.spec.name.clone()),
            waited_ms: since.map(|since| millis(self.now.since(since))),
            left_ms: due.map(|at| millis(at.since(self.now))),
            ahead,
            reason: pool.map_or(WaitReason::Reload, |pool| self.wait_reason(pool, waiting)),
        }
    }

    /// Why requests of a pool wait.
    fn wait_reason(&self, pool_id: PoolId, waiting: &Waiting) -> WaitReason {
        let Some(pool) = self.pools.get(&pool_id) else { return WaitReason::Turn };
        let left = |timer| self.timers.at(timer).map(|at| millis(at.since(self.now)));
        let Some(active) = pool.active else {
            return self.build_reason(pool);
        };
        if self.capacity() == 0 {
            return WaitReason::WorkersMax { limit: self.settings.workers_max };
        }
        if let Waiting::Lease { wish, .. } = waiting
            && let Some(reason) = self.limit_reason(&wish.scopes)
        {
            return reason;
        }
        if let Some(retry_ms) = left(Timer::ForkRetry(pool_id)) {
            return WaitReason::ForkFails { retry_ms };
        }
        match self.templates.get(&active).map_or(0, |template| template.in_flight) {
            0 => WaitReason::Turn,
            in_flight => WaitReason::Forking { in_flight },
        }
    }

    /// Why a pool has no template that serves.
    fn build_reason(&self, pool: &Pool) -> WaitReason {
        if let Some((id, template)) =
            pool.building.and_then(|id| Some((id, self.templates.get(&id)?)))
        {
            let at = match &template.phase {
                Phase::Loading { at } => at.clone(),
                _ => None,
            };
            let (module, stage) = at.unzip();
            let since_ms = millis(self.now.since(template.started));
            return WaitReason::TemplateLoads { template: id, module, stage, since_ms };
        }
        match &pool.failure {
            Some(failure) => WaitReason::BackOff {
                error: failure.error.to_string(),
                retry_ms: millis(failure.retry_at.since(self.now)),
            },
            None => WaitReason::Turn,
        }
    }
}
