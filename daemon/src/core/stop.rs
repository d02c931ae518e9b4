//! Going down: no new clients, workers as the policy says, templates after their workers. Every
//! step has a limit, so that nothing that hangs keeps the daemon.

use super::Core;
use super::action::Action;
use super::event::Origin;
use super::template::{Leave, Phase};
use super::timers::Timer;
use super::workers::{Owner, SIGKILL};
use mpserverd_proto::client::{Reply, StopPolicy};
use mpserverd_proto::death::Cause;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::job::END_IF_IDLE;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The signal that asks a worker to end.
pub(super) const SIGTERM: i32 = 15;

/// What was killed and is not reported after this time does not hold the daemon any longer.
const ABANDON_AFTER: Duration = Duration::from_secs(5);

/// How far the stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Workers may end by themselves.
    Grace,
    /// They were asked to.
    Term,
    /// They were killed.
    Kill,
    /// No worker is left; the templates were asked to exit.
    Templates,
    /// The templates were killed.
    LastTemplates,
    /// Told that nothing is left.
    Finished,
}

/// A stop that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stop {
    pub(super) stage: Stage,
    /// From `SIGTERM` to `SIGKILL`.
    term: Duration,
}

impl Core {
    pub(super) fn stop_asked(&mut self, origin: Origin, policy: StopPolicy, grace: Duration) {
        let Ok(origin) = self.accept(origin) else { return };
        if let Some((session, id)) = origin {
            self.reply(session, id, Reply::Done);
        }
        if self.stopping() {
            tracing::info!("asked to stop again: workers are killed");
            self.kill_everything();
            return self.drain();
        }
        tracing::info!(?policy, ?grace, workers = self.totals.leased, "stopping");
        // With it the loop ends those that wait for a job.
        let workers: Vec<_> = self.workers.keys().copied().collect();
        for worker in workers {
            self.accuse_by_signal(worker, Cause::DaemonStop, END_IF_IDLE);
        }
        self.out.push(Action::StopListening);
        let term = match policy {
            StopPolicy::Wait => self.settings.kill_after,
            StopPolicy::Term | StopPolicy::Kill => grace,
        };
        self.stop = Some(Stop { stage: Stage::Grace, term });
        self.close_down();
        match policy {
            StopPolicy::Wait => self.timers.set(Timer::Stop, self.now, grace),
            StopPolicy::Term => self.term_workers(),
            StopPolicy::Kill => self.kill_workers(),
        }
        self.drain();
    }

    /// Refuses all who wait and takes all templates out of service.
    fn close_down(&mut self) {
        self.roll_back(Refusal::ShuttingDown);
        let pools: Vec<_> = self.pools.keys().copied().collect();
        for pool in pools {
            self.refuse_all(pool, &Refusal::ShuttingDown);
            self.timers.cancel(Timer::Decay(pool));
            self.timers.cancel(Timer::Retry(pool));
        }
        self.blocked.clear();
        self.timers.cancel(Timer::Starts);
        self.pools.values_mut().for_each(|pool| pool.blocked = false);
        let templates: Vec<_> = self.templates.keys().copied().collect();
        for id in templates {
            match self.templates.get(&id).map(|t| &t.phase) {
                Some(Phase::Ready { .. }) => self.depart(id, Leave::Retire),
                Some(Phase::Starting | Phase::Loading { .. }) => self.depart(id, Leave::Stop),
                Some(Phase::Retiring | Phase::Stopping | Phase::Killed) | None => {}
            }
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(stop) = &mut self.stop {
            stop.stage = stage;
        }
    }

    /// Sends a signal because the daemon stops.
    pub(super) fn signal(&mut self, worker: WorkerId, signal: i32) {
        self.accuse_by_signal(worker, Cause::DaemonStop, signal);
        self.out.push(Action::Signal { worker, signal });
    }

    fn term_workers(&mut self) {
        self.set_stage(Stage::Term);
        let term = self.stop.as_ref().map_or(Duration::ZERO, |stop| stop.term);
        self.timers.set(Timer::Stop, self.now, term);
        let workers = self.workers.iter();
        let leased = workers.filter(|(_, worker)| worker.owner != Owner::Nobody);
        let leased: Vec<_> = leased.map(|(id, _)| *id).collect();
        leased.into_iter().for_each(|worker| self.signal(worker, SIGTERM));
    }

    fn kill_workers(&mut self) {
        self.set_stage(Stage::Kill);
        self.timers.set(Timer::Stop, self.now, ABANDON_AFTER);
        let workers: Vec<_> = self.workers.keys().copied().collect();
        workers.into_iter().for_each(|worker| self.signal(worker, SIGKILL));
    }

    fn kill_templates(&mut self) {
        self.set_stage(Stage::LastTemplates);
        self.timers.set(Timer::Stop, self.now, ABANDON_AFTER);
        let templates: Vec<_> = self.templates.keys().copied().collect();
        for id in templates {
            if !matches!(self.templates.get(&id).map(|t| &t.phase), Some(Phase::Killed)) {
                self.depart(id, Leave::Kill);
            }
        }
    }

    /// Asked a second time: nobody is waited for any more.
    fn kill_everything(&mut self) {
        match self.stop.as_ref().map(|stop| stop.stage) {
            Some(Stage::Grace | Stage::Term) => self.kill_workers(),
            Some(Stage::Templates) => self.kill_templates(),
            Some(Stage::Kill | Stage::LastTemplates | Stage::Finished) | None => {}
        }
    }

    /// The present step has had its time.
    pub(super) fn stop_due(&mut self) {
        match self.stop.as_ref().map(|stop| stop.stage) {
            Some(Stage::Grace) => self.term_workers(),
            Some(Stage::Term) => self.kill_workers(),
            Some(Stage::Kill) => self.abandon_workers(),
            Some(Stage::Templates) => self.kill_templates(),
            Some(Stage::LastTemplates) => {
                self.abandon_workers();
                let templates: Vec<_> = self.templates.keys().copied().collect();
                for template in templates {
                    tracing::warn!(%template, "killed template was never reported");
                    self.depart(template, Leave::Gone);
                }
            }
            Some(Stage::Finished) | None => {}
        }
        self.drain();
    }

    fn abandon_workers(&mut self) {
        let workers: Vec<_> = self.workers.keys().copied().collect();
        for id in workers {
            tracing::warn!(worker = %id, "killed worker was never reported");
            if let Some(worker) = self.strike_worker(id) {
                self.see_off(worker.template);
            }
        }
    }

    /// Goes on with a stop as soon as what it waits for is gone.
    pub(super) fn drain(&mut self) {
        let Some(stage) = self.stop.as_ref().map(|stop| stop.stage) else { return };
        if !self.workers.is_empty() {
            return;
        }
        match stage {
            Stage::Finished => {}
            _ if self.templates.is_empty() => {
                self.set_stage(Stage::Finished);
                self.timers.cancel(Timer::Stop);
                tracing::info!("nothing is left");
                self.out.push(Action::Finished);
            }
            Stage::Grace | Stage::Term | Stage::Kill => self.stop_templates(),
            Stage::Templates | Stage::LastTemplates => {}
        }
    }

    fn stop_templates(&mut self) {
        self.set_stage(Stage::Templates);
        self.timers.set(Timer::Stop, self.now, self.settings.kill_after);
        let templates: Vec<_> = self.templates.keys().copied().collect();
        for id in templates {
            match self.templates.get(&id).map(|t| &t.phase) {
                Some(Phase::Retiring) => self.depart(id, Leave::Stop),
                // None of these is left after the stop began, and the others are on their way.
                Some(Phase::Starting | Phase::Loading { .. } | Phase::Ready { .. }) => {}
                Some(Phase::Stopping | Phase::Killed) | None => {}
            }
        }
    }

    /// Nothing is taken up any more.
    pub(super) fn is_finished(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.stage == Stage::Finished)
    }
}
