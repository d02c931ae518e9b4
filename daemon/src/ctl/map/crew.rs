//! Workers under way: those that run a task, and those that have given their result and leave.

use super::plan::Item;
use mp::{Process, ProcessError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker kills itself when its time is up; one that cannot is killed so long after.
const BACKSTOP: Duration = Duration::from_secs(2);
/// How long a worker may live after it closed its connection without a word.
const SILENCE: Duration = Duration::from_secs(1);
/// Between two looks at a worker that ended and whose status is still on its way.
const LOOK: Duration = Duration::from_millis(2);
/// How long killed workers are waited for.
const KILLED: Duration = Duration::from_secs(5);

/// A worker that runs a task.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) item: Arc<Item>,
    pub(super) process: Process<Value>,
    pub(super) since: Instant,
    /// When it is killed, whatever it says.
    backstop: Option<Instant>,
    pub(super) overdue: bool,
    /// Since when its connection is at its end while how it ended is not known.
    silent: Option<Instant>,
}

impl Running {
    pub(super) fn new(item: Arc<Item>, process: Process<Value>, timeout: Option<Duration>) -> Self {
        let since = Instant::now();
        let backstop = timeout.and_then(|limit| since.checked_add(limit)?.checked_add(BACKSTOP));
        Self { item, process, since, backstop, overdue: false, silent: None }
    }

    /// What to poll for reading; nothing when only time can tell.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.silent.is_none().then(|| self.process.result_fd())
    }

    /// When to look again, at the latest.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let silent = self.silent.map(|_| now + LOOK);
        let backstop = self.backstop.filter(|_| !self.overdue);
        [silent, backstop].into_iter().flatten().min()
    }

    /// Its result, if there is one (or will never be one).
    pub(super) fn result(&mut self) -> Option<Result<Value, ProcessError>> {
        match self.process.result_timeout(Duration::ZERO) {
            Err(ProcessError::Timeout(_)) => {
                if self.silent.is_none() && self.process.has_result() {
                    self.silent = Some(Instant::now());
                }
                None
            }
            result => Some(result),
        }
    }

    /// Kills it if it should have ended long ago.
    pub(super) fn enforce(&mut self, now: Instant) {
        if !self.overdue && self.backstop.is_some_and(|at| now >= at) {
            self.overdue = true;
            let _ = self.process.kill();
        }
        if self.silent.is_some_and(|since| now >= since + SILENCE) {
            let _ = self.process.kill();
        }
    }
}

/// Waits until all have ended, or `interrupt` is readable, or the time has passed; gives back
/// those that have not.
pub(super) fn wait(
    mut leaving: Vec<Process<Value>>,
    interrupt: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> Vec<Process<Value>> {
    let deadline = Instant::now() + patience;
    loop {
        leaving.retain(|process| process.is_alive());
        let left = deadline.saturating_duration_since(Instant::now());
        if leaving.is_empty() || left.is_zero() {
            return leaving;
        }
        let sentinels = leaving.iter().map(|process| process.sentinel());
        let mut sources: Vec<_> = interrupt
            .into_iter()
            .chain(sentinels)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let _ = poll(&mut sources, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        let interrupted = interrupt.is_some() && sources[0].any().unwrap_or(false);
        drop(sources);
        if interrupted {
            return leaving;
        }
    }
}

/// Kills all, and waits until they are gone.
pub(super) fn kill(workers: Vec<Process<Value>>) {
    for worker in &workers {
        let _ = worker.kill();
    }
    wait(workers, None, KILLED);
}

/// Whether a descriptor is in one of these states, now.
pub(super) fn is_ready(fd: impl AsFd, flags: PollFlags, patience: Duration) -> bool {
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    poll(&mut [PollFd::new(fd.as_fd(), flags)], patience).is_ok_and(|ready| ready > 0)
}
