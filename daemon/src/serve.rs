//! From a configuration to a daemon that serves.

use crate::config::Config;
use crate::launch::Launch;
use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(target_os = "linux")]
pub use crate::server::ServeError;

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
    #[cfg(target_os = "linux")]
    return crate::server::run(config, command, launch);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (config, command, launch);
        Err(ServeError::Unsupported)
    }
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
