//! The `fork` method: a copy of this process.

use super::request::Request;
use super::{Lease, Status};
use crate::error::StartError;
use crate::runtime::load::Loaded;
use crate::runtime::{verdict, worker};
use crate::sys::{attributes, fd, fork, wait};
use std::io::Write;
use std::os::fd::OwnedFd;

/// Forks; the child serves one job, which is about to be sent to it.
///
/// # Errors
/// [`StartError`]: other threads, or the system.
pub(crate) fn lease(
    closure: Option<worker::Closure>,
    allow_threads: bool,
    request: &mut Request,
) -> Result<Lease, StartError> {
    if !allow_threads {
        refuse_threads()?;
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
    // SAFETY: this process has one thread (and perhaps its controller, which sleeps in poll, that
    // of the log, which is hushed, and those of the reactor, which are held), or the caller has
    // accepted the risk.
    let side = unsafe { fork::fork() };
    // Both have them: a child that kept them could never await or log anything.
    drop((held, hush));
    match side.map_err(StartError::system("fork"))? {
        fork::Side::Child => {
            drop(ours);
            request.forget_descriptors();
            grow_up(theirs, closure)
        }
        fork::Side::Parent(pid) => {
            drop(theirs);
            // Our child and not reaped yet: the pid cannot mean another process.
            let pidfd = wait::pidfd_open(pid).map_err(StartError::system("pidfd_open"))?;
            Ok(Lease { pid, job: ours, pidfd, status: Status::Child })
        }
    }
}

fn refuse_threads() -> Result<(), StartError> {
    let mut threads = verdict::threads();
    threads.retain(|tid, _| !crate::reactor::has_thread(*tid));
    if threads.len() > 1 + worker::runtime_threads() {
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
    if closure.is_none() {
        crate::handles::let_go_of_ends();
    }
    attributes::reset_signals(&attributes::changed_signals());
    worker::serve(job, Box::leak(Box::new(Loaded::program())), closure)
}
