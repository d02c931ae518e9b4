//! Matching requests with spares, and asking templates for more. Which numbers are right is
//! decided in `spares.rs`, whose turn it is in `queue.rs`.

use super::Core;
use super::action::Action;
use super::event::SessionId;
use super::quota::Scopes;
use super::sessions::Waiting;
use super::spares::Stock;
use super::template::Role;
use super::timers::Timer;
use super::workers::Purpose;
use mpserverd_proto::bounds::Bounds;
use mpserverd_proto::client::Grant;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId, WorkerId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest pause after a failed fork.
const FORK_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What to look at when a fork fails.
pub(super) const FORK_HINT: &str = "look at the limits of processes and memory: `pids.max` and `memory.max` \
                         of the cgroup, `ulimit -u`, `vm.overcommit_memory`";

/// What a request for a worker is for, what it counts for, and how the worker is to be limited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) purpose: Purpose,
    pub(super) scopes: Scopes,
    pub(super) bounds: Bounds,
}

impl Core {
    pub(super) fn lease(
        &mut self,
        session: SessionId,
        id: RequestId,
        pool_id: PoolId,
        wait: Duration,
        purpose: Purpose,
        bounds: Bounds,
    ) {
        let may = self.may_lease(session, pool_id, &purpose);
        if let Err(refusal) = may.and_then(|()| self.may_limit(session, pool_id, &bounds)) {
            return self.refuse(session, id, refusal);
        }
        let scopes = self.scopes(self.uid_of(session), pool_id);
        if let Some(spare) = self.spare_at_once(pool_id).filter(|_| self.room(&scopes) > 0) {
            self.note_wait(self.now);
            self.grant(session, id, spare, true, Wish { purpose, scopes, bounds });
            return self.advance_after(pool_id, true);
        }
        let may = self.may_wait(session).and_then(|()| self.may_queue(&scopes));
        if let Err(refusal) = may.and_then(|()| self.admit_to_queue(session)) {
            return self.refuse(session, id, refusal);
        }
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        let uid = self.sessions.get(&session).map_or(0, |session| session.peer.uid);
        let ticket = pool.queue.push(uid, session, id);
        let wish = Box::new(Wish { purpose, scopes, bounds });
        let waiting = Waiting::Lease { pool: pool_id, ticket, since: self.now, wish };
        self.add_waiting(session, id, waiting, Some(wait));
        match self.ensure_template(pool_id) {
            Ok(()) => {
                self.note_shortage(pool_id);
                self.advance(pool_id);
            }
            Err(refusal) => self.refuse_all(pool_id, &refusal),
        }
    }

    fn may_lease(
        &self,
        session: SessionId,
        pool_id: PoolId,
        purpose: &Purpose,
    ) -> Result<(), Refusal> {
        if self.stopping() {
            return Err(Refusal::ShuttingDown);
        }
        if !self.has_opened(session, pool_id) {
            return Err(Refusal::UnknownPool);
        }
        if let Some(pool) = self.pools.get(&pool_id) {
            let (task, rule) = (purpose.task.as_deref(), &self.settings.poison);
            self.poison.check(&pool.spec.key, task, self.now, rule)?;
        }
        self.current_failure(pool_id).map_or(Ok(()), Err)
    }

    /// A spare for a request before which nobody waits.
    fn spare_at_once(&self, pool_id: PoolId) -> Option<WorkerId> {
        let pool = self.pools.get(&pool_id)?;
        if !pool.queue.is_empty() || self.capacity() == 0 {
            return None;
        }
        self.templates.get(&pool.active?)?.idle.first().copied()
    }

    /// Workers that may still be handed over.
    pub(super) fn capacity(&self) -> u64 {
        self.settings.workers_max.saturating_sub(self.totals.leased)
    }

    fn grant(
        &mut self,
        session: SessionId,
        id: RequestId,
        worker: WorkerId,
        spare_hit: bool,
        wish: Wish,
    ) {
        let Wish { purpose, scopes, bounds } = wish;
        let client = self.sessions.get(&session).map(|s| s.peer);
        let (task, trace) = (purpose.task.clone(), purpose.trace);
        let handed = self.hand_over(worker, client, purpose, spare_hit);
        let Some((pid, template, generation)) = handed else { return };
        self.limit_started(worker, self.uid_of(session), scopes, &bounds);
        let client_pid = client.map(|client| client.pid);
        tracing::debug!(%worker, pid, %template, client_pid, task, ?trace, "worker leased");
        let grant = Grant { worker, pid, template, generation, spare_hit };
        self.out.push(Action::Grant { session, id, grant });
    }

    /// Serves who waits as far as spares go, then sees to more spares.
    pub(super) fn advance(&mut self, pool_id: PoolId) {
        let granted = self.serve(pool_id, usize::MAX);
        self.advance_after(pool_id, granted);
    }

    /// Spares came up. If they were not enough, the next round is larger.
    pub(super) fn round_came(&mut self, pool_id: PoolId) {
        let granted = self.serve(pool_id, usize::MAX);
        if self.stock(pool_id).is_some_and(|(_, stock)| stock.waiting > stock.in_flight) {
            self.note_shortage(pool_id);
        }
        self.advance_after(pool_id, granted);
    }

    fn advance_after(&mut self, pool_id: PoolId, granted: bool) {
        self.restock(pool_id, granted);
        self.tidy(pool_id);
    }

    /// Hands spares to at most so many who wait; true if there was one.
    fn serve(&mut self, pool_id: PoolId, limit: usize) -> bool {
        for served in 0..limit {
            let Some(pool) = self.pools.get(&pool_id) else { return served > 0 };
            if pool.queue.is_empty() {
                return served > 0;
            }
            if self.settings.workers_max <= self.totals.leased {
                self.block(pool_id);
                return served > 0;
            }
            let Some(uid) = self.next_uid(pool_id) else {
                self.block(pool_id);
                self.await_starts(pool_id);
                return served > 0;
            };
            let Some(pool) = self.pools.get(&pool_id) else { return served > 0 };
            let active = pool.active.and_then(|active| self.templates.get(&active));
            let Some(spare) = active.and_then(|t| t.idle.first().copied()) else {
                return served > 0;
            };
            let next = self.pools.get_mut(&pool_id).and_then(|pool| pool.queue.pop_of(uid));
            let Some((session, id)) = next else { return served > 0 };
            if let Some(Waiting::Lease { since, wish, .. }) = self.strike(session, id) {
                self.note_wait(since);
                self.grant(session, id, spare, false, *wish);
            }
        }
        limit > 0
    }

    /// The number of workers has fallen, or may be higher: pools that wait for it get one each.
    pub(super) fn unblock(&mut self) {
        // Set again below, if somebody still waits for it.
        self.timers.cancel(Timer::Starts);
        // Pools in a row that a limit of their own still keeps waiting.
        let mut kept = 0;
        while self.capacity() > 0 && kept < self.blocked.len() {
            let Some(pool_id) = self.blocked.pop_front() else { return };
            let Some(pool) = self.pools.get_mut(&pool_id) else { continue };
            pool.blocked = false;
            let granted = self.serve(pool_id, 1);
            let again = self.pools.get(&pool_id).is_some_and(|pool| pool.blocked);
            kept = if granted { 0 } else { kept + usize::from(again) };
            if granted && self.has_waiting(pool_id) {
                self.block(pool_id);
            } else if !granted {
                self.note_shortage(pool_id);
            }
            self.advance_after(pool_id, granted);
        }
    }

    fn has_waiting(&self, pool_id: PoolId) -> bool {
        self.pools.get(&pool_id).is_some_and(|pool| !pool.queue.is_empty())
    }

    fn block(&mut self, pool_id: PoolId) {
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        if !std::mem::replace(&mut pool.blocked, true) {
            self.blocked.push_back(pool_id);
        }
    }

    /// What a pool with an active template has.
    pub(super) fn stock(&self, pool_id: PoolId) -> Option<(TemplateId, Stock)> {
        let pool = self.pools.get(&pool_id)?;
        let active = pool.active?;
        let template = self.templates.get(&active)?;
        let waiting = self.servable(pool_id);
        let stock = Stock {
            idle: u32::try_from(template.idle.len()).unwrap_or(u32::MAX),
            in_flight: template.in_flight,
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
        };
        Some((active, stock))
    }

    /// Counts a shortage, if who waits has neither a spare nor the bound of workers to blame.
    pub(super) fn note_shortage(&mut self, pool_id: PoolId) {
        let Some((_, stock)) = self.stock(pool_id) else { return };
        if stock.waiting == 0 || stock.idle > 0 {
            return;
        }
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.marks.shortage(&self.settings);
            self.timers.set(Timer::Decay(pool_id), self.now, self.settings.decay_after);
        }
    }

    /// Forks what is needed now, and sets the timers for what is needed later.
    pub(super) fn restock(&mut self, pool_id: PoolId, granted: bool) {
        let Some((active, mut stock)) = self.stock(pool_id) else { return };
        if self.stopping() {
            return;
        }
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        if !self.timers.is_set(Timer::ForkRetry(pool_id)) {
            let count = pool.marks.order(stock);
            stock.in_flight += u32::from(count);
            let refill_in = pool.marks.refill_in(stock, self.now, &self.settings);
            let refill = Timer::Refill(pool_id);
            match refill_in {
                None => self.timers.cancel(refill),
                Some(delay) if granted || !self.timers.is_set(refill) => {
                    self.timers.set(refill, self.now, delay);
                }
                Some(_) => {}
            }
            self.fork(active, count);
        }
        self.watch_surplus(pool_id);
    }

    /// Lets the number of spares fall one day, if it is above what is always kept.
    fn watch_surplus(&mut self, pool_id: PoolId) {
        let Some(pool) = self.pools.get(&pool_id) else { return };
        let target = pool.marks.target();
        let surplus = self.stock(pool_id).is_some_and(|(_, stock)| stock.free() > target);
        let decay = Timer::Decay(pool_id);
        if target <= self.settings.spares_min && !surplus {
            self.timers.cancel(decay);
        } else if !self.timers.is_set(decay) {
            self.timers.set(decay, self.now, self.settings.decay_after);
        }
    }

    pub(super) fn fork(&mut self, id: TemplateId, count: u16) {
        let Some(template) = self.templates.get_mut(&id) else { return };
        if count == 0 {
            return;
        }
        template.in_flight += u32::from(count);
        template.forks.asked(self.now, count);
        let generation = template.generation;
        let first = WorkerId(self.next.worker);
        self.next.worker = self.next.worker.saturating_add(u64::from(count));
        self.out.push(Action::Fork { template: id, first, count });
        if !self.timers.is_set(Timer::Fork(id)) {
            let limit = self.settings_of(generation).handshake_timeout;
            self.timers.set(Timer::Fork(id), self.now, limit);
        }
    }

    /// The time to refill, or to try again after a failed fork.
    pub(super) fn refill_due(&mut self, pool_id: PoolId) {
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.marks.fill();
            self.advance(pool_id);
        }
    }

    pub(super) fn decay_due(&mut self, pool_id: PoolId) {
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        pool.marks.decay(&self.settings);
        let target = pool.marks.target();
        if let Some((active, stock)) = self.stock(pool_id) {
            let surplus = stock.free().saturating_sub(target).min(stock.idle);
            for _ in 0..surplus {
                let newest = self.templates.get(&active).and_then(|t| t.idle.last().copied());
                newest.into_iter().for_each(|spare| self.release(spare));
            }
        }
        self.restock(pool_id, false);
        self.watch_surplus(pool_id);
    }

    /// A template could not fork: who cannot be served is told so, the next try comes later.
    pub(super) fn fork_failed(&mut self, id: TemplateId, missing: u16, message: String) {
        let Some(template) = self.templates.get_mut(&id) else {
            return tracing::debug!(template = %id, "failed fork of an unknown template");
        };
        let pool_id = template.pool;
        template.in_flight = template.in_flight.saturating_sub(u32::from(missing));
        (0..missing).for_each(|_| self.note_fork(id, false));
        self.fork_progress(id);
        if self.role(id) == Role::Candidate {
            return self.candidate_cannot_fork(pool_id, id, &message);
        }
        let Some((active, stock)) = self.stock(pool_id) else { return };
        if active != id {
            return;
        }
        tracing::warn!(template = %id, missing, error = %message, "template cannot fork");
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        let max = self.settings.backoff_max.min(FORK_PAUSE_MAX);
        let pause = pool.fork_backoff.next(self.settings.backoff_min, max);
        self.timers.set(Timer::ForkRetry(pool_id), self.now, pause);
        self.timers.cancel(Timer::Refill(pool_id));
        let helpless = stock.waiting.saturating_sub(stock.idle + stock.in_flight);
        let refusal = Refusal::ForkFailed { message, hint: FORK_HINT.into() };
        for _ in 0..helpless {
            self.refuse_next(pool_id, &refusal);
        }
        self.tidy(pool_id);
    }

    fn refuse_next(&mut self, pool_id: PoolId, refusal: &Refusal) -> bool {
        let next = self.pools.get_mut(&pool_id).and_then(|pool| pool.queue.pop());
        let Some((session, id)) = next else { return false };
        self.strike(session, id);
        self.refuse(session, id, refusal.clone());
        true
    }

    /// Refuses everybody who waits for a pool, be it for workers or for modules.
    pub(super) fn refuse_all(&mut self, pool_id: PoolId, refusal: &Refusal) {
        while self.refuse_next(pool_id, refusal) {}
        let watchers = self.pools.get_mut(&pool_id).map(|pool| std::mem::take(&mut pool.watchers));
        for (session, id) in watchers.into_iter().flatten() {
            self.strike(session, id);
            self.refuse(session, id, refusal.clone());
        }
        self.tidy(pool_id);
    }
}
