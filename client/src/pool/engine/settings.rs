//! What a pool was asked to be.

use super::super::worker::Initializer;
use crate::codec::Codec;
use crate::context::Context;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Where the standard errors of workers go.
#[derive(Debug)]
pub(crate) enum WorkerStderr {
    /// To this process's own, by way of this process.
    Forward,
    /// To this process's own.
    Inherit,
    Null,
    Fd(OwnedFd),
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) context: Context,
    /// That of the context when the pool was asked for.
    pub(crate) codec: Codec,
    pub(crate) processes: usize,
    /// What stands before `PoolWorker-N`.
    pub(crate) prefix: String,
    pub(crate) initializer: Option<Initializer>,
    pub(crate) init_attempts: u32,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) max_tasks_jitter: u64,
    pub(crate) max_private_memory: Option<u64>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) task_deadline: Option<Duration>,
    pub(crate) retries: u32,
    pub(crate) grace: Duration,
    pub(crate) stderr: WorkerStderr,
    pub(crate) allow_threads: bool,
    /// What workers may do.
    pub(crate) sandbox: Option<crate::sandbox::Sandbox>,
}
