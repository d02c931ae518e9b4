//! Which task began and ended where: written by tasks into memory that outlives their workers.

use std::sync::OnceLock;

/// Attempts of which the pids are kept.
pub(crate) const ATTEMPTS: usize = 4;

/// A log of tasks, by number. Each is run by one worker at a time.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Log {
    begun: mp::RawArray<u64>,
    ended: mp::RawArray<u64>,
    pids: mp::RawArray<u64>,
}

/// That of this worker.
static LOG: OnceLock<Log> = OnceLock::new();

/// Each worker has the log from the beginning.
#[mp::task]
pub(crate) fn keep_log(log: Log) {
    LOG.set(log).expect("once a worker");
}

pub(crate) fn own() -> &'static Log {
    LOG.get().expect("the initializer has run")
}

impl Log {
    pub(crate) fn new(tasks: u64) -> Self {
        let zeroed = |length| mp::RawArray::zeroed(length).unwrap();
        let tasks = tasks as usize;
        Self { begun: zeroed(tasks), ended: zeroed(tasks), pids: zeroed(tasks * ATTEMPTS) }
    }

    /// A task begins. First who, then that: a death in between leaves the name.
    pub(crate) fn begin(&self, task: u64) {
        let task = task as usize;
        let attempt = self.begun.get(task).unwrap() as usize;
        if attempt < ATTEMPTS {
            let pid = u64::from(std::process::id());
            self.pids.set(task * ATTEMPTS + attempt, pid).unwrap();
        }
        self.begun.fetch_add(task, 1).unwrap();
    }

    pub(crate) fn end(&self, task: u64) {
        self.ended.fetch_add(task as usize, 1).unwrap();
    }

    /// How often it began.
    pub(crate) fn begun(&self, task: u64) -> u64 {
        self.begun.get(task as usize).unwrap()
    }

    /// How often it ended.
    pub(crate) fn ended(&self, task: u64) -> u64 {
        self.ended.get(task as usize).unwrap()
    }

    /// Where it began, oldest first.
    pub(crate) fn pids(&self, task: u64) -> Vec<u32> {
        let first = task as usize * ATTEMPTS;
        let pids = self.pids.slice(first..first + ATTEMPTS).unwrap();
        pids.into_iter().filter(|pid| *pid != 0).map(|pid| pid as u32).collect()
    }

    /// How often tasks began, all together.
    pub(crate) fn all_begun(&self) -> u64 {
        self.begun.iter().sum()
    }
}
