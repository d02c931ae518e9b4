//! Tasks that run too long: asked to stop, then killed with their worker.

use super::call::Fate;
use super::state::State;
use super::worker::{Phase, Stopping};
use crate::sys::clock::monotonic_nanos;
use std::time::{Duration, Instant};

/// Workers read the clock once a tick of the kernel at worst, so an item may seem to have begun so
/// much earlier than it did.
const TICK: Duration = Duration::from_millis(10);

/// Deadlines are looked at no more often.
const LOOK_LEAST: Duration = Duration::from_millis(1);

impl State {
    /// Enforces deadlines and ends graces.
    pub(super) fn enforce_deadlines(&mut self, grace: Duration, now: Instant) {
        for number in self.numbers() {
            if let Some(at) = self.enforce(number, grace, now) {
                self.look_at(at);
            }
        }
    }

    /// The same for one worker; gives when it must be looked at next.
    fn enforce(&mut self, number: usize, grace: Duration, now: Instant) -> Option<Instant> {
        let worker = self.worker(number)?;
        if worker.dead_since.is_some() || worker.is_killed {
            return None;
        }
        if let Phase::Leaving { kill_at } = worker.phase {
            if kill_at > now {
                return Some(kill_at);
            }
            worker.kill();
            return None;
        }
        if let Some(stopping) = &worker.stopping {
            if stopping.kill_at > now {
                return Some(stopping.kill_at);
            }
            // It may have answered in this moment.
            self.hear(number, now);
            let worker = self.worker(number)?;
            if worker.stopping.is_some() {
                worker.kill();
            }
            return None;
        }
        let soonest = worker.sent.iter().filter_map(|sent| sent.call.deadline).min()?;
        let later = now.checked_add(soonest.max(LOOK_LEAST));
        let front = worker.sent.front()?;
        let Some(limit) = front.call.deadline else { return later };
        let frame = front.frame;
        let progress = worker.channel.progress();
        if !progress.running || progress.frame != frame || progress.item < front.answered {
            // It has yet to begin, or to be heard.
            return later;
        }
        let ran = Duration::from_nanos(monotonic_nanos().saturating_sub(progress.since_ns));
        let allowed = limit.saturating_add(TICK);
        if ran < allowed {
            return now.checked_add(allowed - ran);
        }
        worker.channel.ask_to_stop(frame);
        let kill_at = now + grace;
        let why = Fate::Deadline(limit);
        worker.stopping = Some(Stopping { frame, item: Some(progress.item), why, kill_at });
        self.recall(number, 0);
        self.dispatch(now);
        Some(kill_at)
    }
}
