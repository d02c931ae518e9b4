//! What must be true after every event. The simulator asks after each step; it walks the whole
//! book, so a serving daemon does not.

use super::Core;
use super::pool::Pool;
use super::sessions::Waiting;
use super::template::{Phase, Role, Template};
use super::timers::Timer;
use super::workers::Owner;
use mpserverd_proto::ids::{PoolId, TemplateId};
use mpserverd_proto::limits::{QUEUE_PER_SESSION_MAX, QUEUE_TOTAL_MAX};
use std::collections::BTreeMap;
use std::fmt::Debug;

fn same<T: PartialEq + Debug>(
    what: impl FnOnce() -> String,
    book: T,
    real: T,
) -> Result<(), String> {
    if book == real {
        return Ok(());
    }
    Err(format!("{}: the book says {book:?}, counted are {real:?}", what()))
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// What is really there, counted in one pass.
#[derive(Default)]
struct Tally {
    /// Workers, and of them those that are leased.
    of_template: BTreeMap<TemplateId, (u32, u32)>,
    of_pool: BTreeMap<PoolId, (u32, u32)>,
    templates: BTreeMap<PoolId, u32>,
    openers: BTreeMap<PoolId, u32>,
}

impl Tally {
    fn of(core: &Core) -> Self {
        let mut tally = Self::default();
        for worker in core.workers.values() {
            let leased = u32::from(matches!(worker.owner, Owner::Client { .. }));
            let template = tally.of_template.entry(worker.template).or_default();
            *template = (template.0 + 1, template.1 + leased);
            let pool = tally.of_pool.entry(worker.pool).or_default();
            *pool = (pool.0 + 1, pool.1 + leased);
        }
        for template in core.templates.values() {
            *tally.templates.entry(template.pool).or_default() += 1;
        }
        for pool in core.sessions.values().flat_map(|session| &session.opened) {
            *tally.openers.entry(*pool).or_default() += 1;
        }
        tally
    }
}

fn counted<K: Ord, V: Copy + Default>(map: &BTreeMap<K, V>, key: &K) -> V {
    map.get(key).copied().unwrap_or_default()
}

impl Core {
    /// Checks every count against what it counts, every owner, every bound, and that whatever
    /// waits has something to wait for.
    ///
    /// # Errors
    /// What is wrong, for whoever debugs it.
    pub fn audit(&self) -> Result<(), String> {
        self.audit_workers()?;
        self.audit_users()?;
        let tally = Tally::of(self);
        for (&id, template) in &self.templates {
            self.audit_template(id, template, &tally)?;
        }
        for (&id, pool) in &self.pools {
            self.audit_pool(id, pool, &tally)?;
            self.audit_hope(id, pool)?;
        }
        self.audit_waiting()?;
        self.audit_blocked()?;
        self.audit_limits()?;
        let named = self.measures.slots.pools().sum::<u32>();
        ensure(named <= count(self.pools.keys()), || "names of pools that are gone".into())?;
        self.deaths.check(self.settings.deaths_kept)?;
        self.poison.audit()?;
        self.timers.armed().try_for_each(|timer| self.audit_timer(timer))
    }

    fn audit_workers(&self) -> Result<(), String> {
        let mut leased = 0;
        for (id, worker) in &self.workers {
            ensure(self.pools.contains_key(&worker.pool), || format!("{id} without a pool"))?;
            ensure(id.0 < self.next.worker, || format!("{id} was never given"))?;
            let template = self.templates.get(&worker.template);
            let parked = template.is_some_and(|t| t.idle.contains(id));
            same(|| format!("{id} parked"), parked, worker.owner == Owner::Pool)?;
            leased += u64::from(matches!(worker.owner, Owner::Client { .. }));
            let expires = self.timers.is_set(Timer::Worker(*id));
            ensure(!expires || worker.owner == Owner::Nobody, || format!("{id} would be killed"))?;
        }
        for (pid, id) in &self.pids {
            let real = self.workers.get(id).map(|worker| worker.pid);
            same(|| format!("pid of {id}"), Some(*pid), real)?;
        }
        same(|| "leased".into(), self.totals.leased, leased)
    }

    fn audit_template(
        &self,
        id: TemplateId,
        template: &Template,
        tally: &Tally,
    ) -> Result<(), String> {
        let book = (template.workers, template.leased);
        same(|| format!("workers of {id}"), book, counted(&tally.of_template, &id))?;
        let orphans = template.idle.iter().filter(|spare| !self.workers.contains_key(spare));
        same(|| format!("orphans of {id}"), 0, count(orphans))?;
        let role = self.role(id);
        let fits = match template.phase {
            Phase::Starting | Phase::Loading { .. } => {
                matches!(role, Role::Building | Role::Candidate)
            }
            Phase::Ready { .. } => matches!(role, Role::Active | Role::Candidate),
            Phase::Retiring | Phase::Stopping | Phase::Killed => role == Role::Leaving,
        };
        ensure(fits, || format!("{id} is {role:?} and {:?}", template.phase))?;
        let forks = template.in_flight > 0 || !template.idle.is_empty();
        let may_fork = matches!(role, Role::Active | Role::Candidate);
        ensure(!forks || may_fork, || format!("{id} forks, and is {role:?}"))?;
        let watched = self.timers.is_set(Timer::Fork(id));
        same(|| format!("forks of {id} are watched"), watched, template.in_flight > 0)?;
        let timed = self.timers.is_set(Timer::Template(id));
        let must = match template.phase {
            Phase::Starting | Phase::Loading { .. } | Phase::Stopping => true,
            Phase::Retiring => template.workers == 0,
            Phase::Ready { .. } | Phase::Killed => false,
        };
        same(|| format!("{id} in {:?} has a limit", template.phase), timed, must)
    }

    fn audit_pool(&self, id: PoolId, pool: &Pool, tally: &Tally) -> Result<(), String> {
        same(|| format!("key of {id}"), self.keys.get(&pool.spec.key), Some(&id))?;
        let roles = [pool.active, pool.building, pool.candidate];
        for template in roles.into_iter().flatten() {
            let owner = self.templates.get(&template).map(|t| t.pool);
            same(|| format!("pool of {template}"), Some(id), owner)?;
        }
        ensure(pool.active.is_none() || pool.building.is_none(), || {
            format!("{id} builds in vain")
        })?;
        same(|| format!("queue of {id}"), pool.queue.len(), pool.queue.recount())?;
        same(|| format!("templates of {id}"), pool.templates, counted(&tally.templates, &id))?;
        let book = (pool.workers, pool.leased);
        same(|| format!("workers of {id}"), book, counted(&tally.of_pool, &id))?;
        same(|| format!("openers of {id}"), pool.openers, counted(&tally.openers, &id))?;
        let idle = self.timers.is_set(Timer::Idle(id));
        ensure(!idle || pool.idle_since.is_some(), || format!("{id} would be dropped in use"))?;
        let needed = pool.is_wanted() || pool.templates > 0 || pool.workers > 0;
        let kept = needed || pool.failure.is_some() || self.stopping();
        ensure(kept, || format!("{id} ({}) is not forgotten", pool.spec.name))
    }

    /// Whoever waits must have something to wait for.
    fn audit_hope(&self, id: PoolId, pool: &Pool) -> Result<(), String> {
        if pool.queue.is_empty() && pool.watchers.is_empty() {
            return Ok(());
        }
        let Some((active, stock)) = self.stock(id) else {
            let hope = pool.building.is_some() || self.timers.is_set(Timer::Retry(id));
            return ensure(hope, || format!("requests of {id} wait for no template"));
        };
        ensure(pool.watchers.is_empty(), || format!("{id} did not tell its modules"))?;
        let forks = stock.in_flight > 0 || self.timers.is_set(Timer::ForkRetry(id));
        // By now a rate of starts may allow what it did not when it was asked.
        if stock.waiting == 0 || (pool.blocked && self.timers.is_set(Timer::Starts)) {
            return ensure(forks || pool.blocked, || format!("{id} waits without a turn"));
        }
        ensure(stock.idle == 0, || format!("{id} has spares and lets requests wait"))?;
        ensure(forks, || format!("requests of {id} wait for no fork of {active}"))
    }

    fn audit_waiting(&self) -> Result<(), String> {
        let (mut waiting, mut leases, mut watchers) = (0, 0, 0);
        for (id, session) in &self.sessions {
            ensure(session.waiting.len() <= QUEUE_PER_SESSION_MAX, || format!("{id:?} is full"))?;
            waiting += session.waiting.len();
            for (request, what) in &session.waiting {
                let pool = match what {
                    Waiting::Lease { pool, .. } => {
                        leases += 1;
                        pool
                    }
                    Waiting::Modules { pool, .. } => {
                        watchers += 1;
                        pool
                    }
                    Waiting::Reload => {
                        ensure(self.reload.is_some(), || format!("{request} waits in vain"))?;
                        continue;
                    }
                };
                ensure(self.pools.contains_key(pool), || format!("{request} without a pool"))?;
            }
        }
        let queued: usize = self.pools.values().map(|pool| pool.queue.len()).sum();
        let watching: usize = self.pools.values().map(|pool| pool.watchers.len()).sum();
        ensure(waiting <= QUEUE_TOTAL_MAX, || "too many requests wait".into())?;
        same(|| "waiting".into(), self.totals.waiting, waiting)?;
        same(|| "queued".into(), self.totals.queued, leases)?;
        same(|| "requests in queues".into(), queued, leases)?;
        same(|| "watchers".into(), watching, watchers)
    }

    fn audit_limits(&self) -> Result<(), String> {
        let (holders, queued) = self.quota.recount()?;
        same(|| "workers that count".into(), holders as u64, self.totals.leased)?;
        same(|| "requests that count".into(), queued, self.totals.queued as u64)?;
        let strange = self.watches.ids().filter(|id| !self.workers.contains_key(id));
        same(|| "watched strangers".into(), 0, count(strange))
    }

    fn audit_blocked(&self) -> Result<(), String> {
        let flagged = self.pools.values().filter(|pool| pool.blocked);
        same(|| "blocked pools".into(), count(self.blocked.iter()), count(flagged))?;
        let known = |id| self.pools.get(id).is_some_and(|pool| pool.blocked);
        ensure(self.blocked.iter().all(known), || "a pool is blocked that is none".into())
    }

    /// A timer of something that is not there would wake the daemon for nothing.
    fn audit_timer(&self, timer: Timer) -> Result<(), String> {
        let is_known = match timer {
            Timer::Request(session, id) => {
                self.sessions.get(&session).is_some_and(|s| s.waiting.contains_key(&id))
            }
            Timer::Template(id) | Timer::Fork(id) | Timer::Leases(id) => {
                self.templates.contains_key(&id)
            }
            Timer::Worker(id) | Timer::Slow(id) => self.workers.contains_key(&id),
            Timer::Refill(id) | Timer::ForkRetry(id) => {
                self.pools.get(&id).is_some_and(|pool| pool.active.is_some())
            }
            Timer::Decay(id) => self.pools.contains_key(&id),
            Timer::Retry(id) => self.pools.get(&id).is_some_and(|pool| pool.failure.is_some()),
            Timer::Idle(id) => self.pools.contains_key(&id),
            Timer::Limit(id) => self.watches.contains(id),
            Timer::Starts => !self.settings.limits.is_empty(),
            Timer::Stop => self.stopping() && !self.is_finished(),
        };
        ensure(is_known, || format!("{timer:?} has nothing to wake"))
    }
}
