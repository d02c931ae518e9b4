//! When to look at a worker whose task runs long. What is seen then is the loop's to say.
//!
//! Each worker is reported once. One that has no task just then, or another one than before, is
//! looked at again later.

use super::Core;
use super::action::Action;
use super::timers::Timer;
use super::workers::Owner;
use mpserverd_proto::ids::WorkerId;
use std::time::Duration;

impl Core {
    /// A worker was handed over.
    pub(super) fn watch_for_slowness(&mut self, worker: WorkerId) {
        if let Some(after) = self.settings.slow_log {
            self.timers.set(Timer::Slow(worker), self.now, after);
        }
    }

    pub(super) fn slow_due(&mut self, worker: WorkerId) {
        let Some(after) = self.settings.slow_log else { return };
        if let Some(since) = self.workers.get(&worker).map(|worker| worker.since) {
            let leased = self.now.since(since);
            if leased < after {
                // The time was changed meanwhile.
                return self.timers.set(Timer::Slow(worker), self.now, after - leased);
            }
            self.out.push(Action::LookAtSlow { worker, after, leased });
        }
    }

    /// It is not slow yet.
    pub(super) fn not_slow(&mut self, worker: WorkerId, again: Duration) {
        let owner = self.workers.get(&worker).map(|worker| worker.owner);
        if matches!(owner, Some(Owner::Client { .. })) && self.settings.slow_log.is_some() {
            self.timers.set(Timer::Slow(worker), self.now, again);
        }
    }
}
