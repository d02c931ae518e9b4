//! The life of a template process: started, hello, loading, ready, and the ways to leave.
//! What its end means for the pool is decided in `build.rs` and `reload.rs`.

use super::Core;
use super::action::Action;
use super::event::Time;
use super::measures::ForkTimes;
use super::timers::Timer;
use mpserverd_proto::death::Cause;
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use mpserverd_proto::ids::{PoolId, TemplateId, WorkerId};
use mpserverd_proto::job::AHEAD;
use mpserverd_proto::template::{Memory, ModuleReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Where a template is in its life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Started (or about to be), has not said hello.
    Starting,
    /// Loads modules; the one that it named last.
    Loading { at: Option<(String, Stage)> },
    /// Forks on request.
    Ready { since: Time },
    /// Told to fork no more; exits after its last worker.
    Retiring,
    /// Told to stop, or said that it failed: exits next.
    Stopping,
    /// Killed.
    Killed,
}

/// How a template is taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may wait for its workers.
    Retire,
    /// It shall end its workers and exit.
    Stop,
    /// It exits by itself.
    Exiting,
    /// It is killed.
    Kill,
    /// It is gone.
    Gone,
}

/// What a template is to its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Active,
    Building,
    Candidate,
    /// Out of service.
    Leaving,
}

/// A template process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Template {
    pub(super) pool: PoolId,
    #[serde(with = "super::state::shared_text")]
    pub(super) name: Arc<str>,
    pub(super) generation: u32,
    pub(super) pid: Option<u32>,
    pub(super) started: Time,
    pub(super) phase: Phase,
    pub(super) modules: Vec<ModuleReport>,
    /// Modules that it was built without, and why.
    pub(super) without: Vec<PreloadError>,
    pub(super) memory: Memory,
    /// Parked spares; the oldest goes first.
    pub(super) idle: BTreeSet<WorkerId>,
    /// Spares asked for that did not come yet.
    pub(super) in_flight: u32,
    pub(super) forks: ForkTimes,
    /// Workers of it in the book, spares included.
    pub(super) workers: u32,
    /// Of them, those that clients have.
    pub(super) leased: u32,
}

impl Template {
    /// It is out of service for good.
    pub(super) fn is_leaving(&self) -> bool {
        match self.phase {
            Phase::Starting | Phase::Loading { .. } | Phase::Ready { .. } => false,
            Phase::Retiring | Phase::Stopping | Phase::Killed => true,
        }
    }

    /// It is on its way out and nobody needs it any more.
    pub(super) fn is_past(&self) -> bool {
        self.is_leaving() && self.workers == 0
    }
}

impl Core {
    pub(super) fn template_started(&mut self, id: TemplateId, pid: u32) {
        match self.templates.get_mut(&id) {
            Some(template) => template.pid = Some(pid),
            None => tracing::debug!(template = %id, pid, "start of an unknown template"),
        }
    }

    pub(super) fn template_not_started(&mut self, id: TemplateId, error: PreloadError) {
        self.template_down(id, Leave::Gone, error);
    }

    pub(super) fn template_hello(&mut self, id: TemplateId) {
        let Some(template) = self.templates.get_mut(&id) else {
            return tracing::debug!(template = %id, "hello of an unknown template");
        };
        match template.phase {
            Phase::Starting => {
                template.phase = Phase::Loading { at: None };
                let generation = template.generation;
                let limit = self.settings_of(generation).preload_timeout;
                self.timers.set(Timer::Template(id), self.now, limit);
            }
            Phase::Loading { .. } | Phase::Ready { .. } => {
                tracing::debug!(template = %id, "another hello");
            }
            Phase::Retiring | Phase::Stopping | Phase::Killed => {}
        }
    }

    pub(super) fn template_loading(&mut self, id: TemplateId, module: String, stage: Stage) {
        self.template_hello_if_starting(id);
        if let Some(Phase::Loading { at }) = self.templates.get_mut(&id).map(|t| &mut t.phase) {
            *at = Some((module, stage));
        }
    }

    fn template_hello_if_starting(&mut self, id: TemplateId) {
        if matches!(self.templates.get(&id).map(|t| &t.phase), Some(Phase::Starting)) {
            self.template_hello(id);
        }
    }

    pub(super) fn template_ready(
        &mut self,
        id: TemplateId,
        modules: Vec<ModuleReport>,
        memory: Memory,
    ) {
        let Some(template) = self.templates.get_mut(&id) else {
            return tracing::debug!(template = %id, "unknown template is ready");
        };
        match template.phase {
            Phase::Starting | Phase::Loading { .. } => {}
            Phase::Ready { .. } | Phase::Retiring | Phase::Stopping | Phase::Killed => {
                return tracing::debug!(template = %id, "ready, but not awaited");
            }
        }
        template.phase = Phase::Ready { since: self.now };
        template.modules = modules;
        template.memory = memory;
        let took_ms = super::report::millis(self.now.since(template.started));
        tracing::info!(template = %id, name = %template.name, took_ms, "template ready");
        let (pool, started) = (template.pool, template.started);
        self.note_load(started);
        self.timers.cancel(Timer::Template(id));
        match self.role(id) {
            Role::Building => self.serve_with(pool, id),
            Role::Candidate => self.candidate_ready(pool, id),
            // A template that loads has one of these two roles.
            Role::Active | Role::Leaving => {}
        }
    }

    pub(super) fn template_memory(&mut self, id: TemplateId, memory: Memory) {
        if let Some(template) = self.templates.get_mut(&id) {
            template.memory = memory;
        }
    }

    pub(super) fn template_failed(&mut self, id: TemplateId, error: PreloadError) {
        self.template_down(id, Leave::Exiting, error);
    }

    pub(super) fn template_gone(&mut self, id: TemplateId, code: Option<i32>) {
        let Some(template) = self.templates.get(&id) else {
            return tracing::debug!(template = %id, "end of an unknown template");
        };
        let fault = match (&template.phase, code) {
            (Phase::Starting, Some(0..)) => Fault::NoFreezeSupport,
            (_, Some(code @ 0..)) => Fault::Exited(code),
            (_, Some(signal)) => Fault::Killed(signal.saturating_neg()),
            (_, None) => Fault::Protocol("the template hung up".into()),
        };
        let error = self.blame(id, fault);
        self.template_down(id, Leave::Gone, error);
    }

    /// Blames what a template worked on last.
    fn blame(&self, id: TemplateId, fault: Fault) -> PreloadError {
        let Some(template) = self.templates.get(&id) else {
            return PreloadError { module: id.to_string(), stage: Stage::Exec, fault };
        };
        let own = |stage| (template.name.to_string(), stage);
        let (module, stage) = match &template.phase {
            Phase::Starting => own(Stage::Handshake),
            Phase::Loading { at } => at.clone().unwrap_or_else(|| own(Stage::Load)),
            Phase::Ready { .. } | Phase::Retiring | Phase::Stopping | Phase::Killed => {
                own(Stage::Serving)
            }
        };
        PreloadError { module, stage, fault }
    }

    /// The deadline of the present phase.
    pub(super) fn template_expired(&mut self, id: TemplateId) {
        let Some(template) = self.templates.get(&id) else { return };
        let fault = match template.phase {
            Phase::Starting => Fault::NoFreezeSupport,
            Phase::Loading { .. } => {
                let limit = self.settings_of(template.generation).preload_timeout;
                let limit_ms = super::report::millis(limit);
                Fault::TimedOut { limit_ms }
            }
            Phase::Ready { .. } | Phase::Killed => return,
            Phase::Retiring | Phase::Stopping => {
                tracing::warn!(template = %id, "template does not exit, it is killed");
                return self.depart(id, Leave::Kill);
            }
        };
        let error = self.blame(id, fault);
        self.template_down(id, Leave::Kill, error);
    }

    /// A template answered a request to fork: it has the full time for the rest.
    pub(super) fn fork_progress(&mut self, id: TemplateId) {
        let Some(template) = self.templates.get(&id) else { return };
        let limit = self.settings_of(template.generation).handshake_timeout;
        match template.in_flight {
            0 => self.timers.cancel(Timer::Fork(id)),
            _ => self.timers.set(Timer::Fork(id), self.now, limit),
        }
    }

    /// A template did not answer a request to fork.
    pub(super) fn fork_expired(&mut self, id: TemplateId) {
        let generation = self.templates.get(&id).map_or(0, |template| template.generation);
        let limit = self.settings_of(generation).handshake_timeout;
        let limit_ms = super::report::millis(limit);
        let text = format!("no answer to a request to fork within {limit_ms} ms");
        let error = self.blame(id, Fault::CanaryFailed(text));
        self.template_down(id, Leave::Kill, error);
    }

    /// What a template is to its pool.
    pub(super) fn role(&self, id: TemplateId) -> Role {
        let pool = self.templates.get(&id).and_then(|t| self.pools.get(&t.pool));
        let Some(pool) = pool else { return Role::Leaving };
        if pool.active == Some(id) {
            Role::Active
        } else if pool.building == Some(id) {
            Role::Building
        } else if pool.candidate == Some(id) {
            Role::Candidate
        } else {
            Role::Leaving
        }
    }

    /// Takes a failed template out of service; then its pool sees what to do about it.
    pub(super) fn template_down(&mut self, id: TemplateId, leave: Leave, error: PreloadError) {
        let Some(template) = self.templates.get(&id) else {
            return tracing::debug!(template = %id, %error, "failure of an unknown template");
        };
        let (pool, role) = (template.pool, self.role(id));
        let lived = match template.phase {
            Phase::Ready { since } => self.now.since(since),
            Phase::Starting | Phase::Loading { .. } => Duration::ZERO,
            Phase::Retiring | Phase::Stopping | Phase::Killed => Duration::ZERO,
        };
        if let Some(counts) = self.counts_of(pool).filter(|_| role != Role::Leaving) {
            counts.failures += 1;
        }
        self.depart(id, leave);
        match role {
            Role::Active => self.serving_failed(pool, id, lived, error),
            Role::Building => self.build_failed(pool, id, error),
            Role::Candidate => self.candidate_failed(pool, error),
            Role::Leaving => {}
        }
        self.tidy(pool);
        self.drain();
    }

    /// Takes a template out of service: no role, no spares, told to leave as `leave` says.
    pub(super) fn depart(&mut self, id: TemplateId, leave: Leave) {
        let Some(template) = self.templates.get_mut(&id) else { return };
        template.in_flight = 0;
        template.forks.clear();
        let (pool_id, idle) = (template.pool, template.idle.clone());
        idle.into_iter().for_each(|spare| self.release(spare));
        self.timers.cancel(Timer::Fork(id));
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            for role in [&mut pool.active, &mut pool.building, &mut pool.candidate] {
                role.take_if(|holder| *holder == id);
            }
            if pool.active.is_none() {
                self.timers.cancel(Timer::Refill(pool_id));
                self.timers.cancel(Timer::ForkRetry(pool_id));
            }
        }
        match leave {
            Leave::Retire => {
                // Before a stop all are called off.
                if !self.stopping() {
                    self.timers.set(Timer::Leases(id), self.now, 2 * AHEAD);
                }
                self.leave(id, Phase::Retiring, Some(Action::Retire { template: id }))
            }
            Leave::Stop => {
                // It kills those that it still has.
                let of = self.workers.iter().filter(|(_, worker)| worker.template == id);
                let of: Vec<_> = of.map(|(worker, _)| *worker).collect();
                of.into_iter().for_each(|worker| self.accuse(worker, Cause::DaemonStop));
                self.leave(id, Phase::Stopping, Some(Action::StopTemplate { template: id }));
            }
            Leave::Exiting => self.leave(id, Phase::Stopping, None),
            Leave::Kill => {
                self.leave(id, Phase::Killed, Some(Action::KillTemplate { template: id }))
            }
            Leave::Gone => self.remove_template(id),
        }
        if self.pools.get(&pool_id).is_none_or(|pool| pool.active.is_none()) {
            self.probe_lost(pool_id);
        }
    }

    fn leave(&mut self, id: TemplateId, phase: Phase, action: Option<Action>) {
        self.timers.cancel(Timer::Template(id));
        if let Some(template) = self.templates.get_mut(&id) {
            template.phase = phase;
        }
        self.out.extend(action);
        self.see_off(id);
    }

    /// Sets a limit to the exit of a template that has nothing more to wait for.
    pub(super) fn see_off(&mut self, id: TemplateId) {
        let Some(template) = self.templates.get(&id) else { return };
        let exits = match template.phase {
            Phase::Stopping => true,
            Phase::Retiring => template.workers == 0,
            Phase::Starting | Phase::Loading { .. } | Phase::Ready { .. } | Phase::Killed => false,
        };
        if exits && !self.timers.is_set(Timer::Template(id)) {
            self.timers.set(Timer::Template(id), self.now, self.settings.kill_after);
        }
    }

    fn remove_template(&mut self, id: TemplateId) {
        self.timers.cancel(Timer::Template(id));
        self.timers.cancel(Timer::Leases(id));
        let Some(template) = self.templates.remove(&id) else { return };
        if let Some(pool) = self.pools.get_mut(&template.pool) {
            pool.templates -= 1;
        }
    }
}
