//! `status` and `modules`. Every number of `status` is a counter; nothing here walks a
//! queue. Reports are cut so that they fit a frame.

use super::Core;
use super::pool::{Failure, Pool};
use super::sight::Sight;
use super::template::{Phase, Role, Template};
use mpserverd_proto::error::PreloadError;
use mpserverd_proto::ids::{PoolId, TemplateId};
use mpserverd_proto::limits::FRAME_BYTES_MAX;
use mpserverd_proto::report::{
    ModulesReport, StatusReport, TemplateModules, TemplateRow, TemplateState,
};
use mpserverd_proto::template::{Memory, ModuleReport};
use mpserverd_proto::text::beginning;
use std::time::Duration;

/// Bytes that rows may take: a frame, less what stands around them.
pub(super) const REPORT_BYTES_MAX: usize = FRAME_BYTES_MAX - 4096;

/// Bytes of a part without its texts; an upper bound, whatever the encoding.
pub(super) const ROW_BYTES: usize = 128;

/// Bytes of an error in a row of `status`.
const ERROR_BYTES_MAX: usize = 1024;

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn state_of(phase: &Phase) -> TemplateState {
    match phase {
        Phase::Starting | Phase::Loading { .. } => TemplateState::Loading,
        Phase::Ready { .. } => TemplateState::Ready,
        Phase::Retiring | Phase::Stopping | Phase::Killed => TemplateState::Retiring,
    }
}

/// A row for a module that is not there.
fn missing_module(error: &PreloadError) -> ModuleReport {
    ModuleReport {
        name: error.module.clone(),
        title: String::new(),
        version: String::new(),
        path: String::new(),
        tasks: Vec::new(),
        load_us: 0,
        added_kib: 0,
        error: Some(error.clone()),
    }
}

/// Modules that are there, then those that were left out and are not told by the template.
fn all_modules(template: &Template) -> Vec<ModuleReport> {
    let told = |error: &&PreloadError| {
        template.modules.iter().all(|module| module.name != error.module || module.error.is_none())
    };
    let missing = template.without.iter().filter(told).map(missing_module);
    template.modules.iter().cloned().chain(missing).collect()
}

fn error_text(error: &PreloadError) -> String {
    beginning(&error.to_string(), ERROR_BYTES_MAX).to_owned()
}

/// Bytes that a module's row takes at most, without its tasks.
fn module_bytes(module: &ModuleReport) -> usize {
    let error = module.error.as_ref().map_or(0, |error| ROW_BYTES + 2 * error.to_string().len());
    ROW_BYTES
        + module.name.len()
        + module.title.len()
        + module.version.len()
        + module.path.len()
        + error
}

fn task_bytes(module: &ModuleReport) -> usize {
    let tasks = module.tasks.iter();
    tasks.map(|task| ROW_BYTES + task.name.len() + task.signature.len() + task.doc.len()).sum()
}

/// Cuts what does not fit a frame: tasks before modules, the last ones first.
fn cut(report: &mut ModulesReport) {
    let mut left = REPORT_BYTES_MAX;
    let mut fits = |bytes: usize| {
        let fits = bytes <= left;
        left -= if fits { bytes } else { 0 };
        fits
    };
    report.templates.retain(|template| fits(ROW_BYTES + template.name.len()));
    for template in &mut report.templates {
        template.modules.retain(|module| fits(module_bytes(module)));
    }
    for module in report.templates.iter_mut().flat_map(|template| &mut template.modules) {
        if !fits(task_bytes(module)) {
            module.tasks.clear();
        }
    }
}

impl Core {
    pub(super) fn status_report(&self, sight: Sight) -> StatusReport {
        let seen = self.templates.iter().filter(|(_, template)| self.sees(sight, template));
        let rows = seen.map(|(&id, template)| self.template_row(id, template));
        let pools = self.pools.values().filter(|pool| sight.has_pool(pool));
        let failed = pools.filter_map(|pool| Some((pool, pool.failure.as_ref()?)));
        StatusReport {
            version: self.identity.version.clone(),
            pid: self.identity.pid,
            uptime_ms: millis(self.now.since(self.identity.started)),
            socket: self.identity.socket.clone(),
            generation: self.generation,
            stopping: self.stopping(),
            clients: self.sessions.len() as u64,
            workers: self.leased_in(sight),
            workers_max: self.settings.workers_max,
            queued: self.totals.queued as u64,
            starts: self.totals.starts,
            spare_hits: self.totals.spare_hits,
            ends: self.totals.ends,
            refused: self.totals.refused,
            templates: rows.chain(failed.map(|(pool, why)| self.failed_row(pool, why))).collect(),
            penalties: self.penalties(sight),
            reload: self.reloads(sight),
            upgrade: self.upgrades(sight),
            generations: self.generations(sight),
            held: self.held_limits(),
            quotas: self.quotas(sight),
        }
    }

    pub(super) fn sees(&self, sight: Sight, template: &Template) -> bool {
        self.pools.get(&template.pool).is_some_and(|pool| sight.has_pool(pool))
    }

    pub(super) fn template_row(&self, id: TemplateId, template: &Template) -> TemplateRow {
        let mut row = TemplateRow {
            template: id,
            name: template.name.to_string(),
            state: state_of(&template.phase),
            pid: template.pid,
            generation: template.generation,
            spares: u32::try_from(template.idle.len()).unwrap_or(u32::MAX),
            spares_wanted: 0,
            workers: template.leased,
            queued: 0,
            starts: 0,
            spare_hits: 0,
            memory: template.memory,
            age_ms: millis(self.now.since(template.started)),
            error: None,
        };
        let Some(pool) = self.pools.get(&template.pool) else { return row };
        match self.role(id) {
            Role::Active | Role::Building => {
                row.spares_wanted = pool.marks.target();
                row.queued = pool.queue.len() as u64;
                row.starts = pool.starts;
                row.spare_hits = pool.spare_hits;
            }
            Role::Candidate | Role::Leaving => {}
        }
        row
    }

    pub(super) fn failed_row(&self, pool: &Pool, failure: &Failure) -> TemplateRow {
        TemplateRow {
            template: failure.template,
            name: pool.spec.name.clone(),
            state: TemplateState::Failed,
            pid: None,
            generation: self.generation,
            spares: 0,
            spares_wanted: 0,
            workers: 0,
            queued: pool.queue.len() as u64,
            starts: pool.starts,
            spare_hits: pool.spare_hits,
            memory: Memory::default(),
            age_ms: 0,
            error: Some(error_text(&failure.error)),
        }
    }

    pub(super) fn modules_report(&self, sight: Sight) -> ModulesReport {
        let seen = self.templates.iter().filter(|(_, template)| self.sees(sight, template));
        let ready = seen.map(|(&template, entry)| TemplateModules {
            template,
            name: entry.name.to_string(),
            state: state_of(&entry.phase),
            modules: all_modules(entry),
        });
        let pools = self.pools.values().filter(|pool| sight.has_pool(pool));
        let failed = pools.filter_map(|pool| {
            let failure = pool.failure.as_ref()?;
            Some(TemplateModules {
                template: failure.template,
                name: pool.spec.name.clone(),
                state: TemplateState::Failed,
                modules: vec![missing_module(&failure.error)],
            })
        });
        let mut report = ModulesReport { templates: ready.chain(failed).collect() };
        cut(&mut report);
        report
    }

    /// Modules of the template that serves a pool.
    pub(super) fn modules_of(&self, pool: PoolId) -> ModulesReport {
        let active = self.pools.get(&pool).and_then(|pool| pool.active);
        let entry = active.and_then(|id| Some((id, self.templates.get(&id)?)));
        let row = entry.map(|(template, entry)| TemplateModules {
            template,
            name: entry.name.to_string(),
            state: state_of(&entry.phase),
            modules: all_modules(entry),
        });
        let mut report = ModulesReport { templates: row.into_iter().collect() };
        cut(&mut report);
        report
    }
}
