//! What a pool must be able to do to be measured.

use super::meeting::Meeting;
use std::time::Duration;

/// How long anything may take that takes milliseconds. It is less than those have patience who
/// wait for what is measured, so that they are told what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Workers that run [tasks](super::tasks).
pub(crate) trait Maps: Sized + 'static {
    /// Which of several such pools.
    type Kind: Copy + 'static;

    fn start(kind: Self::Kind, workers: usize) -> Result<Self, String>;

    /// One task that does nothing, and its result.
    fn apply(&mut self) -> Result<(), String>;

    /// So many tasks that work for so many nanoseconds, so many in a chunk; and all results.
    fn map(&mut self, nanos: u64, count: u64, chunk: Option<u64>) -> Result<(), String>;
}

/// Workers that are processes.
pub(crate) trait Crew: Maps {
    /// A task that has no result yet.
    type Pending;

    /// So many tasks with this input.
    fn inputs(&mut self, input: &[u8], count: u64) -> Result<(), String>;

    /// So many tasks with a large output.
    fn outputs(&mut self, count: u64) -> Result<(), String>;

    /// A task that takes part in a meeting.
    fn attend(&mut self, meeting: &Meeting) -> Result<Self::Pending, String>;

    /// Waits until such a task is over, and tells whether it was lost; an error if neither becomes
    /// known.
    fn is_lost(&mut self, pending: Self::Pending) -> Result<bool, String>;

    /// Ends it, as one does whose tasks are all done, until all processes are gone.
    fn end(self) -> Result<(), String>;
}

/// Workers that are replaced every few tasks.
pub(crate) trait Recycles: Maps {
    fn start_recycling(kind: Self::Kind, workers: usize, tasks: u64) -> Result<Self, String>;
}
