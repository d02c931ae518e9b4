//! Processes that are awaited.

use super::{Handle, Inner, Outcome, Parcel, ProcessError, Received};
use crate::error::Ending;
use crate::reactor::{Interest, ready, until};
use crate::start::cause::Findings;
use crate::start::child::Sign;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A descriptor of a process, which its handle keeps open.
struct Part {
    process: Arc<Inner>,
    find: fn(&Inner) -> BorrowedFd<'_>,
}

impl AsFd for Part {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (self.find)(&self.process)
    }
}

impl Handle {
    /// Waits for its end and returns the exit code, without keeping a thread: the awaited
    /// [`join`](Self::join). Dropping the future changes nothing.
    ///
    /// # Panics
    /// Never; a process that never ends is waited for for ever.
    pub async fn join_async(&self) -> i32 {
        self.ending_async().await;
        self.exitcode().unwrap_or(255)
    }

    async fn ready_async(&self, find: fn(&Inner) -> BorrowedFd<'_>) {
        let part = Part { process: self.inner.clone(), find };
        ready(Arc::new(part), Interest::Read).await;
    }

    async fn ending_async(&self) -> Ending {
        loop {
            if let Some(ending) = self.inner.child.ending() {
                return ending;
            }
            match self.inner.child.sign() {
                Sign::Status => self.ready_async(|inner| inner.child.status()).await,
                Sign::Exit => self.ready_async(|inner| inner.child.pidfd()).await,
                Sign::None => until(Instant::now() + Duration::from_millis(1)).await,
            }
        }
    }

    pub(in crate::process) async fn take_outcome_async(
        &self,
    ) -> Result<(Outcome, Parcel), ProcessError> {
        loop {
            let received = self.inner.child.take_outcome(Some(Duration::ZERO));
            let has_ended = matches!(received, Received::End);
            if let Some(outcome) = super::outcome(received) {
                return outcome;
            }
            if has_ended {
                let ending = self.ending_async().await;
                let autopsy = self.autopsy(ending);
                let Findings { cause, stderr } = autopsy.findings_async().await.clone();
                return Err(ProcessError::Died { pid: self.pid(), ending, cause, stderr });
            }
            self.ready_async(|inner| inner.child.job()).await;
        }
    }
}
