//! A measured process, as the one that tells it what to do sees it.

use super::worker::{Order, Part, Span, perform, text};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// How long a process may take for an answer that takes milliseconds: a sign that it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that obeys orders; dropping it ends it.
#[derive(Debug)]
pub(crate) enum Remote {
    /// This program again.
    Ours(Ours),
    /// CPython.
    Python(Python),
}

impl Remote {
    pub(crate) fn send(&mut self, order: Order) -> Result<(), String> {
        match self {
            Self::Ours(ours) => ours.control.send(&order).map_err(text),
            Self::Python(python) => python.send(order),
        }
    }

    pub(crate) fn receive(&mut self) -> Result<Span, String> {
        match self {
            Self::Ours(ours) => ours.hear::<Result<Span, String>>()?,
            Self::Python(python) => python.receive(),
        }
    }
}

/// A worker of this program.
#[derive(Debug)]
pub(crate) struct Ours {
    control: mp::Connection,
    process: mp::Process<Result<(), String>>,
}

impl Ours {
    /// Starts one, without a word about whether it is [ready](Self::ready).
    pub(crate) fn start(part: Part) -> Result<Self, String> {
        let (control, theirs) = mp::pipe(true).map_err(text)?;
        let context = mp::get_context(mp::StartMethod::Spawn);
        let process = context.process::<perform>((theirs, part)).daemon(true).start();
        Ok(Self { control, process: process.map_err(text)? })
    }

    /// What it says next.
    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, String> {
        self.control.recv_timeout(PATIENCE).map_err(text)
    }

    pub(crate) fn ready(self) -> Result<Remote, String> {
        self.hear::<Result<(), String>>()??;
        Ok(Remote::Ours(self))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.control.close();
        if self.process.join_timeout(PATIENCE).is_none() {
            // It hangs; nothing else can be done about it.
            let _ = self.process.kill();
        }
    }
}

/// `peer.py`, which starts further processes itself.
#[derive(Debug)]
pub(crate) struct Python {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Python {
    pub(crate) fn start(python: &str, arguments: &[String]) -> Result<Self, String> {
        let mut command = command(python);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/ipc");
        command
            .args(["-B", "-c", "import peer; peer.main()"])
            .args(arguments)
            .env("PYTHONPATH", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{python}: {error}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut python = Self { child, input, output };
        match python.line()?.as_str() {
            "ready" => Ok(python),
            other => Err(other.to_owned()),
        }
    }

    pub(crate) fn ready(self) -> Remote {
        Remote::Python(self)
    }

    fn send(&mut self, order: Order) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("closed")?;
        let sent = match order {
            Order::Count(count) => writeln!(input, "count {count}"),
            Order::Time(time) => writeln!(input, "time {time}"),
        };
        sent.map_err(text)
    }

    fn line(&mut self) -> Result<String, String> {
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
            Ok(_) => Ok(line.trim().to_owned()),
        }
    }

    /// Three numbers, or an error.
    pub(crate) fn numbers(&mut self) -> Result<[u64; 3], String> {
        let line = self.line()?;
        let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<_>, _>>();
        numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or(line)
    }

    fn receive(&mut self) -> Result<Span, String> {
        let [begin, end, count] = self.numbers()?;
        Ok(Span { begin, end, count })
    }
}

#[allow(clippy::disallowed_methods, reason = "what is measured runs in processes of its own")]
fn command(program: &str) -> Command {
    Command::new(program)
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.input.take());
        let ended = || matches!(self.child.try_wait(), Ok(Some(_)));
        if !mpserverd_tests::eventually(PATIENCE, ended) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
