//! Why an input has no result, whether another attempt can help, and what mpctl exits with.
//!
//! Decisions only: nothing here waits or starts anything.

use super::super::error::{CtlError, EXIT_FAILED, EXIT_TIMEOUT, exit_by_signal};
use super::super::units;
use crate::cli::{EXIT_SYSTEM, EXIT_USAGE};
use mp::{DaemonError, Ending, JobError, ProcessError, Refusal, StartError};
use serde::Serialize;
use std::time::Duration;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The task returned an error.
    Failed,
    /// The task panicked.
    Panicked,
    /// The worker ended before its task did.
    Died,
    /// The time was up.
    Timeout,
    /// The task never ran, or its result could not travel.
    Rejected,
}

/// Why an input has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: Kind,
    /// In words; equal causes have equal words.
    pub message: String,
    /// What `mpctl run` exits with.
    #[serde(skip)]
    pub code: u8,
    /// Whether another attempt can help.
    #[serde(skip)]
    pub temporary: bool,
}

impl Failure {
    /// The time was up.
    #[must_use]
    pub fn timeout(limit: Duration) -> Self {
        let message = format!("took longer than {}", units::span(limit));
        Self { kind: Kind::Timeout, message, code: EXIT_TIMEOUT, temporary: true }
    }

    /// The input makes no sense.
    #[must_use]
    pub fn rejected(message: String) -> Self {
        Self { kind: Kind::Rejected, message, code: EXIT_USAGE, temporary: false }
    }

    /// Whether to try again after so many attempts.
    #[must_use]
    pub fn is_worth_a_retry(&self, attempts: u32, retries: u32) -> bool {
        self.temporary && attempts <= retries
    }
}

/// What the end of a process means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This input failed.
    Failed(Failure),
    /// Every input would fail like this one.
    Hopeless(CtlError),
}

/// Judges how a started process failed.
#[must_use]
pub fn judge(error: ProcessError) -> Verdict {
    let message = error.to_string();
    let failure = |kind, message, code, temporary| {
        Verdict::Failed(Failure { kind, message, code, temporary })
    };
    match error {
        ProcessError::Failed { message } => failure(Kind::Failed, message, EXIT_FAILED, false),
        ProcessError::Panicked(_) => failure(Kind::Panicked, message, EXIT_FAILED, true),
        ProcessError::DeadlineExceeded(limit) => Verdict::Failed(Failure::timeout(limit)),
        // Without the pid, so that equal deaths have equal words.
        ProcessError::Died { ending, cause, .. } => {
            let why = cause.and_then(|cause| cause.in_words());
            let why = why.map(|words| format!(": {words}")).unwrap_or_default();
            let message = format!("its worker {ending} before the task returned{why}");
            failure(Kind::Died, message, exit_code(ending), true)
        }
        ProcessError::Rejected(JobError::UnknownTask { .. } | JobError::AmbiguousTask { .. }) => {
            Verdict::Hopeless(CtlError::usage(message))
        }
        ProcessError::Rejected(error) => {
            let (code, temporary) = match error {
                JobError::AfterFork(_) => (EXIT_SYSTEM, true),
                JobError::Setup { .. } | JobError::Preload(_) => (EXIT_SYSTEM, false),
                _ => (EXIT_USAGE, false),
            };
            failure(Kind::Rejected, message, code, temporary)
        }
        _ => failure(Kind::Rejected, message, EXIT_SYSTEM, false),
    }
}

/// What `mpctl run` exits with for a worker that ended so, without a result.
fn exit_code(ending: Ending) -> u8 {
    let Ending::Known(record) = ending else { return EXIT_SYSTEM };
    match record.signal() {
        Some(signal) => exit_by_signal(signal),
        // It may say that all is well, but there is no result.
        None if record.code == 0 => EXIT_FAILED,
        None => u8::try_from(record.code).unwrap_or(EXIT_FAILED),
    }
}

/// What a refused start means for those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// All workers are taken, or the system is short of something: later.
    Busy,
    /// The daemon is not there, or not any more: maybe another one comes.
    Away,
    /// It is this input that cannot travel.
    Input,
    /// It will not get better.
    Lasting,
}

/// Judges a start that was refused.
#[must_use]
pub fn trouble(error: &StartError) -> Trouble {
    match error {
        StartError::TooLarge { .. } | StartError::Unserializable(_) => Trouble::Input,
        StartError::Timeout(_) | StartError::Daemon(DaemonError::Timeout(_)) => Trouble::Busy,
        StartError::Daemon(error) if error.is_absence() => Trouble::Away,
        StartError::Daemon(DaemonError::Refused(
            Refusal::QueueFull { .. }
            | Refusal::TooManyClients { .. }
            | Refusal::Deadline { .. }
            | Refusal::LimitReached { .. }
            | Refusal::ForkFailed { .. }
            | Refusal::TemplateFailed { retry_after_ms: Some(_), .. },
        )) => Trouble::Busy,
        StartError::System { source, .. } => match source.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOMEM) => Trouble::Busy,
            _ => Trouble::Lasting,
        },
        _ => Trouble::Lasting,
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
