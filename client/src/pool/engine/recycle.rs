//! Workers that have served long enough: another one is started, then they end with what they
//! have. Nothing is lost by it, and nothing waits for it but at a count of a few tasks.

use super::Engine;
use super::state::{Slot, State};
use super::worker::Phase;
use std::time::{Duration, Instant};

/// How often the memory of workers is looked at, where it is limited.
const MEMORY_PERIOD: Duration = Duration::from_millis(100);
/// How long a worker that was told to end may take: exit handlers, its own children.
pub(super) const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Orders successors for workers that are too old or too large.
    pub(super) fn recycle(&self, state: &mut State, now: Instant) {
        if let Some(age) = self.settings.max_age {
            for number in state.numbers() {
                let Some(worker) = state.worker(number) else { continue };
                let Some(at) = worker.started.checked_add(age) else { continue };
                if at <= now && worker.phase != Phase::Starting {
                    worker.has_successor = true;
                    worker.is_due = true;
                } else if at > now {
                    state.look_at(at);
                }
            }
        }
        if let Some(limit) = self.settings.max_private_memory {
            state.weigh(limit);
            state.look_at(now + MEMORY_PERIOD);
        }
    }
}

impl State {
    /// Looks at the memory of workers that have done something since the last look.
    fn weigh(&mut self, limit: u64) {
        for (_, worker) in self.workers() {
            if worker.done == worker.done_when_measured || worker.is_due {
                continue;
            }
            worker.done_when_measured = worker.done;
            worker.private_bytes = private_bytes(worker.process.pid()).unwrap_or(0);
            if worker.private_bytes > limit {
                worker.has_successor = true;
                worker.is_due = true;
            }
        }
    }

    /// A worker that has given its last answer ends; one that is ready takes its place.
    pub(super) fn retire(&mut self, number: usize, now: Instant) {
        self.seated.retain(|seated| *seated != number);
        if let Some(Slot::Live(worker)) = self.slots.get_mut(number) {
            worker.leave(now + LEAVE_PATIENCE);
            self.attention = true;
        }
        self.promote(now);
    }
}

/// Memory that a process shares with nobody, in bytes (`proc_pid_smaps(5)`).
pub(super) fn private_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(private_kib(&text) << 10)
}

fn private_kib(rollup: &str) -> u64 {
    let private =
        |line: &&str| line.starts_with("Private_Clean") || line.starts_with("Private_Dirty");
    let kib = |line: &str| line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    rollup.lines().filter(private).filter_map(kib).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_memory_counts() {
        let text = "55d0-7ffe ---p [rollup]\nRss:  900 kB\nShared_Clean: 5 kB\n\
                    Private_Clean:   16 kB\nPrivate_Dirty: 100 kB\nPrivate_Hugetlb: 7 kB\n";
        assert_eq!(private_kib(text), 116);
        assert!(private_bytes(std::process::id()).is_some_and(|bytes| bytes > 0));
    }
}
