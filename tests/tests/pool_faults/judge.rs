//! Whether an outcome can be, by the log of what really happened.

use crate::log::{ATTEMPTS, Log};
use crate::work::{Deed, Work, result_of};
use mp::TaskFailure;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Takes outcomes of any thread, and says at the end whether they can be.
#[derive(Debug)]
pub(crate) struct Judge {
    log: Log,
    retries: u32,
    outcomes: Mutex<BTreeMap<u64, Outcome>>,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Returned,
    Panicked,
    Lost { pid: u32 },
}

impl Judge {
    pub(crate) fn new(log: Log, retries: u32) -> Self {
        assert!((retries as usize) < ATTEMPTS);
        Self { log, retries, outcomes: Mutex::default() }
    }

    /// Takes the outcome of a task, which must have been none so far.
    pub(crate) fn take(&self, work: Work, outcome: Result<u64, TaskFailure>) {
        let number = work.number;
        let outcome = match outcome {
            Ok(result) => {
                assert_eq!(result, result_of(number), "another task's result");
                assert_eq!(work.deed, Deed::Return, "{number} has returned, and should not have");
                assert!(self.log.ended(number) > 0, "{number} has returned and never ended");
                Outcome::Returned
            }
            Err(TaskFailure::Panicked(panic)) => {
                assert_eq!(work.deed, Deed::Panic, "{number}: {panic:?}");
                assert!(panic.message.contains(&format!("task {number} is")), "{panic:?}");
                Outcome::Panicked
            }
            Err(TaskFailure::WorkerLost { pid, attempts, .. }) => {
                assert_eq!(attempts, self.retries + 1, "{number} was not tried so often");
                Outcome::Lost { pid }
            }
            Err(other) => panic!("{number}: {other}"),
        };
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(outcomes.insert(number, outcome).is_none(), "{number} has two outcomes");
    }

    /// Takes losses of which only is known that they are of these tasks, one each: a task that was
    /// on the worker first, then the one that may have died before it was logged.
    pub(crate) fn assign(&self, mut works: Vec<Work>, losses: Vec<TaskFailure>) {
        let mut left = Vec::new();
        for loss in losses {
            let TaskFailure::WorkerLost { pid, .. } = &loss else { panic!("{loss}") };
            let last = |work: &Work| self.log.pids(work.number).last() == Some(pid);
            match works.iter().position(last) {
                Some(at) => self.take(works.remove(at), Err(loss)),
                None => left.push(loss),
            }
        }
        works.into_iter().zip(left).for_each(|(work, loss)| self.take(work, Err(loss)));
    }

    /// All of these have an outcome, and each loss is explained by a death. `struck` are the
    /// workers that were ended from outside; gives how many tasks were lost.
    pub(crate) fn give_verdict(&self, all: &[Work], struck: &[u32]) -> u64 {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deadly = struck.iter().copied().collect::<BTreeSet<_>>();
        for work in all.iter().filter(|work| work.deed.is_deadly()) {
            deadly.extend(self.log.pids(work.number));
        }
        // A worker may die in the moment between the pool's note that a task begins and the log's.
        let mut unlogged = BTreeMap::<u32, u64>::new();
        let mut lost = 0;
        for work in all {
            let number = work.number;
            let outcome = outcomes.get(&number);
            let outcome = outcome.unwrap_or_else(|| panic!("{number} has no outcome"));
            let (begun, pids) = (self.log.begun(number), self.log.pids(number));
            let most = u64::from(self.retries) + 1;
            assert!(begun <= most, "{number} began {begun} times, in {pids:?}");
            // Each attempt but the last ended with its worker.
            let before = &pids[..pids.len().saturating_sub(1)];
            assert!(before.iter().all(|pid| deadly.contains(pid)), "{number}: {before:?} lived");
            if let Outcome::Lost { pid } = outcome {
                lost += 1;
                assert!(deadly.contains(pid), "{number} was lost with {pid}, whom nobody ended");
                if !pids.contains(pid) {
                    *unlogged.entry(*pid).or_default() += 1;
                }
            }
        }
        for (pid, count) in unlogged {
            assert!(count <= 1, "{count} tasks were lost with {pid} that never began there");
        }
        assert_eq!(outcomes.len(), all.len());
        lost
    }
}
