//! The command of `mpserverd run -- COMMAND`: the daemon lives as long as it does.

pub(super) mod carry;

use super::ServeError;
use super::Server;
use super::poller::Source;
use crate::core::Event;
use mp::sys::wait;
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::status::{ExitRecord, Reporter};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tracing::info;

/// Workers that outlive the command have this long to end after `SIGTERM`.
const GRACE: Duration = Duration::from_secs(2);

/// The command, before, while and after it runs.
#[derive(Debug)]
pub(super) struct Command {
    words: Vec<OsString>,
    running: Option<(u32, OwnedFd)>,
    ended: Option<ExitRecord>,
}

impl Command {
    pub(super) fn new(words: Vec<OsString>) -> Self {
        Self { words, running: None, ended: None }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(pid, _)| *pid)
    }

    /// What this process exits with: the command's code, or 128 and its signal, as a shell says.
    pub(super) fn exit_code(&self) -> Option<ExitCode> {
        let code = self.ended?.code;
        Some(ExitCode::from(if code < 0 { 128u8.wrapping_add((-code) as u8) } else { code as u8 }))
    }

    pub(super) fn terminate(&self) {
        if let Some((_, pidfd)) = &self.running {
            let _ = wait::signal(pidfd.as_fd(), libc::SIGTERM);
        }
    }

    fn start(&mut self, socket: &Path) -> Result<(), ServeError> {
        let program = self.words.first().cloned().unwrap_or_default();
        let failed = |source| ServeError::Command {
            command: program.to_string_lossy().into_owned(),
            source,
        };
        #[allow(clippy::disallowed_methods, reason = "the user's command")]
        let child = std::process::Command::new(&program)
            .args(self.words.iter().skip(1))
            .env(mp::transport::SOCKET_VARIABLE, socket)
            .env_remove(super::upgrade::exec::HANDOVER)
            .spawn()
            .map_err(failed)?;
        let pid = child.id();
        let pidfd = wait::pidfd_open(pid).map_err(failed)?;
        self.running = Some((pid, pidfd));
        Ok(())
    }
}

impl Server<'_> {
    pub(super) fn command_runs(&self) -> bool {
        self.command.as_ref().is_some_and(|command| command.running.is_some())
    }

    /// Starts the command, once the preloaded templates are ready.
    pub(super) fn start_command(&mut self) {
        let Some(command) = &mut self.command else { return };
        if let Err(error) = command.start(&self.config.socket) {
            self.fail(error);
            return;
        }
        if let Some(pid) = command.pid() {
            info!(pid, "command started");
            if let Err(source) = self.watch_command() {
                self.fail(ServeError::System { call: "epoll_ctl", source });
            }
        }
    }

    /// Watches for the end of a command that runs.
    pub(super) fn watch_command(&self) -> std::io::Result<()> {
        let running = self.command.as_ref().and_then(|command| command.running.as_ref());
        let watch =
            |(_, pidfd): &(u32, OwnedFd)| self.poller.add(pidfd.as_fd(), Source::CommandEnd, false);
        running.map_or(Ok(()), watch)
    }

    /// The command has ended, and with it the daemon.
    pub(super) fn on_command_end(&mut self) {
        let Some(command) = &mut self.command else { return };
        let Some((_, pidfd)) = command.running.take() else { return };
        if let Ok(Some((pid, record))) =
            wait::ended(wait::Whom::Pidfd(pidfd.as_fd()), true, Reporter::Daemon)
        {
            info!(pid, code = record.code, "command ended");
            command.ended = Some(record);
        }
        let policy = StopPolicy::Term;
        self.events.push_back(Event::StopAsked { origin: None, policy, grace: GRACE });
    }
}
