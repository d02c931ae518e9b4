//! What a pool tells about itself.

use super::Engine;
use super::recycle::private_bytes;
use super::worker::{LOAD_MOST, Phase, Worker};
use crate::pool::status::{PoolStatus, WorkerState, WorkerStatus};

impl Engine {
    /// How it is now.
    pub(crate) fn status(&self) -> PoolStatus {
        let mut state = self.lock();
        let workers = state.workers().map(|(_, worker)| status_of(worker)).collect::<Vec<_>>();
        let running = workers.iter().filter(|worker| worker.state == WorkerState::Busy).count();
        let pending = state.pending.iter().map(|chunk| u64::from(chunk.count)).sum::<u64>();
        let at_hand = state
            .workers()
            .flat_map(|(_, worker)| worker.sent.iter())
            .map(|sent| u64::from(sent.left()))
            .sum::<u64>();
        let totals = state.totals;
        drop(state);
        let mut status = PoolStatus {
            workers,
            pending: pending + at_hand.saturating_sub(running as u64),
            running: running as u64,
            done: totals.done,
            lost: totals.lost,
            retried: totals.retried,
            workers_started: totals.workers_started,
            workers_lost: totals.workers_lost,
            workers_retired: totals.workers_retired,
            callback_panics: self.callbacks.panics(),
        };
        // The kernel takes its time for that; nobody waits for it.
        for worker in &mut status.workers {
            worker.private_memory = private_bytes(worker.pid);
        }
        status
    }

    /// How many items that take so long should be at hand, in all, so that no worker ever waits;
    /// chunks have so many items.
    pub(crate) fn window(&self, average: Option<u64>, chunk: u64) -> u64 {
        let each = match average {
            Some(average) => (2 * LOAD_MOST / average.max(1)).clamp(1, 1 << 16),
            None => 1,
        };
        (each + 2 * chunk) * self.settings.processes as u64
    }

    /// How long such a task takes, nanoseconds; `None` before the first answer.
    pub(crate) fn average(&self, task: u32) -> Option<u64> {
        self.lock().average(task)
    }
}

fn status_of(worker: &Worker) -> WorkerStatus {
    WorkerStatus {
        name: worker.name.clone(),
        pid: worker.process.pid(),
        state: match worker.phase {
            _ if worker.dead_since.is_some() => WorkerState::Ended,
            Phase::Starting => WorkerState::Starting,
            Phase::Standby => WorkerState::Idle,
            Phase::Working if worker.sent.is_empty() => WorkerState::Idle,
            Phase::Working => WorkerState::Busy,
            Phase::Leaving { .. } => WorkerState::Leaving,
        },
        tasks_done: worker.done,
        age: worker.started.elapsed(),
        private_memory: None,
    }
}
