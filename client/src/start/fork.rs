//! The `fork` method: a copy of this process.

use super::request::Request;
use super::{Lease, Status, quiet};
use crate::error::StartError;
use crate::runtime::load::Loaded;
use crate::runtime::{verdict, worker};
use crate::sys::{attributes, fd, fork, wait};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long threads that were just joined may take to vanish.
const SETTLE_ROUNDS: u32 = 5;
const SETTLE_ROUND: Duration = Duration::from_millis(1);

/// Forks; the child serves one job, which is about to be sent to it.
///
/// # Errors
/// [`StartError`]: other threads, or the system.
pub(crate) fn lease(
    closure: Option<worker::Closure>,
    allow_threads: bool,
    request: &mut Request,
) -> Result<Lease, StartError> {
    let copy = copy(allow_threads, |theirs| {
        request.forget_descriptors();
        grow_up(theirs, closure)
    })?;
    let (job, pidfd) = (copy.socket, copy.pidfd);
    Ok(Lease { pid: copy.pid, origin: None, job, pidfd, status: Status::Child })
}

/// A copy of this process, as its parent sees it.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    /// Our end of a socket between both.
    pub(super) socket: OwnedFd,
}

/// Forks; the child does what it is told, with its end of the socket.
///
/// # Errors
/// [`StartError`]: other threads (unless they are allowed), or the system.
pub(super) fn copy(allow_threads: bool, child: impl FnOnce(OwnedFd)) -> Result<Copy, StartError> {
    // Threads of the library's own sleep from here on.
    let hushed = quiet::hush();
    if !allow_threads {
        refuse_threads(if hushed.is_some() { quiet::count() } else { 0 })?;
    }
    let (ours, theirs) = fd::seqpacket_pair().map_err(StartError::system("socketpair"))?;
    // What stands in the output buffers would be written by both.
    let _ = std::io::stdout().flush();
    fork::flush_stdio();
    crate::shared::arena::about_to_fork();
    let hush = crate::logging::hush();
    if !hush.is_silent() && !allow_threads {
        return Err(threads_refused());
    }
    let held = crate::reactor::hold();
    let lists = (super::forkserver::hold_connections(), crate::process::hold_children());
    // SAFETY: this process has one thread (and perhaps its controller, which sleeps in poll, that
    // of the log, which is hushed, those of the reactor, which are held, and threads of pools,
    // which sleep outside any lock), or the caller has accepted the risk.
    let side = unsafe { fork::fork() };
    // Both have them: a child that kept them could never await or log anything, have a pool, or end.
    drop((lists, held, hush, hushed));
    match side.map_err(StartError::system("fork"))? {
        fork::Side::Child => {
            drop(ours);
            child(theirs);
            // It has returned, which it must not: this is no process of the program's.
            fork::exit_now(111)
        }
        fork::Side::Parent(pid) => {
            drop(theirs);
            // Our child and not reaped yet: the pid cannot mean another process.
            let pidfd = wait::pidfd_open(pid).map_err(StartError::system("pidfd_open"))?;
            Ok(Copy { pid, pidfd, socket: ours })
        }
    }
}

fn refuse_threads(quiet: usize) -> Result<(), StartError> {
    let harmless = 1 + worker::runtime_threads() + quiet;
    let counted = || {
        let mut threads = verdict::threads();
        threads.retain(|tid, _| !crate::reactor::has_thread(*tid));
        threads
    };
    let mut threads = counted();
    for _ in 0..SETTLE_ROUNDS {
        if threads.len() <= harmless {
            return Ok(());
        }
        // One that has just been joined is listed for another moment.
        std::thread::sleep(SETTLE_ROUND);
        threads = counted();
    }
    if threads.len() > harmless {
        return Err(threads_refused());
    }
    Ok(())
}

fn threads_refused() -> StartError {
    let names = verdict::threads().into_values().collect::<Vec<_>>();
    StartError::ForkWithThreads { count: names.len(), names }
}

fn grow_up(job: OwnedFd, closure: Option<worker::Closure>) -> ! {
    crate::process::forget_inherited();
    crate::manager::forget_links();
    if closure.is_none() {
        crate::handles::let_go_of_ends();
    }
    attributes::reset_signals(&attributes::changed_signals());
    worker::serve(job, Box::leak(Box::new(Loaded::program())), closure, None, None)
}
