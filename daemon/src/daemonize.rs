//! Going into the background. The only file that names the crate `daemonize`.
//!
//! Callers must not have started a thread: the process forks, and only the calling thread comes
//! along. Of the crate only the two forks and the new session are used: its pid file is not written
//! in one piece, its parent reports success before the daemon is ready, and its
//! `privileged_action` is unsound.

use crate::launch::{Launch, wait};
use ::daemonize::{Daemonize, Outcome, Stdio};
use nix::sys::stat::{Mode, umask};
use std::path::Path;

/// Which of the two processes this is now.
#[derive(Debug)]
pub enum Side {
    /// The one that was started: it waited for the daemon, and has its exit code and reason.
    Parent {
        /// 0 if the daemon is ready.
        code: u8,
        /// Why not; empty if it is.
        reason: String,
    },
    /// The daemon, in a session of its own, in `/`, without a terminal.
    Daemon(Launch),
}

/// Why the process could not go into the background.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// Standard error cannot go to the log file.
    #[error("cannot open the log file: {0}")]
    Log(std::io::Error),
    /// No pipe for the daemon's word.
    #[error("cannot make a pipe: {0}")]
    Pipe(std::io::Error),
    /// The system refused a step.
    #[error("cannot go into the background: {0}")]
    Detach(::daemonize::Error),
}

/// Goes into the background. What panics and libraries write to standard error goes to the log
/// file, if there is one.
///
/// All paths must be absolute by now: the daemon's directory is `/`. The file mode mask stays as
/// it is.
///
/// # Errors
///
/// What the system refused. In the child such an error ends the process, and the parent tells of
/// it as if the daemon had.
pub fn detach(log_file: Option<&Path>) -> Result<Side, DetachError> {
    let stderr = match log_file {
        None => Stdio::devnull(),
        Some(path) => {
            let opened = std::fs::File::options().create(true).append(true).open(path);
            opened.map_err(DetachError::Log)?.into()
        }
    };
    let (reader, writer) = std::io::pipe().map_err(DetachError::Pipe)?;
    let mask = umask(Mode::empty());
    umask(mask);
    #[allow(clippy::useless_conversion, reason = "the type differs between platforms")]
    let mask = u32::from(mask.bits());
    let steps = Daemonize::new().working_directory("/").umask(mask).stderr(stderr);
    match steps.execute() {
        Outcome::Parent(Ok(_)) => {
            drop(writer);
            let (code, reason) = wait(reader);
            Ok(Side::Parent { code, reason })
        }
        Outcome::Child(Ok(_)) => Ok(Side::Daemon(Launch::with_parent(writer))),
        Outcome::Child(Err(error)) => {
            Launch::with_parent(writer)
                .failed(crate::cli::EXIT_SYSTEM, &DetachError::Detach(error).to_string());
            std::process::exit(i32::from(crate::cli::EXIT_SYSTEM))
        }
        Outcome::Parent(Err(error)) => Err(DetachError::Detach(error)),
    }
}
