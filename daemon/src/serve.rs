//! From a configuration to a daemon that serves.

use crate::config::Config;
use crate::launch::Launch;
use crate::pid_file::PidFile;
use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(target_os = "linux")]
pub use crate::server::{Handed, ServeError, check_state};

/// Serves until stopped; with a command, for as long as that runs.
///
/// Says through `launch` when the service is ready. With what an earlier image of the process has
/// left, it goes on from there.
///
/// # Errors
///
/// Why it could not serve.
pub fn run(
    config: Config,
    command: Option<Vec<OsString>>,
    launch: &mut Launch,
    pid_file: Option<PidFile>,
    handed: Option<Handed>,
) -> Result<ExitCode, ServeError> {
    #[cfg(target_os = "linux")]
    return crate::server::run(config, command, launch, pid_file, handed);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (config, command, launch, pid_file, handed);
        Err(ServeError::Unsupported)
    }
}

/// What an earlier image of the process has left: only on Linux there is any.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub enum Handed {}

#[cfg(not(target_os = "linux"))]
impl Handed {
    /// What the environment of this process says that it was left.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        None
    }

    /// What the daemon found when it started first.
    #[must_use]
    pub fn environment(&self) -> crate::config::Environment {
        match *self {}
    }
}

/// `--check-state`: whether a state that comes from standard input could be taken over.
///
/// # Errors
/// Always, here.
#[cfg(not(target_os = "linux"))]
pub fn check_state() -> Result<String, ServeError> {
    Err(ServeError::Unsupported)
}

/// Why the daemon ended otherwise than asked.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Nothing can fork here.
    #[error("mpserverd runs on Linux only so far; programs spawn their workers here")]
    Unsupported,
}

#[cfg(not(target_os = "linux"))]
impl ServeError {
    /// The exit code for it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        crate::cli::EXIT_SYSTEM
    }
}
