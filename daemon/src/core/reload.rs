//! Configuration: the first one, and reloads, which build everything anew beside what serves and
//! then switch, or leave all as it was. Files are read by the loop.
//!
//! A new template is proven before anything is switched: it has made its trial fork, and the
//! spares that it will serve the first requests with have come up. So nobody waits for a fork
//! because of a reload. One that cannot fork, or whose spares end by themselves, is a reason not
//! to switch. A pool that comes into being while a reload is under way joins it.

use super::action::Action;
use super::build::{is_tolerated, log_excluded};
use super::event::{Origin, PoolSpec, Time};
use super::lease::FORK_HINT;
use super::sessions::Waiting;
use super::template::{Leave, Phase};
use super::workers::Worker;
use super::{Core, Settings};
use mpserverd_proto::client::{Reloaded, Reply};
use mpserverd_proto::error::{PreloadError, Refusal};
use mpserverd_proto::ids::{PoolId, TemplateId};
use mpserverd_proto::limits::SPARES_PER_ROUND_MAX;
use mpserverd_proto::template::OnPreloadError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far the start of the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Startup {
    /// Not configured yet.
    Fresh,
    /// Preloaded pools are without verdict.
    Loading,
    /// The verdict was told.
    Done,
}

/// A pool's part of a reload.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Candidate {
    template: TemplateId,
    spec: PoolSpec,
    excluded: Vec<PreloadError>,
    ready: bool,
}

/// A pending reload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reload {
    origin: Origin,
    settings: Settings,
    /// Pools that the new configuration preloads.
    preload: BTreeSet<PoolId>,
    /// Modules that serve now; a reload must not lose them.
    loaded: BTreeSet<String>,
    candidates: BTreeMap<PoolId, Candidate>,
    /// Pools that came while it was under way have joined it.
    joined: bool,
    /// When it was begun.
    #[serde(default)]
    since: Time,
}

impl Reload {
    pub(super) fn since(&self) -> Time {
        self.since
    }

    /// New templates that are not ready.
    pub(super) fn not_ready(&self) -> impl Iterator<Item = TemplateId> + '_ {
        self.candidates.values().filter(|candidate| !candidate.ready).map(|it| it.template)
    }
}

impl Core {
    pub(super) fn configured(
        &mut self,
        origin: Origin,
        settings: Settings,
        preload: Vec<PoolSpec>,
    ) {
        let Ok(origin) = self.accept(origin) else {
            if self.reload.is_none() {
                self.out.push(Action::ReloadEnded { switched: false });
            }
            return;
        };
        let refusal = if self.stopping() {
            Some(Refusal::ShuttingDown)
        } else if self.reload.is_some() {
            Some(Refusal::ReloadFailed("a reload is already in progress".into()))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            tracing::warn!(%refusal, "reload refused");
            if self.reload.is_none() {
                self.out.push(Action::ReloadEnded { switched: false });
            }
            if let Some((session, id)) = origin {
                self.refuse(session, id, refusal);
            }
            return;
        }
        match self.startup {
            Startup::Fresh => self.first_configured(origin, settings, preload),
            Startup::Loading | Startup::Done => self.begin_reload(origin, settings, preload),
        }
    }

    /// Who is to be answered; an error if the question itself was refused.
    pub(super) fn accept(&mut self, origin: Origin) -> Result<Origin, ()> {
        let Some((session, id)) = origin else { return Ok(None) };
        match self.sessions.get(&session) {
            None => Ok(None),
            Some(asker) if asker.waiting.contains_key(&id) => {
                let text = format!("request number {id} still waits for its answer");
                self.refuse(session, id, Refusal::BadRequest(text));
                Err(())
            }
            Some(_) => Ok(origin),
        }
    }

    fn first_configured(&mut self, origin: Origin, settings: Settings, preload: Vec<PoolSpec>) {
        self.settings = settings;
        self.generation += 1;
        self.startup = Startup::Loading;
        let mut templates = Vec::new();
        for spec in preload {
            let pool_id = self.pool_for(spec.clone());
            if let Some(pool) = self.pools.get_mut(&pool_id) {
                templates.push(spec.name.clone());
                pool.preloaded = true;
                pool.spec = spec;
            }
            // Preloaded pools are not refused for want of room.
            let _never = self.ensure_template(pool_id);
        }
        self.rebound();
        if let Some((session, id)) = origin {
            let generation = self.generation;
            let reloaded = Reloaded { generation, templates, warnings: Vec::new() };
            self.reply(session, id, Reply::Reloaded(reloaded));
        }
        self.check_settled();
    }

    /// Lets new settings take effect.
    fn rebound(&mut self) {
        self.deaths.bound(self.settings.deaths_kept);
        let pools: Vec<_> = self.pools.keys().copied().collect();
        for pool_id in pools {
            if let Some(pool) = self.pools.get_mut(&pool_id) {
                pool.marks.bound(&self.settings);
            }
            self.restock(pool_id, false);
            self.tidy(pool_id);
        }
        self.unblock();
    }

    fn begin_reload(&mut self, origin: Origin, settings: Settings, preload: Vec<PoolSpec>) {
        tracing::info!(generation = self.generation + 1, "reload begins");
        let loaded = self.loaded_modules();
        let mut specs = BTreeMap::new();
        for spec in preload {
            specs.insert(self.pool_for(spec.clone()), spec);
        }
        let preload = specs.keys().copied().collect();
        for (&id, pool) in &self.pools {
            if pool.active.is_some() && !pool.preloaded && !self.is_users(pool) {
                specs.entry(id).or_insert_with(|| pool.spec.clone());
            }
        }
        if let Some((session, id)) = origin {
            self.add_waiting(session, id, Waiting::Reload, None);
        }
        let (candidates, joined) = (BTreeMap::new(), false);
        // First, because its settings are those that the new templates are measured by.
        let since = self.now;
        let reload = Reload { origin, settings, preload, loaded, candidates, joined, since };
        self.reload = Some(reload);
        for (pool_id, spec) in specs {
            self.add_candidate(pool_id, spec);
        }
        self.commit_if_ready();
    }

    fn add_candidate(&mut self, pool_id: PoolId, spec: PoolSpec) {
        let template = self.start_candidate(pool_id, Vec::new());
        let candidate = Candidate { template, spec, excluded: Vec::new(), ready: false };
        if let Some(reload) = &mut self.reload {
            reload.candidates.insert(pool_id, candidate);
        }
        self.tidy(pool_id);
    }

    /// What a template of a generation is measured by: one that is loaded by a reload, by what
    /// that will bring.
    pub(super) fn settings_of(&self, generation: u32) -> &Settings {
        match &self.reload {
            Some(reload) if generation > self.generation => &reload.settings,
            _ => &self.settings,
        }
    }

    fn start_candidate(&mut self, pool_id: PoolId, without: Vec<PreloadError>) -> TemplateId {
        let template = self.start_template(pool_id, self.generation + 1, without);
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.candidate = Some(template);
        }
        template
    }

    fn loaded_modules(&self) -> BTreeSet<String> {
        let mut loaded = BTreeSet::new();
        for pool in self.pools.values().filter(|pool| !self.is_users(pool)) {
            let Some(template) = pool.active.and_then(|id| self.templates.get(&id)) else {
                continue;
            };
            let reported = template.modules.iter().filter_map(|module| module.error.as_ref());
            let failed: Vec<_> = reported.chain(&template.without).collect();
            let works = |name: &&String| failed.iter().all(|error| error.module != **name);
            loaded.extend(pool.spec.modules.iter().filter(works).cloned());
        }
        loaded
    }

    pub(super) fn candidate_ready(&mut self, pool_id: PoolId, id: TemplateId) {
        let Some(reload) = &mut self.reload else { return };
        let Some(template) = self.templates.get(&id) else { return };
        let errors = template.modules.iter().filter_map(|module| module.error.as_ref());
        if let Some(lost) = errors.into_iter().find(|e| reload.loaded.contains(&e.module)) {
            let text = lost.to_string();
            return self.roll_back(Refusal::ReloadFailed(text));
        }
        let Some(pool) = self.pools.get(&pool_id) else { return };
        let (min, max) = (reload.settings.spares_min, reload.settings.spares_max);
        let target = pool.marks.target().clamp(min, max.max(min));
        let count = u16::try_from(target).unwrap_or(u16::MAX).min(SPARES_PER_ROUND_MAX);
        self.fork(id, count);
        self.candidate_stocked(pool_id, id);
    }

    /// Spares of a new template came up, or are not coming: it is ready when all are settled.
    pub(super) fn candidate_stocked(&mut self, pool_id: PoolId, id: TemplateId) {
        let Some(template) = self.templates.get(&id) else { return };
        // What a template sends unasked, before it is ready, is no proof.
        let settled = matches!(template.phase, Phase::Ready { .. }) && template.in_flight == 0;
        let Some(reload) = self.reload.as_mut().filter(|_| settled) else { return };
        if let Some(candidate) = reload.candidates.get_mut(&pool_id) {
            candidate.ready = true;
        }
        self.commit_if_ready();
    }

    /// A new template could not fork all of its first spares. Some are enough to begin with.
    pub(super) fn candidate_cannot_fork(&mut self, pool_id: PoolId, id: TemplateId, why: &str) {
        let Some(template) = self.templates.get(&id) else { return };
        let is_ready = matches!(template.phase, Phase::Ready { .. });
        if !is_ready || template.in_flight > 0 || !template.idle.is_empty() {
            return self.candidate_stocked(pool_id, id);
        }
        let name = &template.name;
        let text = format!("{name}: its new template cannot fork: {why} ({FORK_HINT})");
        self.roll_back(Refusal::ReloadFailed(text));
    }

    /// A spare of a new template ended before the switch, by itself.
    pub(super) fn candidate_unsound(&mut self, worker: &Worker, code: i32) {
        let name = &worker.template_name;
        let text = format!("{name}: a spare of its new template ended unused, with code {code}");
        self.roll_back(Refusal::ReloadFailed(text));
    }

    pub(super) fn candidate_failed(&mut self, pool_id: PoolId, error: PreloadError) {
        let Some(reload) = &mut self.reload else { return };
        let Some(candidate) = reload.candidates.get_mut(&pool_id) else { return };
        if is_tolerated(&candidate.spec, &candidate.excluded, &error)
            && !reload.loaded.contains(&error.module)
        {
            log_excluded(&candidate.spec, &error);
            candidate.excluded.push(error);
            let without = candidate.excluded.clone();
            let template = self.start_candidate(pool_id, without);
            let candidates = self.reload.as_mut().map(|reload| &mut reload.candidates);
            if let Some(candidate) = candidates.and_then(|all| all.get_mut(&pool_id)) {
                candidate.template = template;
                candidate.ready = false;
            }
            return;
        }
        self.roll_back(Refusal::ReloadFailed(error.to_string()));
    }

    /// Drops a pending reload; everything is as it was.
    pub(super) fn roll_back(&mut self, refusal: Refusal) {
        let Some(reload) = self.reload.take() else { return };
        tracing::warn!(%refusal, "reload failed");
        self.note_reload(reload.since, Some(&refusal.to_string()));
        self.out.push(Action::ReloadEnded { switched: false });
        for (pool_id, candidate) in reload.candidates {
            if self.templates.get(&candidate.template).is_some_and(|t| !t.is_leaving()) {
                self.depart(candidate.template, Leave::Stop);
            }
            self.tidy(pool_id);
        }
        if let Some((session, id)) = reload.origin
            && self.strike_reload(reload.origin)
        {
            self.refuse(session, id, refusal);
        }
    }

    /// True if who asked for the reload still waits for its end.
    fn strike_reload(&mut self, origin: Origin) -> bool {
        let Some((session, id)) = origin else { return false };
        let waiting = self.sessions.get(&session).and_then(|s| s.waiting.get(&id));
        matches!(waiting, Some(Waiting::Reload)) && self.strike(session, id).is_some()
    }

    fn commit_if_ready(&mut self) {
        let is_ready = |reload: &Reload| reload.candidates.values().all(|c| c.ready);
        if !self.reload.as_ref().is_some_and(is_ready) {
            return;
        }
        self.let_latecomers_join();
        let Some(reload) = self.reload.take_if(|reload| is_ready(reload)) else { return };
        self.note_reload(reload.since, None);
        self.generation += 1;
        self.settings = reload.settings;
        for (id, pool) in &mut self.pools {
            pool.preloaded = reload.preload.contains(id);
        }
        let mut reloaded = Reloaded { generation: self.generation, ..Reloaded::default() };
        for (pool_id, candidate) in reload.candidates {
            reloaded.templates.push(candidate.spec.name.clone());
            if candidate.spec.on_error == OnPreloadError::Warn {
                reloaded.warnings.extend(candidate.excluded.iter().map(ToString::to_string));
            }
            self.switch(pool_id, candidate);
        }
        self.begin_again();
        self.renew_users();
        self.rebound();
        tracing::info!(generation = self.generation, "reload done");
        self.out.push(Action::ReloadEnded { switched: true });
        if let Some((session, id)) = reload.origin
            && self.strike_reload(reload.origin)
        {
            self.reply(session, id, Reply::Reloaded(reloaded));
        }
        self.check_settled();
    }

    /// Pools that began to serve while the reload was under way get new templates too, for which
    /// it waits; once, so that no client can put it off for ever.
    fn let_latecomers_join(&mut self) {
        let Some(reload) = &mut self.reload else { return };
        if std::mem::replace(&mut reload.joined, true) {
            return;
        }
        let Some(reload) = &self.reload else { return };
        let late = |(id, pool): &(&PoolId, &super::pool::Pool)| {
            // What is preloaded no more goes on as it is until it is idle.
            pool.active.is_some()
                && !pool.preloaded
                && !self.is_users(pool)
                && !reload.candidates.contains_key(id)
        };
        let late: Vec<_> =
            self.pools.iter().filter(late).map(|(id, pool)| (*id, pool.spec.clone())).collect();
        for (pool_id, spec) in late {
            self.add_candidate(pool_id, spec);
        }
    }

    /// Templates that still load under the configuration that is gone are built again.
    fn begin_again(&mut self) {
        let outdated = |id: &TemplateId| {
            self.templates.get(id).is_some_and(|template| template.generation < self.generation)
        };
        let building = self.pools.iter().filter_map(|(id, pool)| Some((*id, pool.building?)));
        let building: Vec<_> = building.filter(|(_, template)| outdated(template)).collect();
        for (pool_id, template) in building {
            self.depart(template, Leave::Stop);
            if let Err(refusal) = self.ensure_template(pool_id) {
                self.refuse_all(pool_id, &refusal);
            }
            self.tidy(pool_id);
        }
    }

    /// Replaces the templates of users, which no reload waits for: their modules might never be
    /// ready. Who asks meanwhile waits for the next one.
    fn renew_users(&mut self) {
        let users = self.pools.iter().filter(|(_, pool)| self.is_users(pool));
        for pool_id in users.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_template(pool_id);
            if self.pools.get(&pool_id).is_some_and(|pool| pool.openers > 0)
                && let Err(refusal) = self.ensure_template(pool_id)
            {
                self.refuse_all(pool_id, &refusal);
            }
            self.tidy(pool_id);
        }
    }

    /// Puts a new template in the place of the old.
    fn switch(&mut self, pool_id: PoolId, candidate: Candidate) {
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        pool.candidate = None;
        pool.spec = candidate.spec;
        pool.excluded = candidate.excluded;
        pool.backoff.reset();
        let (active, building) = (pool.active, pool.building);
        active.into_iter().for_each(|old| self.depart(old, Leave::Retire));
        building.into_iter().for_each(|old| self.depart(old, Leave::Stop));
        if let Some(Phase::Ready { .. }) = self.templates.get(&candidate.template).map(|t| &t.phase)
        {
            self.serve_with(pool_id, candidate.template);
        }
    }
}
