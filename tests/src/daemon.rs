//! A private daemon that takes everything with it when it goes.
//!
//! It has a directory of its own for its socket, runtime files and log. However a test ends, the
//! guard kills the daemon, its templates and its workers: those that descend from it, those that
//! once did, and those whose environment or command line names its directory.

use crate::{eventually, proc};
use mp::daemon::Connection;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a daemon may take to listen: its modules are loaded meanwhile, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a stop may take: the daemon's own grace and some more.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long killed processes may take to vanish.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A private daemon; dropping it ends it and all that belongs to it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Everybody who was ever seen below the daemon.
    seen: Mutex<BTreeSet<proc::Identity>>,
}

impl Daemon {
    /// Starts a daemon with these arguments, beside its socket, and waits until it answers.
    ///
    /// # Panics
    /// With its log when it does not come up.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// The same, with more variables in its environment.
    ///
    /// # Panics
    /// With its log when it does not come up.
    #[must_use]
    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::try_start(arguments, environment).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for who can go on without.
    ///
    /// # Errors
    /// Why it did not come up, with its log.
    pub fn try_start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("cannot start mpserverd: {error}");
        let directory = tempfile::Builder::new().prefix("mpserverd-").tempdir().map_err(text)?;
        let arguments = arguments.iter().map(ToString::to_string).collect::<Vec<_>>();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>();
        let child = launch(directory.path(), &arguments, &environment)?;
        let seen = Mutex::default();
        let mut daemon = Self { child, directory, arguments, environment, seen };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let error = match Connection::open(&self.socket(), Some(deadline)) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("mpserverd did not start ({status}):\n{}", self.log()));
            }
            if !error.is_absence() || Instant::now() >= deadline {
                return Err(format!("mpserverd does not answer: {error}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// The directory that it has for itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(log(self.directory.path())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A context whose workers come from this daemon, or not at all: a test must not pass because
    /// its processes were spawned.
    #[must_use]
    pub fn context(&self) -> mp::Context {
        mp::get_context(mp::StartMethod::ForkServer)
            .with_socket(self.socket())
            .with_fallback(mp::Fallback::Fail)
    }

    /// A connection of its own.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[must_use]
    pub fn connect(&self) -> Connection {
        let deadline = Some(Instant::now() + START_TIMEOUT);
        Connection::open(&self.socket(), deadline).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs `mpctl` with these arguments against this daemon.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn mpctl(&self, arguments: &[&str]) -> Output {
        private(&crate::build::artifacts().mpctl, self.directory.path())
            .arg("--socket")
            .arg(self.socket())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("mpctl runs")
    }

    /// Processes below the daemon.
    #[must_use]
    pub fn descendants(&self) -> Vec<u32> {
        proc::descendants(self.pid())
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("the daemon runs");
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Panics
    /// With its log when it does not end in time.
    pub fn stop(&mut self) -> ExitStatus {
        self.look();
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for the end of a daemon that was asked to end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        let in_time = eventually(STOP_TIMEOUT, || {
            ended = self.child.try_wait().expect("the daemon is a child of this process");
            ended.is_some()
        });
        assert!(in_time, "mpserverd did not end within {STOP_TIMEOUT:?}");
        ended.expect("it has ended")
    }

    /// Kills it, as a crash would end it. Its templates and workers live on.
    pub fn kill(&mut self) {
        self.look();
        self.crash();
    }

    /// The same at once, for who measures what follows: the caller has asked for
    /// [`remains`](Self::remains) just before, so that everybody is known who is to be cleared away.
    pub fn crash(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after its end, with the same arguments at the same place.
    ///
    /// # Panics
    /// When it has not ended; with its log when it does not come up.
    pub fn restart(&mut self) {
        let ended = matches!(self.child.try_wait(), Ok(Some(_)));
        assert!(ended, "the daemon still runs");
        let child = launch(self.directory.path(), &self.arguments, &self.environment);
        self.child = child.unwrap_or_else(|error| panic!("{error}"));
        self.wait_until_ready().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Everything that belongs to it and runs, the daemon itself included.
    #[must_use]
    pub fn remains(&self) -> Vec<u32> {
        self.look();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let there = |process: &&proc::Identity| proc::identity(process.pid) == Some(**process);
        seen.iter().filter(there).map(|p| p.pid).filter(|pid| proc::is_running(*pid)).collect()
    }

    /// Takes down who belongs to the daemon now: once it is dead, nothing else tells.
    fn look(&self) {
        let mut pids = proc::mentioning(self.directory.path());
        if proc::is_running(self.pid()) {
            pids.push(self.pid());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.iter().copied().chain(pids.into_iter().filter_map(proc::identity));
        let known = known.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
        *seen = proc::families(&known).into_iter().collect();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Repeated: who is killed may just have forked.
        let gone = eventually(KILL_TIMEOUT, || {
            let remains = self.remains();
            remains.iter().copied().filter_map(proc::identity).for_each(proc::kill_exactly);
            let _ = self.child.try_wait();
            remains.is_empty()
        });
        if std::thread::panicking() {
            eprintln!("--- log of mpserverd {}\n{}---", self.pid(), self.log());
        }
        if !gone {
            eprintln!("processes of mpserverd {} are left: {:?}", self.pid(), self.remains());
        }
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("mpserverd.sock")
}

fn log(directory: &Path) -> PathBuf {
    directory.join("stderr.log")
}

/// A command that sees no daemon but the one in this directory.
#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
fn private(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_bytes = name.as_encoded_bytes();
        if ["MPSERVERD_", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_"]
            .iter()
            .any(|prefix| name_bytes.starts_with(prefix.as_bytes()))
        {
            command.env_remove(name);
        }
    }
    command.env("XDG_RUNTIME_DIR", directory).env("MPSERVERD_SOCKET", socket(directory));
    command
}

fn launch(
    directory: &Path,
    arguments: &[String],
    environment: &[(String, String)],
) -> Result<Child, String> {
    let program = &crate::build::try_artifacts()?.mpserverd;
    let text = |error: std::io::Error| format!("cannot start {}: {error}", program.display());
    let log = File::options().create(true).append(true).open(log(directory)).map_err(text)?;
    private(program, directory)
        .arg("--socket")
        .arg(socket(directory))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(text)?)
        .stderr(log)
        .spawn()
        .map_err(text)
}
