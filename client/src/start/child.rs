//! A started worker: its outcome, its end, its signals.
//!
//! Everything here may be called from any number of threads: waiting holds no lock, and what one
//! thread received all others find.

use super::cause::{Autopsy, bit};
use super::inbox::{Inbox, Received};
use super::{Lease, Origin, Status, wait_readable};
use crate::daemon::Connection;
use crate::error::Ending;
use crate::logging::TARGET;
use crate::sys::wait;
use mpserverd_proto::client::{Request, WorkerRef};
use mpserverd_proto::codec;
use mpserverd_proto::status::{ExitRecord, RECORD_BYTES_MAX, Reporter};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the kernel's own record of a process is waited for, once everybody who could have
/// reported its end is dead and its new parent has yet to reap it.
const REAP_GRACE: Duration = Duration::from_millis(500);

/// How long the daemon may take to send a signal for us.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct State {
    received: Received,
    inbox: Inbox,
    ending: Option<Ending>,
    /// The status pipe ended without a record.
    orphaned_since: Option<Instant>,
}

/// A worker that was given its job.
#[derive(Debug)]
pub(crate) struct Child {
    lease: Lease,
    /// The process that started it; in a fork of that process this is nobody's child.
    owner: u32,
    state: Mutex<State>,
    /// Signals that were sent to it from here.
    signals: AtomicU64,
}

/// By what its end shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// [`Child::status`] becomes readable.
    Status,
    /// [`Child::pidfd`] becomes readable.
    Exit,
    /// Nothing: it has ended, and the kernel's record will come in a moment.
    None,
}

/// Whether it may have left undone what a process does at its end.
fn was_killed(ending: Ending) -> bool {
    !matches!(ending, Ending::Known(record) if record.code == 0)
}

impl Child {
    pub(crate) fn new(lease: Lease) -> Self {
        let state = State {
            received: Received::Nothing,
            inbox: Inbox::default(),
            ending: None,
            orphaned_since: None,
        };
        Self {
            lease,
            owner: std::process::id(),
            state: Mutex::new(state),
            signals: AtomicU64::new(0),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.lease.pid
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.lease.pidfd.as_fd()
    }

    pub(crate) fn job(&self) -> BorrowedFd<'_> {
        self.lease.job.as_fd()
    }

    pub(crate) fn is_own(&self) -> bool {
        self.owner == std::process::id()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it ended, if that is known now.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let mut state = self.state();
        if state.ending.is_none() {
            state.ending = match &self.lease.status {
                _ if !self.is_own() => Some(Ending::Unknown),
                Status::Child => self.reap(),
                Status::Pipe(pipe) => self.read_status(pipe.as_fd(), &mut state.orphaned_since),
            };
            if let Some(ending) = state.ending.filter(|_| self.is_own()) {
                drop(state);
                let code = match ending {
                    Ending::Known(record) => Some(record.code),
                    Ending::Unknown => None,
                };
                tracing::debug!(target: TARGET, pid = self.pid(), code, "a process has ended");
                if was_killed(ending) {
                    crate::shared::memory::somebody_died();
                }
                return self.last_words(Some(ending));
            }
        }
        let ending = state.ending;
        drop(state);
        self.last_words(ending)
    }

    /// What it logged comes before the news of its end.
    fn last_words(&self, ending: Option<Ending>) -> Option<Ending> {
        if ending.is_some() && self.is_own() {
            crate::logging::ended(self.pid());
        }
        ending
    }

    fn reap(&self) -> Option<Ending> {
        match wait::ended(wait::Whom::Pidfd(self.pidfd()), true, Reporter::Parent) {
            Ok(Some((_, record))) => Some(Ending::Known(record)),
            Ok(None) => None,
            // Somebody else waited for it: `SIGCHLD` ignored, or a `waitpid(-1)` in the program.
            Err(_) => Some(self.kernel_record().map_or(Ending::Unknown, Ending::Known)),
        }
    }

    fn kernel_record(&self) -> Option<ExitRecord> {
        wait::exit_behind_pidfd(self.pidfd())
    }

    fn read_status(&self, pipe: BorrowedFd<'_>, orphaned: &mut Option<Instant>) -> Option<Ending> {
        if orphaned.is_none() {
            if !wait_readable(&[pipe], Some(Duration::ZERO)) {
                return None;
            }
            let mut bytes = [0; RECORD_BYTES_MAX];
            let got = nix::unistd::read(pipe, &mut bytes).unwrap_or(0);
            if let Ok(record) = codec::decode::<ExitRecord>(&bytes[..got]) {
                return Some(Ending::Known(record));
            }
            *orphaned = Some(Instant::now());
        }
        // Template and daemon are gone: only the kernel can tell, once somebody has reaped it.
        if !wait_readable(&[self.pidfd()], Some(Duration::ZERO)) {
            return None;
        }
        let since = *orphaned.get_or_insert_with(Instant::now);
        match self.kernel_record() {
            Some(record) => Some(Ending::Known(record)),
            None if since.elapsed() < REAP_GRACE => None,
            None => Some(Ending::Unknown),
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Option<Ending> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout.min(super::FOREVER));
        loop {
            if let Some(ending) = self.ending() {
                return Some(ending);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            match self.sign() {
                Sign::Status => drop(wait_readable(&[self.status()], left)),
                Sign::Exit => drop(wait_readable(&[self.pidfd()], left)),
                Sign::None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// What to wait for.
    pub(crate) fn sign(&self) -> Sign {
        let orphaned = self.state().orphaned_since.is_some();
        match &self.lease.status {
            Status::Pipe(_) if !orphaned => Sign::Status,
            _ if orphaned && self.has_ended() => Sign::None,
            _ => Sign::Exit,
        }
    }

    /// Where its exit record arrives, or what else tells its end.
    pub(crate) fn status(&self) -> BorrowedFd<'_> {
        match &self.lease.status {
            Status::Pipe(pipe) => pipe.as_fd(),
            Status::Child => self.pidfd(),
        }
    }

    /// Whether the process has ended, whatever is known about how.
    pub(crate) fn has_ended(&self) -> bool {
        wait_readable(&[self.pidfd()], Some(Duration::ZERO))
    }

    /// Sends a signal; nothing happens once the process has ended.
    pub(crate) fn signal(&self, number: i32) -> io::Result<()> {
        if self.state().ending.is_some() {
            return Ok(());
        }
        self.signals.fetch_or(bit(number), Ordering::Relaxed);
        if let Some(origin) = &self.lease.origin {
            origin.announce(number);
        }
        match (wait::signal(self.pidfd(), number), &self.lease.origin) {
            (Err(error), Some(origin)) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.ask_for_signal(origin, number, error)
            }
            (done, _) => done,
        }
    }

    /// Has the daemon send a signal: the worker runs as its user, not as this one.
    fn ask_for_signal(&self, origin: &Origin, number: i32, denied: io::Error) -> io::Result<()> {
        let deadline = Some(Instant::now() + SIGNAL_PATIENCE);
        let request = Request::Kill { worker: WorkerRef::Id(origin.worker), signal: number };
        let asked = Connection::open(&origin.socket, deadline)
            .and_then(|mut daemon| daemon.call(&request, &[], deadline));
        match asked {
            Ok(_) => Ok(()),
            Err(_) if self.has_ended() => Ok(()),
            // A daemon that is gone cannot help, and why it did not is not what was asked.
            Err(error) if error.is_absence() => Err(denied),
            Err(error) => Err(io::Error::new(io::ErrorKind::PermissionDenied, error)),
        }
    }

    /// How it ended, for who will tell why without this child.
    pub(crate) fn autopsy(&self, ending: Ending) -> Autopsy {
        let signals = self.signals.load(Ordering::Relaxed);
        Autopsy::new(ending, signals, self.lease.origin.clone())
    }

    /// Takes the outcome, waiting for it. `Nothing` if the time passes first.
    pub(crate) fn take_outcome(&self, timeout: Option<Duration>) -> Received {
        let deadline = timeout.map(|timeout| Instant::now() + timeout.min(super::FOREVER));
        loop {
            {
                let mut state = self.state();
                self.receive(&mut state);
                match &state.received {
                    Received::Nothing => {}
                    Received::Outcome(_) => {
                        let taken = std::mem::replace(&mut state.received, Received::Taken);
                        drop(state);
                        // What it logged comes before what it returned.
                        crate::logging::settle(self.pid());
                        return taken;
                    }
                    Received::Taken => return Received::Taken,
                    Received::End => return Received::End,
                    Received::Lost { limit } => return Received::Lost { limit: *limit },
                    Received::Garbage(what) => return Received::Garbage(what.clone()),
                }
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Received::Nothing;
            }
            wait_readable(&[self.job()], left);
        }
    }

    /// Whether an outcome (or the end of the connection) is here.
    pub(crate) fn is_settled(&self) -> bool {
        let mut state = self.state();
        self.receive(&mut state);
        !matches!(state.received, Received::Nothing)
    }

    /// Looks whether the outcome is here, if it was not before.
    fn receive(&self, state: &mut State) {
        if matches!(state.received, Received::Nothing) {
            state.received = state.inbox.receive(self.job());
        }
    }
}
