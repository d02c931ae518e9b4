//! The three ways to a worker. Each ends in a [`Lease`]; what follows is the same for all.
//!
//! | file | holds |
//! |---|---|
//! | [`fork`] | a copy of this process |
//! | [`cradle`] | a copy of this process that does nothing but fork |
//! | [`quiet`] | threads of the library that do not make a fork unsafe |
//! | [`spawn`] | this program, executed anew |
//! | [`forkserver`] | a spare of the daemon's template, or what the fallback policy says |
//! | [`child`] | a started worker: its outcome, its end, its signals |
//! | [`cause`] | why a worker ended |
//! | [`inbox`] | the outcome, packet by packet |
//! | [`request`] | the job that says who the worker is to be |
//!
//! What must never be in here: anything that knows the type of a task.

pub(crate) mod cause;
pub(crate) mod child;
pub(crate) mod cradle;
pub(crate) mod fork;
pub(crate) mod forkserver;
pub(crate) mod inbox;
pub(crate) mod quiet;
pub(crate) mod request;
pub(crate) mod spawn;

use mpserverd_proto::ids::WorkerId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where a worker's exit status comes from.
#[derive(Debug)]
pub(crate) enum Status {
    /// Its parent writes it here.
    Pipe(OwnedFd),
    /// This process is its parent.
    Child,
}

/// The daemon that handed a worker over, and its name for it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) socket: PathBuf,
    pub(crate) worker: WorkerId,
}

/// A process that waits for a job.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) pid: u32,
    /// Where it came from, if from a daemon.
    pub(crate) origin: Option<Origin>,
    pub(crate) job: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    pub(crate) status: Status,
}

/// Waits until one of these is readable (or at its end); false if the time passes first.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> bool {
    let deadline = timeout.map(|timeout| Instant::now() + timeout.min(FOREVER));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            let rounded = if left.is_zero() { left } else { left + Duration::from_micros(999) };
            PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
        });
        let mut sources =
            fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect::<Vec<_>>();
        match poll(&mut sources, timeout) {
            Ok(0) | Err(_) if left.is_some_and(|left| left.is_zero()) => return false,
            Ok(0) | Err(_) => {}
            Ok(_) => return true,
        }
    }
}

/// Longer waits than this are waits without end; it keeps `Instant` from overflowing.
pub(crate) const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 10);
