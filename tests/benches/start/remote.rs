//! A driver, as the process that tells it what to do sees it.

use super::driver::{BYTES, Sample};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// How long a driver may take to end by itself.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// A driver that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// This program in a role, with so much state in what it forks.
    pub(crate) fn ours(role: &str, bytes: u64, socket: Option<&Path>) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = command(&program);
        command.args(["--drive", role]).env(BYTES, bytes.to_string());
        match socket {
            Some(socket) => command.env("MPSERVERD_SOCKET", socket),
            None => command.env_remove("MPSERVERD_SOCKET"),
        };
        Self::start(command)
    }

    /// CPython with one of its start methods.
    pub(crate) fn python(method: &str, bytes: u64) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/start");
        let mut command = command(Path::new("python3"));
        command
            .args(["-B", "-c", "import peer; peer.main()", method])
            .env("PYTHONPATH", folder)
            .env(BYTES, bytes.to_string());
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output })
    }

    /// Gives a command; [`receive`](Self::receive) takes the answer.
    pub(crate) fn send(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("closed")?;
        writeln!(input, "{line}").map_err(|error| format!("a driver is gone: {error}"))
    }

    pub(crate) fn receive(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.output.read_line(&mut line) {
                Ok(0) | Err(_) => return Err("a driver ended without an answer".to_owned()),
                Ok(_) if line == "end\n" => return Ok(lines),
                Ok(_) if line.starts_with("error: ") => return Err(line[7..].trim().to_owned()),
                Ok(_) => lines.push(line.trim().to_owned()),
            }
        }
    }

    pub(crate) fn samples(&mut self, line: &str) -> Result<Vec<Sample>, String> {
        self.send(line)?;
        let pairs = self.receive()?.into_iter().map(|line| pair(&line));
        pairs.map(|pair| pair.map(|(first, total)| Sample { first, total })).collect()
    }

    /// Starts a second, out of the answer to `rate`.
    pub(crate) fn rate(&mut self) -> Result<f64, String> {
        let lines = self.receive()?;
        let (count, nanos) = pair(lines.first().ok_or("no rate")?)?;
        Ok(count as f64 * 1e9 / nanos.max(1) as f64)
    }
}

fn pair(line: &str) -> Result<(u64, u64), String> {
    let numbers = line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.ok_or_else(|| format!("unexpected answer {line}"))
}

#[allow(clippy::disallowed_methods, reason = "what is measured runs in processes of its own")]
pub(crate) fn command(program: &Path) -> Command {
    Command::new(program)
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.input.take());
        let ended = || matches!(self.child.try_wait(), Ok(Some(_)));
        if !mpserverd_tests::eventually(END_TIMEOUT, ended) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
