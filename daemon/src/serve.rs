//! From a configuration to a daemon that serves.

use crate::cli::EXIT_SYSTEM;
use crate::config::Config;
use crate::launch::Launch;
use std::ffi::OsString;
use std::process::ExitCode;

/// Why the daemon ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// This build cannot serve.
    #[error("this build of mpserverd cannot serve yet")]
    Unsupported,
}

impl ServeError {
    /// The exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unsupported => EXIT_SYSTEM,
        }
    }
}

/// Serves until stopped; with a command, for as long as that runs.
///
/// Says through `launch` when the service is ready.
///
/// # Errors
///
/// Why it could not serve.
pub fn run(
    config: Config,
    command: Option<Vec<OsString>>,
    launch: &mut Launch,
) -> Result<ExitCode, ServeError> {
    let _ = (config, command, launch);
    Err(ServeError::Unsupported)
}
