//! A copy of this process that does nothing but fork: where a pool that forks gets its workers
//! from, however many threads this process has by then.
//!
//! It is forked while this process may be forked, stays single-threaded, and lives until it has
//! neither a starter nor a child.

use super::{Lease, Status, wait_readable};
use crate::error::StartError;
use crate::runtime::cradle;
use crate::sys::{packet, wait};
use mpserverd_proto::codec;
use mpserverd_proto::packet::Kind;
use mpserverd_proto::status::Reporter;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the copy may take to fork.
const PATIENCE: Duration = Duration::from_secs(60);

/// The starter's hold of the copy.
#[derive(Debug)]
pub(crate) struct Cradle {
    control: Mutex<Option<OwnedFd>>,
    pidfd: OwnedFd,
    owner: u32,
}

impl Cradle {
    /// Forks it.
    ///
    /// # Errors
    /// [`StartError`]: other threads (unless they are allowed), or the system.
    pub(crate) fn new(allow_threads: bool) -> Result<Self, StartError> {
        let copy = super::fork::copy(allow_threads, |theirs| {
            crate::process::forget_inherited();
            crate::handles::let_go_of_ends();
            cradle::serve(theirs)
        })?;
        let control = Mutex::new(Some(copy.socket));
        Ok(Self { control, pidfd: copy.pidfd, owner: std::process::id() })
    }

    /// A fresh worker.
    ///
    /// # Errors
    /// As `fork(2)` in the copy; or that the copy is gone.
    pub(crate) fn lease(&self) -> Result<Lease, StartError> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the process that forks is gone");
        let control = control.as_ref().ok_or_else(gone).map_err(StartError::system("fork"))?;
        packet::send(control.as_fd(), Kind::ToTemplate, &[], &[], false)
            .map_err(StartError::system("asking for a fork"))?;
        if !wait_readable(&[control.as_fd()], Some(PATIENCE)) {
            return Err(StartError::Timeout(PATIENCE));
        }
        let packet = packet::receive(control.as_fd(), false)
            .and_then(|packet| packet.ok_or_else(gone))
            .map_err(StartError::system("fork"))?;
        let born = codec::decode::<Result<u32, i32>>(&packet.body)
            .map_err(|error| StartError::Invalid(error.to_string()))?;
        let pid = born.map_err(|errno| StartError::System {
            call: "fork",
            source: io::Error::from_raw_os_error(errno),
        })?;
        let [job, status, pidfd]: [OwnedFd; 3] = packet
            .fds
            .try_into()
            .map_err(|_| StartError::Invalid("a fork without its descriptors".to_owned()))?;
        Ok(Lease { pid, origin: None, job, pidfd, status: Status::Pipe(status) })
    }
}

impl Drop for Cradle {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        // It ends with its last child, for which nobody waits here: init reaps it, or this process
        // when it looks for children that have ended.
        *self.control.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        if wait_readable(&[self.pidfd.as_fd()], Some(Duration::from_millis(100))) {
            let _ = wait::ended(wait::Whom::Pidfd(self.pidfd.as_fd()), true, Reporter::Parent);
        }
    }
}
