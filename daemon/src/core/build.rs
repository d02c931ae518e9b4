//! Building templates: when, without what, and what happens when it fails. How a process is
//! started the loop knows; reloads build in `reload.rs`.

use super::Core;
use super::action::Action;
use super::event::{PoolSpec, SessionId};
use super::pool::Failure;
use super::reload::Startup;
use super::sessions::Waiting;
use super::template::{Phase, Template};
use super::timers::Timer;
use mpserverd_proto::client::Reply;
use mpserverd_proto::error::{PreloadError, Refusal, Stage};
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId};
use mpserverd_proto::template::{Memory, OnPreloadError};
use std::collections::BTreeSet;
use std::time::Duration;

/// Requests wait through a back-off that is not longer than this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a template may be built again without the module that made it fail.
pub(super) fn is_tolerated(
    spec: &PoolSpec,
    excluded: &[PreloadError],
    error: &PreloadError,
) -> bool {
    let is_module = spec.modules.contains(&error.module) && error.stage != Stage::Serving;
    let is_new = excluded.iter().all(|earlier| earlier.module != error.module);
    match spec.on_error {
        OnPreloadError::Ignore | OnPreloadError::Warn => is_module && is_new,
        OnPreloadError::Fail => false,
    }
}

/// Says that a module is left out, as loudly as the pool's policy wants.
pub(super) fn log_excluded(spec: &PoolSpec, error: &PreloadError) {
    match spec.on_error {
        OnPreloadError::Warn => {
            tracing::warn!(name = %spec.name, module = %error.module, %error, "module left out");
        }
        OnPreloadError::Ignore | OnPreloadError::Fail => {
            tracing::debug!(name = %spec.name, module = %error.module, %error, "module left out");
        }
    }
}

impl Core {
    /// Sees to it that the pool has a template or will have one, unless it must wait for the end
    /// of a back-off.
    pub(super) fn ensure_template(&mut self, pool_id: PoolId) -> Result<(), Refusal> {
        let Some(pool) = self.pools.get_mut(&pool_id) else { return Ok(()) };
        if self.stop.is_some() || pool.active.is_some() || pool.building.is_some() {
            return Ok(());
        }
        if let Some(failure) = &pool.failure {
            let left = failure.retry_at.since(self.now);
            if !left.is_zero() {
                if failure.patient && !(pool.queue.is_empty() && pool.watchers.is_empty()) {
                    self.timers.set(Timer::Retry(pool_id), self.now, left);
                }
                return Ok(());
            }
        }
        if !pool.preloaded {
            self.make_room()?;
        }
        self.build(pool_id);
        Ok(())
    }

    fn build(&mut self, pool_id: PoolId) {
        let generation = self.generation;
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        pool.failure = None;
        self.timers.cancel(Timer::Retry(pool_id));
        let without = pool.excluded.clone();
        let template = self.start_template(pool_id, generation, without);
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.building = Some(template);
        }
    }

    /// Writes a new template into the book and has it started.
    pub(super) fn start_template(
        &mut self,
        pool_id: PoolId,
        generation: u32,
        without: Vec<PreloadError>,
    ) -> TemplateId {
        let names = without.iter().map(|error| error.module.clone()).collect();
        let id = self.enter_template(pool_id, generation, Phase::Starting);
        if let Some(counts) = self.counts_of(pool_id) {
            counts.builds += 1;
        }
        if let Some(template) = self.templates.get_mut(&id) {
            template.without = without;
        }
        if let Some(pool) = self.pools.get(&pool_id) {
            let key = pool.spec.key.clone();
            let birth = self.birth_of(generation, &pool.spec);
            self.out.push(Action::Build {
                template: id,
                pool: pool_id,
                key,
                generation,
                without: names,
                birth,
            });
        }
        let limit = self.settings_of(generation).handshake_timeout;
        self.timers.set(Timer::Template(id), self.now, limit);
        id
    }

    fn enter_template(&mut self, pool: PoolId, generation: u32, phase: Phase) -> TemplateId {
        let id = self.next_template_id();
        self.enter_template_as(id, pool, generation, phase);
        id
    }

    /// Writes a template that has an id into the book.
    pub(super) fn enter_template_as(
        &mut self,
        id: TemplateId,
        pool_id: PoolId,
        generation: u32,
        phase: Phase,
    ) {
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        pool.templates += 1;
        let template = Template {
            pool: pool_id,
            name: pool.spec.name.as_str().into(),
            generation,
            pid: None,
            started: self.now,
            phase,
            modules: Vec::new(),
            without: Vec::new(),
            memory: Memory::default(),
            idle: BTreeSet::new(),
            in_flight: 0,
            forks: super::measures::ForkTimes::default(),
            workers: 0,
            leased: 0,
        };
        self.templates.insert(id, template);
    }

    /// Makes room for one more template, by dropping the one that has been idle the longest.
    pub(super) fn make_room(&mut self) -> Result<(), Refusal> {
        let max = self.settings.templates_max;
        if self.templates.values().filter(|t| !t.is_past()).count() < max {
            return Ok(());
        }
        let idle = self.pools.iter().filter(|(_, pool)| pool.active.is_some());
        let longest = idle.filter_map(|(id, pool)| Some((pool.idle_since?, *id))).min();
        let Some((_, pool_id)) = longest else {
            let message = format!(
                "{max} templates exist, which is the limit, and none is idle; raise `templates_max`"
            );
            return Err(Refusal::System { call: "build a template".into(), message });
        };
        self.drop_template(pool_id);
        self.tidy(pool_id);
        Ok(())
    }

    /// Makes a ready template the one that serves its pool.
    pub(super) fn serve_with(&mut self, pool_id: PoolId, id: TemplateId) {
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        pool.building = None;
        pool.active = Some(id);
        pool.failure = None;
        pool.crashes = 0;
        pool.verdict = true;
        pool.fork_backoff.reset();
        pool.marks.fill();
        let watchers = std::mem::take(&mut pool.watchers);
        self.timers.cancel(Timer::Retry(pool_id));
        for (session, request) in watchers {
            self.strike(session, request);
            self.reply(session, request, Reply::Modules(self.modules_of(pool_id)));
        }
        self.advance(pool_id);
        self.check_settled();
    }

    /// A template that was to serve failed before it was ready.
    pub(super) fn build_failed(&mut self, pool_id: PoolId, id: TemplateId, error: PreloadError) {
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        if is_tolerated(&pool.spec, &pool.excluded, &error) {
            log_excluded(&pool.spec, &error);
            pool.excluded.push(error);
            return self.build(pool_id);
        }
        pool.excluded.clear();
        pool.verdict = true;
        let preloaded = pool.preloaded;
        let fatal = preloaded && pool.spec.on_error == OnPreloadError::Fail;
        if !preloaded {
            self.blame_openers(pool_id, &format!("a template of its requests failed: {error}"));
        }
        self.set_back(pool_id, id, error.clone(), Duration::ZERO);
        if fatal {
            self.start_failed(error);
        }
        self.check_settled();
    }

    /// A template died that served.
    pub(super) fn serving_failed(
        &mut self,
        pool_id: PoolId,
        id: TemplateId,
        lived: Duration,
        error: PreloadError,
    ) {
        let reset = self.settings.backoff_reset;
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        tracing::warn!(template = %id, name = %pool.spec.name, %error, "template died");
        if lived < reset {
            if !pool.preloaded {
                let why = format!("a template of its requests died young: {error}");
                self.blame_openers(pool_id, &why);
            }
            return self.set_back(pool_id, id, error, PATIENCE);
        }
        pool.backoff.reset();
        if pool.is_wanted()
            && let Err(refusal) = self.ensure_template(pool_id)
        {
            self.refuse_all(pool_id, &refusal);
        }
    }

    /// Lets a pool wait before its next template; who waits for it is refused, unless the delay
    /// is within `patience`.
    fn set_back(
        &mut self,
        pool_id: PoolId,
        id: TemplateId,
        error: PreloadError,
        patience: Duration,
    ) {
        let (min, max) = (self.settings.backoff_min, self.settings.backoff_max);
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        let delay = pool.backoff.next(min, max);
        let retry_at = self.now.after(delay).unwrap_or(self.now);
        let patient = delay <= patience;
        let retry_ms = super::report::millis(delay);
        tracing::warn!(name = %pool.spec.name, %error, retry_ms, "template failed");
        let waits = !pool.queue.is_empty() || !pool.watchers.is_empty();
        let by_timer = pool.preloaded || (patient && waits);
        pool.failure = Some(Failure { error, template: id, retry_at, patient });
        if by_timer {
            self.timers.set(Timer::Retry(pool_id), self.now, delay);
        }
        if let Some(refusal) = self.current_failure(pool_id) {
            self.refuse_all(pool_id, &refusal);
        }
    }

    /// Why a request for that pool is refused at once just now.
    pub(super) fn current_failure(&self, pool_id: PoolId) -> Option<Refusal> {
        let failure = self.pools.get(&pool_id)?.failure.as_ref()?;
        if failure.patient || failure.retry_at <= self.now {
            return None;
        }
        let left = failure.retry_at.since(self.now);
        let retry_after_ms = Some(super::report::millis(left).max(1));
        Some(Refusal::TemplateFailed { error: failure.error.clone(), retry_after_ms })
    }

    /// The end of a back-off.
    pub(super) fn retry_due(&mut self, pool_id: PoolId) {
        if !self.pools.get(&pool_id).is_some_and(super::pool::Pool::is_wanted) {
            return;
        }
        if let Err(refusal) = self.ensure_template(pool_id) {
            self.refuse_all(pool_id, &refusal);
        }
        self.tidy(pool_id);
    }

    fn start_failed(&mut self, error: PreloadError) {
        if self.startup == Startup::Loading {
            self.startup = Startup::Done;
            tracing::error!(%error, "a preload failed that must not");
            self.out.push(Action::StartFailed { error });
        }
    }

    /// Tells once that every preloaded pool has had its verdict.
    pub(super) fn check_settled(&mut self) {
        let mut preloaded = self.pools.values().filter(|pool| pool.preloaded);
        if self.startup != Startup::Loading || !preloaded.all(|pool| pool.verdict) {
            return;
        }
        self.startup = Startup::Done;
        let preloaded = self.pools.values().filter(|pool| pool.preloaded);
        let failed: Vec<_> = preloaded
            .flat_map(|pool| pool.excluded.iter().chain(pool.failure.as_ref().map(|f| &f.error)))
            .cloned()
            .collect();
        tracing::info!(failed = failed.len(), "every preload has had its verdict");
        self.out.push(Action::Settled { failed });
    }

    pub(super) fn pool_modules(
        &mut self,
        session: SessionId,
        id: RequestId,
        pool_id: PoolId,
        wait: Duration,
    ) {
        let refusal = if self.stopping() {
            Some(Refusal::ShuttingDown)
        } else if !self.has_opened(session, pool_id) {
            Some(Refusal::UnknownPool)
        } else {
            self.current_failure(pool_id)
        };
        if let Some(refusal) = refusal {
            return self.refuse(session, id, refusal);
        }
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        if pool.active.is_some() {
            return self.reply(session, id, Reply::Modules(self.modules_of(pool_id)));
        }
        if let Err(refusal) = self.may_wait(session) {
            return self.refuse(session, id, refusal);
        }
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.watchers.insert((session, id));
        }
        let waiting = Waiting::Modules { pool: pool_id, since: self.now };
        self.add_waiting(session, id, waiting, Some(wait));
        if let Err(refusal) = self.ensure_template(pool_id) {
            self.refuse_all(pool_id, &refusal);
        }
        self.tidy(pool_id);
    }
}
