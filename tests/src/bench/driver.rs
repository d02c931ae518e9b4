//! A program that is measured, as the one that tells it what to do sees it.

use super::{PATIENCE, text};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;

/// A program that answers lines with lines, and ends when its standard input does; dropping it
/// ends it, and those of its children that it leaves behind.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

#[allow(clippy::disallowed_methods, reason = "what is measured runs in processes of its own")]
fn command(program: impl AsRef<Path>) -> Command {
    Command::new(program.as_ref())
}

impl Driver {
    /// This very program, with other arguments and more variables in its environment.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn of_this_program(
        arguments: &[&str],
        environment: &[(&str, Option<&str>)],
    ) -> Result<Self, String> {
        let mut command = command(std::env::current_exe().map_err(text)?);
        Self::start(command.args(arguments), environment)
    }

    /// CPython that runs `main()` of the module `peer` in a folder of `benches`. So the main module
    /// is none that its children would have to import.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn python<S: AsRef<str>>(
        python: &str,
        folder: &str,
        arguments: &[S],
        environment: &[(&str, Option<&str>)],
    ) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(folder);
        let mut command = command(python);
        command.args(["-B", "-c", "import peer; peer.main()"]).env("PYTHONPATH", folder);
        command.args(arguments.iter().map(AsRef::as_ref));
        Self::start(&mut command, environment)
    }

    fn start(command: &mut Command, environment: &[(&str, Option<&str>)]) -> Result<Self, String> {
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // A group of its own, with which its children can be ended.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let child = command.spawn();
        let mut child =
            child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output })
    }

    /// Gives a command.
    ///
    /// # Errors
    /// It is gone.
    pub fn send(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("closed")?;
        input
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| format!("it is gone: {error}"))
    }

    /// Its next line.
    ///
    /// # Errors
    /// It is gone, hangs, or says `error: …`.
    pub fn line(&mut self) -> Result<String, String> {
        if self.output.buffer().is_empty() {
            let time = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, time).map_err(text)? == 0 {
                return Err("no answer".to_owned());
            }
        }
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) | Err(_) => Err("it ended without an answer".to_owned()),
            Ok(_) => match line.trim().strip_prefix("error: ") {
                Some(error) => Err(error.to_owned()),
                None => Ok(line.trim().to_owned()),
            },
        }
    }

    /// Waits for the line `ready`, which another line in its place is a reason not to be.
    ///
    /// # Errors
    /// As [`line`](Self::line), or that reason.
    pub fn ready(mut self) -> Result<Self, String> {
        match self.line()?.as_str() {
            "ready" => Ok(self),
            other => Err(other.to_owned()),
        }
    }

    /// Its next line, which is numbers.
    ///
    /// # Errors
    /// As [`line`](Self::line), or what it says in place of numbers.
    pub fn numbers<T: FromStr>(&mut self) -> Result<Vec<T>, String> {
        let line = self.line()?;
        line.split(' ').map(|word| word.parse().map_err(|_| line.clone())).collect()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.input.take());
        if let Ok(pid) = i32::try_from(self.child.id()).map(Pid::from_raw) {
            // It is not reaped yet, so that its group can be nobody else's.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let ended = || match waitid(Id::Pid(pid), flags) {
                Ok(status) => status != WaitStatus::StillAlive,
                Err(_) => true,
            };
            let _ = crate::eventually(PATIENCE / 6, ended);
            let _ = killpg(pid, Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
