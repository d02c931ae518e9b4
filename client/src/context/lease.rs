//! How a context gets a worker, on Linux: the daemon, the fallback, the spawned program.

use super::{Context, Fallback, global};
use crate::bounds::Limits;
use crate::error::{DaemonError, StartError};
use crate::logging::TARGET;
use crate::start::forkserver::{self, Purpose, Wanted};
use crate::start::spawn::{self, Preload};
use crate::start::{FOREVER, Lease};
use crate::{current, transport};
use mpserverd_proto::error::Refusal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// How long a start may wait for a worker unless told otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a daemon that refuses for the moment is asked again, if workers can be spawned instead.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// The longest pause that is made without the daemon's advice.
const BUSY_PAUSE_MOST: Duration = Duration::from_secs(2);
/// How long a daemon that was started automatically may take to listen.
const AUTOSTART_TIMEOUT: Duration = Duration::from_secs(10);

impl Context {
    /// The daemon's socket that descendants shall use, if one was chosen or inherited.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        self.socket.clone().or_else(current::inherited_socket)
    }

    /// A worker by `spawn`.
    pub(crate) fn spawn_lease(&self) -> Result<Lease, StartError> {
        let executable = global().executable.clone();
        refuse_without_freeze_support(executable.as_deref())?;
        spawn::lease(executable.as_deref(), &self.preload())
    }

    fn preload(&self) -> Preload {
        let global = global();
        let modules = self.modules.clone().or_else(current::inherited_modules);
        let modules = modules.unwrap_or_else(|| global.preload.clone());
        Preload { modules, on_error: global.on_error }
    }

    /// A worker by `forkserver`, or what the fallback says.
    pub(crate) fn forkserver_lease(
        &self,
        purpose: Purpose<'_>,
        timeout: Option<Duration>,
        limits: &Limits,
    ) -> Result<Lease, StartError> {
        let timeout = timeout.unwrap_or(START_TIMEOUT).min(FOREVER);
        let deadline = Instant::now() + timeout;
        let wanted = self.wanted()?;
        let error = match self.ask_patiently(&wanted, purpose, deadline) {
            Ok(lease) => return Ok(lease),
            Err(error) => error,
        };
        match (error, self.fallback) {
            // Whoever noticed first that the time was over: this process or the daemon.
            (DaemonError::Timeout(_) | DaemonError::Refused(Refusal::Deadline { .. }), _) => {
                Err(StartError::Timeout(timeout))
            }
            (error, Fallback::Spawn) if error.is_absence() || error.retry_after().is_some() => {
                limits.without_daemon()?;
                self.say_once(&error);
                self.spawn_lease()
            }
            (error, Fallback::Autostart) if error.is_absence() => {
                let path = self.autostart()?;
                forkserver::lease(&path, &wanted, purpose, deadline, false)
                    .map_err(StartError::from)
            }
            (error, _) => Err(error.into()),
        }
    }

    fn wanted(&self) -> Result<Wanted, StartError> {
        let global = global();
        Ok(match self.modules.clone().or_else(current::inherited_modules) {
            Some(modules) => Wanted { executable: None, modules, on_error: global.on_error },
            None => {
                refuse_without_freeze_support(global.executable.as_deref())?;
                let executable = global.executable.clone();
                Wanted {
                    executable: Some(executable.unwrap_or_else(|| "/proc/self/exe".into())),
                    modules: global.preload.clone(),
                    on_error: global.on_error,
                }
            }
        })
    }

    /// Asks again, later and later, as long as the daemon refuses for the moment only: until the
    /// deadline, or for a moment where a worker can be spawned instead.
    fn ask_patiently(
        &self,
        wanted: &Wanted,
        purpose: Purpose<'_>,
        deadline: Instant,
    ) -> Result<Lease, DaemonError> {
        let until = match self.fallback {
            Fallback::Spawn => deadline.min(Instant::now() + BUSY_PATIENCE),
            Fallback::Autostart | Fallback::Fail => deadline,
        };
        let mut least = Duration::ZERO;
        loop {
            let error = match self.ask_daemons(wanted, purpose, deadline) {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            let Some(pause) = error.retry_after().map(|advice| advice.max(least)) else {
                return Err(error);
            };
            if Instant::now() + pause >= until {
                return Err(error);
            }
            tracing::debug!(target: TARGET, ?pause, "trying again: {error}");
            std::thread::sleep(pause);
            least = (pause * 2).min(BUSY_PAUSE_MOST);
        }
    }

    /// Asks each daemon that there may be, in order.
    fn ask_daemons(
        &self,
        wanted: &Wanted,
        purpose: Purpose<'_>,
        deadline: Instant,
    ) -> Result<Lease, DaemonError> {
        let chosen = self.socket();
        // Who can spawn instead need not wait for the next daemon.
        let patient = self.fallback != Fallback::Spawn;
        let mut first_error = None;
        for path in transport::candidates(chosen.as_deref()) {
            match forkserver::lease(&path, wanted, purpose, deadline, patient) {
                Err(error) if error.is_absence() => {
                    first_error.get_or_insert(error);
                }
                other => return other,
            }
        }
        Err(first_error.unwrap_or_else(|| DaemonError::Protocol("no socket to try".to_owned())))
    }

    fn say_once(&self, error: &DaemonError) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing::warn!(target: TARGET, "forkserver falls back to spawn: {error}");
        });
    }

    /// Runs a daemon for this user and waits until it listens.
    fn autostart(&self) -> Result<PathBuf, StartError> {
        use std::os::unix::process::CommandExt;
        let chosen = self.socket();
        let candidates = transport::candidates(chosen.as_deref());
        let path = candidates.into_iter().next().unwrap_or_else(transport::default_socket);
        #[allow(clippy::disallowed_methods, reason = "this is the room for it")]
        let mut daemon = Command::new("mpserverd")
            .arg("--socket")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(StartError::system("mpserverd (is it on the PATH?)"))?;
        let deadline = Instant::now() + AUTOSTART_TIMEOUT;
        loop {
            match crate::daemon::Connection::open(&path, Some(deadline)) {
                Ok(_) => return Ok(path),
                Err(error) if error.is_absence() && Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
            // Two programs may start one at the same time: the second daemon refuses and exits,
            // which is fine as long as the first one comes up.
            let _ = daemon.try_wait();
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A program that does not call `freeze_support` would run its own `main` again as its worker.
fn refuse_without_freeze_support(executable: Option<&Path>) -> Result<(), StartError> {
    if executable.is_none() && !crate::is_frozen() {
        return Err(StartError::NoFreezeSupport);
    }
    Ok(())
}
