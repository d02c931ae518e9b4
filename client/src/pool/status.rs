//! What a pool tells about itself, for people and for monitoring.

use std::time::Duration;

/// A pool at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// Tasks that have not begun.
    pub pending: u64,
    /// Tasks that run, or stand first in their worker's line.
    pub running: u64,
    /// Tasks that a worker has answered.
    pub done: u64,
    /// Tasks that were lost with their worker.
    pub lost: u64,
    /// Times that a task was tried again after its worker was lost.
    pub retried: u64,
    /// Workers that were started.
    pub workers_started: u64,
    /// Workers that ended without being told to, or were killed for a task.
    pub workers_lost: u64,
    /// Workers that have served long enough and ended.
    pub workers_retired: u64,
    /// Callbacks that have panicked.
    pub callback_panics: u64,
}

/// One worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its name, such as `ForkServerPoolWorker-1`.
    pub name: String,
    /// Its pid.
    pub pid: u32,
    /// What it is up to.
    pub state: WorkerState,
    /// Tasks that it has answered.
    pub tasks_done: u64,
    /// How long ago it was started.
    pub age: Duration,
    /// Bytes of memory that it shares with nobody; `None` when the kernel does not tell.
    pub private_memory: Option<u64>,
}

/// What a worker is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It has not said yet that it is ready.
    Starting,
    /// It waits for a task.
    Idle,
    /// It has tasks.
    Busy,
    /// It was told to end.
    Leaving,
    /// It has ended, and will be replaced.
    Ended,
}
