//! Pools: what equal templates are built from, who serves them now, and when they are forgotten.
//! A pool outlives its template processes. How it is built only the loop knows.

use super::action::Action;
use super::backoff::Backoff;
use super::event::{PoolKey, PoolSpec, SessionId, Time};
use super::measures::SlotId;
use super::queue::FairQueue;
use super::spares::Marks;
use super::template::Leave;
use super::timers::Timer;
use super::{Core, Settings};
use mpserverd_proto::error::PreloadError;
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Pools that may be known at once: each holds an executable open and has a row in the reports.
pub const POOLS_MAX: usize = 1024;

/// Why a pool has no template, and until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) error: PreloadError,
    /// The template that failed last.
    pub(super) template: TemplateId,
    /// Not built again before this.
    pub(super) retry_at: Time,
    /// The delay is so short that requests wait for its end.
    pub(super) patient: bool,
}

/// A pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pool {
    pub(super) spec: PoolSpec,
    /// Named by the configuration: always there.
    pub(super) preloaded: bool,
    /// Sessions that opened it.
    pub(super) openers: u32,
    pub(super) queue: FairQueue,
    /// Requests that wait for the list of modules.
    pub(super) watchers: BTreeSet<(SessionId, RequestId)>,
    /// The template that serves.
    pub(super) active: Option<TemplateId>,
    /// The template that will, once loaded; never beside an active one.
    pub(super) building: Option<TemplateId>,
    /// The template of a pending reload, beside the others.
    pub(super) candidate: Option<TemplateId>,
    /// Modules that were left out because they failed, and how.
    pub(super) excluded: Vec<PreloadError>,
    pub(super) failure: Option<Failure>,
    pub(super) backoff: Backoff,
    pub(super) marks: Marks,
    pub(super) fork_backoff: Backoff,
    /// Spares that died young in a row.
    pub(super) crashes: u32,
    /// The last template was ready or failed: needed for the first readiness of the service.
    pub(super) verdict: bool,
    /// Stands in the list of pools that wait for the number of workers to fall.
    pub(super) blocked: bool,
    /// Since when nobody has used it.
    pub(super) idle_since: Option<Time>,
    /// Templates of it that have a process.
    pub(super) templates: u32,
    /// Workers of it in the book, spares included.
    pub(super) workers: u32,
    /// Of them, those that are handed over.
    pub(super) leased: u32,
    pub(super) starts: u64,
    pub(super) spare_hits: u64,
    /// Where it is counted.
    pub(super) slot: SlotId,
}

impl Pool {
    fn new(spec: PoolSpec, slot: SlotId, settings: &Settings) -> Self {
        Self {
            spec,
            preloaded: false,
            openers: 0,
            queue: FairQueue::default(),
            watchers: BTreeSet::new(),
            active: None,
            building: None,
            candidate: None,
            excluded: Vec::new(),
            failure: None,
            backoff: Backoff::default(),
            marks: Marks::new(settings),
            fork_backoff: Backoff::default(),
            crashes: 0,
            verdict: false,
            blocked: false,
            idle_since: None,
            templates: 0,
            workers: 0,
            leased: 0,
            starts: 0,
            spare_hits: 0,
            slot,
        }
    }

    /// Somebody needs it now or soon, so its template must not be dropped.
    fn is_used(&self) -> bool {
        self.preloaded
            || self.leased > 0
            || !self.queue.is_empty()
            || !self.watchers.is_empty()
            || self.building.is_some()
            || self.candidate.is_some()
    }

    /// It may be asked for without having to be opened again.
    pub(super) fn is_wanted(&self) -> bool {
        self.preloaded || self.openers > 0 || !self.queue.is_empty() || !self.watchers.is_empty()
    }
}

impl Core {
    /// The pool of that key, made if need be.
    pub(super) fn pool_for(&mut self, spec: PoolSpec) -> PoolId {
        if let Some(&id) = self.keys.get(&spec.key) {
            return id;
        }
        let id = PoolId(self.next.pool);
        self.next.pool += 1;
        self.keys.insert(spec.key.clone(), id);
        let slot = self.measures.slots.join(&spec.name);
        self.pools.insert(id, Pool::new(spec, slot, &self.settings));
        id
    }

    /// Looks after a pool that may have become idle, busy or superfluous.
    pub(super) fn tidy(&mut self, id: PoolId) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        if self.stop.is_some() || pool.is_used() {
            pool.idle_since = None;
            self.timers.cancel(Timer::Idle(id));
        } else if pool.active.is_some() || pool.failure.is_some() {
            if pool.idle_since.is_none() {
                pool.idle_since = Some(self.now);
                self.timers.set(Timer::Idle(id), self.now, self.settings.idle_timeout);
            }
        } else {
            pool.idle_since = None;
            self.timers.cancel(Timer::Idle(id));
            if pool.openers == 0 && pool.templates == 0 && pool.workers == 0 {
                self.forget_pool(id);
            }
        }
    }

    fn forget_pool(&mut self, id: PoolId) {
        let Some(pool) = self.pools.remove(&id) else { return };
        self.keys.remove(&pool.spec.key);
        self.measures.slots.leave(pool.slot);
        if pool.blocked {
            self.blocked.retain(|&blocked| blocked != id);
        }
        for timer in [Timer::Refill(id), Timer::ForkRetry(id), Timer::Decay(id), Timer::Retry(id)] {
            self.timers.cancel(timer);
        }
        tracing::debug!(pool = %id, name = %pool.spec.name, "pool forgotten");
        self.forget_key(pool.spec.key);
    }

    /// Lets the loop forget a key that no pool has.
    pub(super) fn forget_key(&mut self, key: PoolKey) {
        if !self.keys.contains_key(&key) {
            self.out.push(Action::ForgetPool { key });
        }
    }

    /// Nobody has used the pool for the idle time.
    pub(super) fn idle_due(&mut self, id: PoolId) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        pool.idle_since = None;
        pool.failure = None;
        self.timers.cancel(Timer::Retry(id));
        self.drop_template(id);
        self.tidy(id);
    }

    /// Retires the template of an unused pool; the next build tries all modules again.
    pub(super) fn drop_template(&mut self, id: PoolId) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        pool.excluded.clear();
        let Some(active) = pool.active else { return };
        tracing::info!(template = %active, name = %pool.spec.name, "unused template dropped");
        self.depart(active, Leave::Retire);
    }
}
