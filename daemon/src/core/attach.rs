//! Templates and workers of an earlier daemon, which attach themselves to this one. That they may
//! the loop has checked.

use super::Core;
use super::event::PoolSpec;
use super::stop::Stage;
use super::template::{Leave, Phase};
use super::workers::Owner;
use mpserverd_proto::ids::{TemplateId, WorkerId};
use mpserverd_proto::template::{Lessee, Memory, ModuleReport};

/// Ids of workers above this are not believed: the next ones would not fit any more.
const ID_MAX: u64 = u64::MAX / 2;
/// Nor generations above this: there is room for as many reloads as anybody asks for.
const GENERATION_MAX: u32 = u32::MAX / 4;

/// What a template that attaches itself says.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) generation: u32,
    pub(super) pid: u32,
    pub(super) modules: Vec<ModuleReport>,
    pub(super) memory: Memory,
    pub(super) retiring: bool,
}

impl Core {
    pub(super) fn template_attached(&mut self, id: TemplateId, spec: PoolSpec, attached: Attached) {
        let Attached { generation, pid, modules, memory, retiring } = attached;
        if !self.promised.remove(&id) || self.is_finished() {
            return tracing::debug!(template = %id, "template cannot be attached");
        }
        let pool_id = self.pool_for(spec);
        // Generations go on where the earlier daemon was.
        let generation = generation.min(GENERATION_MAX);
        self.generation = self.generation.max(generation);
        self.enter_template_as(id, pool_id, generation, Phase::Ready { since: self.now });
        let errors: Vec<_> = modules.iter().filter_map(|module| module.error.clone()).collect();
        if let Some(template) = self.templates.get_mut(&id) {
            template.pid = Some(pid);
            template.modules = modules;
            template.memory = memory;
        }
        let Some(pool) = self.pools.get_mut(&pool_id) else { return };
        tracing::info!(template = %id, name = %pool.spec.name, pid, "template attached");
        if self.stop.is_some() || retiring || pool.active.is_some() {
            self.depart(id, Leave::Retire);
        } else {
            pool.excluded = errors;
            if let Some(loading) = pool.building {
                self.depart(loading, Leave::Stop);
            }
            self.serve_with(pool_id, id);
        }
        self.tidy(pool_id);
    }

    /// Who has the workers of an attached template. What the book knows already it knows better.
    pub(super) fn lessees_known(&mut self, template: TemplateId, lessees: &[Lessee]) {
        for lessee in lessees {
            let worker = self.workers.get_mut(&lessee.worker);
            let Some(worker) = worker.filter(|worker| worker.template == template) else {
                continue;
            };
            if worker.pid == lessee.pid && worker.owner == (Owner::Client { pid: None }) {
                worker.owner = Owner::Client { pid: Some(lessee.client_pid) };
                worker.client_uid = Some(lessee.client_uid);
            }
        }
    }

    /// A worker of an attached template: some client has it; which, is told later if at all.
    pub(super) fn worker_adopted(&mut self, template: TemplateId, worker: WorkerId, pid: u32) {
        let known = self.workers.contains_key(&worker) || worker.0 > ID_MAX;
        let Some(entry) = self.templates.get_mut(&template).filter(|_| !known) else {
            return tracing::debug!(%template, %worker, "worker cannot be adopted");
        };
        self.next.worker = self.next.worker.max(worker.0 + 1);
        entry.leased += 1;
        let pool_id = entry.pool;
        self.enter(template, worker, pid, Owner::Client { pid: None });
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.leased += 1;
        }
        self.totals.leased += 1;
        self.limit_adopted(worker);
        match self.stop.as_ref().map(|stop| stop.stage) {
            None | Some(Stage::Grace | Stage::Finished) => {}
            Some(Stage::Term) => self.signal(worker, super::stop::SIGTERM),
            Some(Stage::Kill | Stage::Templates | Stage::LastTemplates) => {
                self.signal(worker, super::workers::SIGKILL);
            }
        }
        self.tidy(pool_id);
    }
}
