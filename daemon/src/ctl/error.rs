//! Why a command failed: one line that says what to do, and an exit code.

use crate::cli::{EXIT_SYSTEM, EXIT_USAGE};
use std::fmt;
use std::io;

/// Exit code when a task failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code when the time was up, as `timeout(1)` has it.
pub const EXIT_TIMEOUT: u8 = 124;

/// The exit code for a death by signal, as shells have it.
#[must_use]
pub fn exit_by_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtlError {
    /// What mpctl exits with.
    pub code: u8,
    message: String,
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever was quoted.
        f.write_str(&self.message.replace('\n', " | "))
    }
}

impl std::error::Error for CtlError {}

impl CtlError {
    /// The caller asked for something that cannot be; trying again will not help.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, message: message.into() }
    }

    /// The system or the daemon refused; trying again may help.
    pub fn system(message: impl Into<String>) -> Self {
        Self { code: EXIT_SYSTEM, message: message.into() }
    }

    /// The time was up.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self { code: EXIT_TIMEOUT, message: message.into() }
    }

    /// The daemon answered something else than what was asked.
    pub(super) fn unexpected(reply: &impl fmt::Debug) -> Self {
        let text: String = format!("{reply:?}").chars().take(120).collect();
        Self::system(format!("unexpected answer of the daemon: {text}"))
    }
}

impl From<mp::DaemonError> for CtlError {
    fn from(error: mp::DaemonError) -> Self {
        Self::system(match hint(&error) {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })
    }
}

/// What to look at next.
fn hint(error: &mp::DaemonError) -> Option<&'static str> {
    let mp::DaemonError::Refused(refusal) = error else { return None };
    match refusal {
        mp::Refusal::NoSuchWorker(_) | mp::Refusal::NothingKnown(_) => {
            Some("`mpctl ps --all` lists workers, `mpctl status` templates")
        }
        mp::Refusal::LimitReached { .. } => Some("`mpctl status` shows what is used of it"),
        mp::Refusal::Poisoned { .. } => Some("`mpctl deaths` says how they died"),
        _ => None,
    }
}

impl From<mp::StartError> for CtlError {
    fn from(error: mp::StartError) -> Self {
        match error {
            mp::StartError::TooLarge { .. }
            | mp::StartError::Unserializable(_)
            | mp::StartError::Invalid(_) => Self::usage(error.to_string()),
            other => Self::system(other.to_string()),
        }
    }
}

impl From<io::Error> for CtlError {
    fn from(error: io::Error) -> Self {
        Self::system(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(exit_by_signal(9), 137);
        assert_eq!(exit_by_signal(999), 255);
        assert_eq!(CtlError::from(mp::StartError::TooLarge { limit: 1 }).code, 100);
        assert_eq!(CtlError::from(mp::StartError::NoFreezeSupport).code, 111);
        assert_eq!(CtlError::from(mp::DaemonError::Refused(mp::Refusal::ShuttingDown)).code, 111);
        assert_eq!(CtlError::timeout("late").code, 124);
    }

    #[test]
    fn what_to_look_at_next() {
        let error = mp::DaemonError::Refused(mp::Refusal::NoSuchWorker("w1".into()));
        assert!(CtlError::from(error).to_string().contains("w1; `mpctl ps --all`"));
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(CtlError::usage("a\nb").to_string(), "a | b");
        let long = CtlError::unexpected(&"ü".repeat(1000)).to_string();
        assert!(long.chars().count() < 200, "{long}");
    }
}
