//! What many workers may have together: how many run, how many start in a second, how many
//! requests wait; for each user, each module and the whole host.
//!
//! Starts are counted by the time at which a scope would be free of all that it has had so far
//! (the generic cell rate algorithm): one number each, exact, and nothing to refill.

use super::Core;
use super::event::{SessionId, Time};
use super::limits::{self, Rule};
use super::timers::Timer;
use mpserverd_proto::bounds::Bound;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::{PoolId, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Users and modules without a worker or request that are remembered, for their rate of starts.
const IDLE_MAX: usize = 1024;

/// A second of starts may come at once.
const BURST: Duration = Duration::from_secs(1);

/// Whom workers are counted for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Scope {
    Host,
    Uid(u32),
    Module(#[serde(with = "super::state::shared_text")] Arc<str>),
}

/// All that one worker or request counts for.
pub(super) type Scopes = Box<[Scope]>;

/// What a scope has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Use {
    pub(super) workers: u64,
    pub(super) queued: u64,
    /// When all starts so far would have been spread evenly.
    spent_until: Time,
}

/// All counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Quota {
    pub(super) uses: BTreeMap<Scope, Use>,
    holders: BTreeMap<WorkerId, Scopes>,
}

/// What stands in the way of a start.
#[derive(Debug)]
pub(super) struct Obstacle<'a> {
    pub(super) scope: &'a Scope,
    pub(super) bound: Bound,
    pub(super) rule: &'a Rule,
    /// When it is gone, if time alone does that.
    pub(super) until: Option<Time>,
}

/// Time of one start.
fn interval(per_second: i64) -> Duration {
    BURST / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX)
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Uid(uid) => write!(f, "uid {uid}"),
            Self::Module(name) => write!(f, "module {name}"),
        }
    }
}

impl Use {
    /// Of the starts that a second may have, how many are spent.
    pub(super) fn starts(&self, per_second: i64, now: Time) -> u64 {
        let spent = self.spent_until.since(now).as_nanos();
        u64::try_from(spent.div_ceil(interval(per_second).as_nanos().max(1))).unwrap_or(u64::MAX)
    }
}

impl Quota {
    fn entry(&mut self, scope: &Scope) -> &mut Use {
        self.uses.entry(scope.clone()).or_default()
    }

    /// Forgets scopes that nothing is to be remembered of.
    fn prune(&mut self, now: Time) {
        if self.uses.len() > IDLE_MAX {
            let busy = |held: &Use| held.workers > 0 || held.queued > 0 || held.spent_until > now;
            self.uses.retain(|_, held| busy(held));
        }
    }

    pub(super) fn count_queued(&mut self, scopes: &[Scope]) {
        scopes.iter().for_each(|scope| self.entry(scope).queued += 1);
    }

    pub(super) fn count_unqueued(&mut self, scopes: &[Scope], now: Time) {
        for scope in scopes {
            let held = self.entry(scope);
            held.queued = held.queued.saturating_sub(1);
        }
        self.prune(now);
    }

    /// Whether it can be counted on, for the check of a book from elsewhere.
    pub(super) fn is_sound(&self, most: u64) -> bool {
        self.uses.values().all(|held| held.workers.max(held.queued) <= most)
    }

    /// Counts again: workers and waiting requests of all scopes, for the audit.
    pub(super) fn recount(&self) -> Result<(usize, u64), String> {
        let mut real: BTreeMap<&Scope, u64> = BTreeMap::new();
        for scope in self.holders.values().flat_map(|scopes| scopes.iter()) {
            *real.entry(scope).or_default() += 1;
        }
        for (scope, held) in &self.uses {
            let counted = real.get(scope).copied().unwrap_or_default();
            if counted != held.workers {
                return Err(format!("{scope:?} has {counted}, the book says {}", held.workers));
            }
        }
        let queued = self.uses.get(&Scope::Host).map_or(0, |held| held.queued);
        Ok((self.holders.len(), queued))
    }
}

impl Core {
    /// What a worker of this user and pool counts for.
    pub(super) fn scopes(&self, uid: u32, pool_id: PoolId) -> Scopes {
        let mut scopes = vec![Scope::Host, Scope::Uid(uid)];
        if let Some(pool) = self.pools.get(&pool_id) {
            scopes.extend(limits::names(&pool.spec).into_iter().map(Scope::Module));
        }
        scopes.into()
    }

    /// The user of a session.
    pub(super) fn uid_of(&self, session: SessionId) -> u32 {
        self.sessions.get(&session).map_or(0, |session| session.peer.uid)
    }

    pub(super) fn rule(&self, scope: &Scope, bound: Bound) -> Option<&Rule> {
        let limits = &self.settings.limits;
        match scope {
            Scope::Host => limits.host.get(&bound),
            Scope::Uid(uid) => limits.of_uid(*uid, bound),
            Scope::Module(name) => limits.of_module(name, bound),
        }
    }

    /// How many more may start now in this scope.
    fn room_in(&self, scope: &Scope) -> u64 {
        let held = self.quota.uses.get(scope);
        let workers = self.rule(scope, Bound::Workers).map_or(u64::MAX, |rule| {
            let max = u64::try_from(rule.value).unwrap_or(0);
            max.saturating_sub(held.map_or(0, |held| held.workers))
        });
        let starts = self.rule(scope, Bound::Starts).map_or(u64::MAX, |rule| {
            let spent = held.map_or(self.now, |held| held.spent_until.max(self.now));
            let left = BURST.saturating_sub(spent.since(self.now));
            let starts = left.as_nanos() / interval(rule.value).as_nanos().max(1);
            u64::try_from(starts).unwrap_or(u64::MAX)
        });
        workers.min(starts)
    }

    /// How many more of these may start now.
    pub(super) fn room(&self, scopes: &[Scope]) -> u64 {
        if self.settings.limits.is_empty() {
            return u64::MAX;
        }
        scopes.iter().map(|scope| self.room_in(scope)).min().unwrap_or(u64::MAX)
    }

    pub(super) fn obstacle<'a>(&'a self, scopes: &'a [Scope]) -> Option<Obstacle<'a>> {
        for scope in scopes.iter().filter(|scope| self.room_in(scope) == 0) {
            let held = self.quota.uses.get(scope);
            if let Some(rule) = self.rule(scope, Bound::Workers)
                && u64::try_from(rule.value).unwrap_or(0) <= held.map_or(0, |held| held.workers)
            {
                return Some(Obstacle { scope, bound: Bound::Workers, rule, until: None });
            }
            if let Some(rule) = self.rule(scope, Bound::Starts) {
                let spent = held.map_or(self.now, |held| held.spent_until);
                let wait = interval(rule.value)
                    .saturating_sub(BURST.saturating_sub(spent.since(self.now)));
                let until = Some(self.now.after(wait).unwrap_or(self.now));
                return Some(Obstacle { scope, bound: Bound::Starts, rule, until });
            }
        }
        None
    }

    /// What to say of a request that a limit kept waiting.
    pub(super) fn limit_in_the_way(&self, scopes: &[Scope], waited_ms: u64) -> Option<Refusal> {
        if self.settings.limits.is_empty() {
            return None;
        }
        let Obstacle { bound, rule, .. } = self.obstacle(scopes)?;
        Some(reached(bound, rule, waited_ms))
    }

    /// Whether one more request may wait.
    pub(super) fn may_queue(&self, scopes: &[Scope]) -> Result<(), Refusal> {
        for scope in scopes {
            let queued = self.quota.uses.get(scope).map_or(0, |held| held.queued);
            if let Some(rule) = self.rule(scope, Bound::Queue)
                && u64::try_from(rule.value).unwrap_or(0) <= queued
            {
                return Err(reached(Bound::Queue, rule, 0));
            }
        }
        Ok(())
    }

    /// A worker was handed over.
    pub(super) fn count_start(&mut self, worker: WorkerId, scopes: Scopes) {
        for scope in &scopes {
            let cost = self.rule(scope, Bound::Starts).map(|rule| interval(rule.value));
            let now = self.now;
            let held = self.quota.entry(scope);
            held.workers += 1;
            if let Some(cost) = cost {
                let from = held.spent_until.max(now);
                held.spent_until = from.after(cost).unwrap_or(from);
            }
        }
        self.quota.holders.insert(worker, scopes);
    }

    /// A worker of an earlier daemon, which did not start now.
    pub(super) fn count_adopted(&mut self, worker: WorkerId, scopes: Scopes) {
        scopes.iter().for_each(|scope| self.quota.entry(scope).workers += 1);
        self.quota.holders.insert(worker, scopes);
    }

    /// It has ended.
    pub(super) fn count_end(&mut self, worker: WorkerId) {
        let Some(scopes) = self.quota.holders.remove(&worker) else { return };
        for scope in &scopes {
            let held = self.quota.entry(scope);
            held.workers = held.workers.saturating_sub(1);
        }
        self.quota.prune(self.now);
    }

    /// Of those who wait for a pool, how many may be served now.
    pub(super) fn servable(&self, pool_id: PoolId) -> u64 {
        let Some(pool) = self.pools.get(&pool_id) else { return 0 };
        let waiting = pool.queue.len() as u64;
        if self.settings.limits.is_empty() || waiting == 0 {
            return self.capacity().min(waiting);
        }
        let mut sum = 0u64;
        let mut together = u64::MAX;
        for (uid, count) in pool.queue.uids() {
            let scopes = self.scopes(uid, pool_id);
            sum = sum.saturating_add(self.room(&scopes).min(count as u64));
            let shared = scopes.iter().filter(|scope| !matches!(scope, Scope::Uid(_)));
            together = shared.map(|scope| self.room_in(scope)).min().unwrap_or(u64::MAX);
        }
        self.capacity().min(sum).min(together)
    }

    /// The user whose request is next among those that may be served now.
    pub(super) fn next_uid(&self, pool_id: PoolId) -> Option<u32> {
        let pool = self.pools.get(&pool_id)?;
        let mut uids = pool.queue.uids();
        if self.settings.limits.is_empty() {
            return uids.next().map(|(uid, _)| uid);
        }
        uids.find(|(uid, _)| self.room(&self.scopes(*uid, pool_id)) > 0).map(|(uid, _)| uid)
    }

    /// Sees to it that a pool which waits for its rate of starts is served when that allows.
    pub(super) fn await_starts(&mut self, pool_id: PoolId) {
        let Some(pool) = self.pools.get(&pool_id) else { return };
        let times = pool.queue.uids().filter_map(|(uid, _)| {
            let scopes = self.scopes(uid, pool_id);
            self.obstacle(&scopes)?.until
        });
        let Some(earliest) = times.min() else { return };
        if self.timers.at(Timer::Starts).is_none_or(|at| at > earliest) {
            self.timers.set(Timer::Starts, self.now, earliest.since(self.now));
        }
    }
}

fn reached(bound: Bound, rule: &Rule, waited_ms: u64) -> Refusal {
    Refusal::LimitReached {
        limit: bound.to_string(),
        value: bound.spell(rule.value),
        set_in: rule.set_in.to_string(),
        waited_ms,
    }
}
