//! A driver, as the process that tells it what to do sees it.

use super::driver::{BYTES, Sample};
use mpserverd_tests::bench::driver::Driver as Program;
use std::path::Path;

/// A driver that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Driver(Program);

impl Driver {
    /// This program in a role, with so much state in what it forks.
    pub(crate) fn ours(role: &str, bytes: u64, socket: Option<&Path>) -> Result<Self, String> {
        let socket = socket.and_then(Path::to_str);
        let environment = [(BYTES, Some(&*bytes.to_string())), ("MPSERVERD_SOCKET", socket)];
        Program::of_this_program(&["--drive", role], &environment).map(Self)
    }

    /// CPython with one of its start methods.
    pub(crate) fn python(python: &str, method: &str, bytes: u64) -> Result<Self, String> {
        let environment = [(BYTES, Some(&*bytes.to_string()))];
        Program::python(python, "start", &[method], &environment).map(Self)
    }

    /// Gives a command; [`receive`](Self::receive) takes the answer.
    pub(crate) fn send(&mut self, line: &str) -> Result<(), String> {
        self.0.send(line)
    }

    pub(crate) fn receive(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            match self.0.line()? {
                line if line == "end" => return Ok(lines),
                line => lines.push(line),
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
