//! Running the new program to see what it says: a child with a deadline, beside a daemon that goes
//! on serving.

use super::binary::Binary;
use super::command_line;
use crate::server::exec::PRIVATE;
use mp::sys::wait;
use mpserverd_proto::status::{ExitRecord, Reporter};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use std::ffi::CStr;
use std::ffi::OsString;
use std::fs::File;
use std::io::Seek;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tracing::debug;

/// How long the new program may take to answer one question.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that it may say.
const ROOM: i64 = 1 << 20;
/// Bytes of what it says that are passed on.
const WORDS_MAX: usize = 2048;

/// A child that runs the new program. Dropped, it is killed; it is reaped as any child is.
#[derive(Debug)]
pub(super) struct Trial {
    what: String,
    pid: u32,
    pidfd: OwnedFd,
    words: File,
    /// What it says on standard output, and has to say there.
    said: File,
    proof: Option<String>,
    deadline: Instant,
}

impl Trial {
    /// The new program reads the configuration as this one did.
    pub(super) fn of_configuration(binary: &Binary, directory: &Path) -> Result<Self, String> {
        let mut words = command_line();
        // Options of `run` stand before its command.
        let at = if words.get(1).is_some_and(|word| word == "run") { 2 } else { 1 };
        words.insert(at.min(words.len()), "--check".into());
        Self::start(binary, &words[1..], Stdio::null(), None, directory)
    }

    /// It reads a state, and says this of it: a program that is no mpserverd cannot.
    pub(super) fn of_state(
        binary: &Binary,
        state: OwnedFd,
        proof: String,
        directory: &Path,
    ) -> Result<Self, String> {
        let mut state = File::from(state);
        state.rewind().map_err(|error| format!("cannot rewind the state: {error}"))?;
        Self::start(binary, &["--check-state".into()], state.into(), Some(proof), directory)
    }

    fn start(
        binary: &Binary,
        arguments: &[OsString],
        stdin: Stdio,
        proof: Option<String>,
        directory: &Path,
    ) -> Result<Self, String> {
        let asked = if proof.is_some() { "--check-state" } else { "--check" };
        let what = format!("`{} {asked}`", binary.path().display());
        let failed = |error: &dyn std::fmt::Display| format!("{what} cannot be run: {error}");
        let words = room(c"words").map_err(|e| failed(&e))?;
        let stderr = words.try_clone().map_err(|e| failed(&e))?;
        let said = room(c"said").map_err(|e| failed(&e))?;
        let stdout = said.try_clone().map_err(|e| failed(&e))?;
        #[allow(clippy::disallowed_methods, reason = "this is the room for it")]
        let mut command = Command::new(binary.path());
        for variable in PRIVATE {
            command.env_remove(variable);
        }
        // A directory that is gone is none that relative paths can lead from.
        if directory.is_dir() {
            command.current_dir(directory);
        }
        let child = command
            .args(arguments)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|error| failed(&error))?;
        let pid = child.id();
        // Our child and not reaped yet: the pid cannot mean another process.
        let pidfd = wait::pidfd_open(pid).map_err(|error| failed(&error))?;
        debug!(pid, what, "trial");
        let deadline = Instant::now() + PATIENCE;
        Ok(Self { what, pid, pidfd, words, said, proof, deadline })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// What came of it: an error says why not. `None` while it runs and has time.
    pub(super) fn verdict(&self) -> Option<Result<(), String>> {
        let what = &self.what;
        match wait::ended(wait::Whom::Pidfd(self.fd()), true, Reporter::Daemon) {
            Ok(None) if Instant::now() < self.deadline => None,
            Ok(None) => {
                let limit = PATIENCE.as_secs();
                Some(Err(format!("{what} did not answer within {limit} s")))
            }
            Ok(Some((_, ExitRecord { code: 0, .. }))) => Some(self.proven()),
            Ok(Some((_, ExitRecord { code, .. }))) => {
                let how = match code {
                    ..0 => format!("was ended by signal {}", code.saturating_neg()),
                    code => format!("exited with {code}"),
                };
                Some(Err(format!("{what} {how}{}", self.words())))
            }
            Err(error) => Some(Err(format!("{what} cannot be waited for: {error}"))),
        }
    }

    /// It succeeded: in what it was asked to do?
    fn proven(&self) -> Result<(), String> {
        match &self.proof {
            Some(proof) if beginning(&self.said).trim_end() != proof => Err(format!(
                "{} succeeded without reading the state: it is no mpserverd",
                self.what
            )),
            _ => Ok(()),
        }
    }

    /// What it said, on one line.
    fn words(&self) -> String {
        let text = beginning(&self.words);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines = lines.collect::<Vec<_>>();
        if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" | ")) }
    }
}

/// A file that a program may write to, and not for ever.
fn room(name: &CStr) -> nix::Result<File> {
    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    ftruncate(&file, ROOM)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW))?;
    Ok(file)
}

/// As much of the text in such a file as is passed on.
fn beginning(file: &File) -> String {
    let mut bytes = vec![0; WORDS_MAX];
    let got = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..got.min(WORDS_MAX)]).into_owned();
    text.trim_end_matches('\0').to_owned()
}

impl Drop for Trial {
    fn drop(&mut self) {
        // One that was reaped is not signalled: its pidfd says so.
        let _ = wait::signal(self.pidfd.as_fd(), libc::SIGKILL);
    }
}
