//! The proof that the whole path works: a template forks a spare, the spare ends, and its end is
//! reported. A supervisor's watchdog is told only after it.
//!
//! A probe looks at one pool that has a serving template, each time at the next one. A spare that
//! waits is let go and its end awaited; where none waits, because all are in demand, the next one
//! that comes is proof enough. A template that goes meanwhile is no proof of anything, so another
//! pool is looked at. Without any serving template there is nothing to prove. Pools of users prove
//! nothing either: they could stop their templates, and have the daemon killed for it.

use super::Core;
use super::action::Action;
use mpserverd_proto::ids::{PoolId, WorkerId};
use serde::{Deserialize, Serialize};
use std::ops::Bound::{Excluded, Unbounded};

/// What a probe waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Awaited {
    /// The end of a spare that was let go.
    End(WorkerId),
    /// A spare.
    Spare,
}

/// Probes: the one that runs, and where the last one was.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Probe {
    running: Option<(PoolId, Awaited)>,
    last: Option<PoolId>,
}

impl Core {
    /// A probe is due. One that runs still goes on, so that a path which does not work shows.
    pub(super) fn probe_due(&mut self) {
        // Forks that failed, and that nobody needs any more, prove nothing.
        let is_coming = |(pool, awaited): &(PoolId, Awaited)| {
            let stock = self.stock(*pool);
            *awaited != Awaited::Spare || stock.is_some_and(|(_, stock)| stock.in_flight > 0)
        };
        if self.probe.running.as_ref().is_none_or(|running| !is_coming(running)) {
            self.begin_probe();
        }
    }

    /// Whether a probe waits for its proof.
    #[must_use]
    pub fn is_probing(&self) -> bool {
        self.probe.running.is_some()
    }

    fn begin_probe(&mut self) {
        let next = self.next_probed().filter(|_| !self.stopping());
        let Some(pool_id) = next else { return self.proven() };
        self.probe.last = Some(pool_id);
        let active = self.pools.get(&pool_id).and_then(|pool| pool.active);
        let template = active.and_then(|active| self.templates.get(&active));
        let idle = template.and_then(|template| template.idle.first().copied());
        let awaited = idle.map_or(Awaited::Spare, Awaited::End);
        self.probe.running = Some((pool_id, awaited));
        if let Some(spare) = idle {
            self.release(spare);
        }
        self.restock(pool_id, true);
    }

    /// The next pool after the last one that should have a spare.
    fn next_probed(&self) -> Option<PoolId> {
        let serves = |id: &PoolId| {
            let users = self.pools.get(id).is_none_or(|pool| self.is_users(pool));
            let stock = self.stock(*id);
            !users && stock.is_some_and(|(_, stock)| stock.idle > 0 || stock.in_flight > 0)
        };
        let after = self.probe.last.map_or(Unbounded, Excluded);
        let mut later = self.pools.range((after, Unbounded)).map(|(id, _)| *id);
        later.find(serves).or_else(|| self.pools.keys().copied().find(serves))
    }

    fn proven(&mut self) {
        self.probe.running = None;
        self.out.push(Action::Proven);
    }

    /// A worker ended: perhaps the one that a probe waits for.
    pub(super) fn probe_saw_end(&mut self, worker: WorkerId) {
        if matches!(self.probe.running, Some((_, Awaited::End(awaited))) if awaited == worker) {
            self.proven();
        }
    }

    /// Spares of a pool came up.
    pub(super) fn probe_saw_spare(&mut self, pool: PoolId) {
        if self.probe.running == Some((pool, Awaited::Spare)) {
            self.proven();
        }
    }

    /// A pool lost its serving template. The end of a spare is reported all the same, but nobody
    /// forks the next one.
    pub(super) fn probe_lost(&mut self, pool: PoolId) {
        if self.probe.running == Some((pool, Awaited::Spare)) {
            self.probe.running = None;
            self.begin_probe();
        }
    }
}
