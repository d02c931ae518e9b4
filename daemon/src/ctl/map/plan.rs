//! What goes into the engine, and what comes out: plain values, and the trait of whoever takes
//! results.

use super::failure::Failure;
use crate::ctl::error::CtlError;
use nix::poll::PollFlags;
use serde_json::Value;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done with each input.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where workers come from.
    pub context: mp::Context,
    /// The task.
    pub task: String,
    /// Name of each worker; that of the task and a number by default.
    pub name: Option<String>,
    /// Workers at once.
    pub jobs: usize,
    /// Whether results come in the order of the inputs.
    pub ordered: bool,
    /// How long a task may take.
    pub timeout: Option<Duration>,
    /// Further attempts after a failure that another attempt can help.
    pub retries: u32,
    /// How long a start may wait for a worker.
    pub start_timeout: Option<Duration>,
    /// What the workers may do; `None` leaves that to the daemon.
    pub sandbox: Option<mp::Sandbox>,
    /// How long starts may be refused, for reasons that pass, before that ends everything.
    pub patience: Duration,
}

/// One input under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its number, from 0.
    pub index: u64,
    /// As it was given.
    pub text: String,
    /// The arguments that it means.
    pub arguments: Vec<Value>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// An input that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The input, with its last attempt.
    pub item: Arc<Item>,
    /// What came of it.
    pub result: Result<Value, Failure>,
    /// How long the last attempt took.
    pub took: Duration,
    /// Pid of the last worker, if one was started.
    pub pid: Option<u32>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Inputs, where their number is known.
    pub total: Option<u64>,
    /// Inputs done, failed ones included.
    pub done: u64,
    /// Inputs failed.
    pub failed: u64,
    /// Workers under way.
    pub running: usize,
}

/// Where results go.
pub trait Sink {
    /// Takes what is done, in the order that was asked for.
    fn done(&mut self, done: Done);

    /// What to poll, and for what, besides errors.
    fn watch(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }

    /// Writes what can be written at once.
    ///
    /// # Errors
    /// What the system said; a broken pipe ends everything quietly.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Whether nothing more should be started before some of the output is gone.
    fn is_full(&self) -> bool {
        false
    }

    /// Shows progress; says when it wants to be asked again.
    fn show(&mut self, progress: Progress) -> Option<Duration> {
        let _ = progress;
        None
    }
}

/// Why it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every input is done.
    Done,
    /// This signal came.
    Stopped(i32),
    /// Nobody reads the output any more.
    Unread,
    /// It cannot go on.
    Broken(CtlError),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Why it is over.
    pub end: End,
    /// Inputs done, failed ones included.
    pub done: u64,
    /// Inputs failed.
    pub failed: u64,
    /// Workers that were killed because it was over.
    pub killed: usize,
}
