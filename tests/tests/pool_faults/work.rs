//! Tasks that log themselves, and end their worker if they are told to.

use crate::log;
use std::time::{Duration, Instant};

/// What a task does when it has worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Deed {
    Return,
    Panic,
    Abort,
    Exit,
    Overflow,
}

impl Deed {
    /// Whether it ends the worker.
    pub(crate) fn is_deadly(self) -> bool {
        matches!(self, Self::Abort | Self::Exit | Self::Overflow)
    }
}

/// A task to be.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Work {
    pub(crate) number: u64,
    pub(crate) micros: u64,
    pub(crate) deed: Deed,
}

/// What a task of this number returns.
pub(crate) fn result_of(number: u64) -> u64 {
    3 * number
}

/// A task of no time that is in no log.
#[mp::task]
pub(crate) fn plain(number: u64) -> u64 {
    result_of(number)
}

#[mp::task]
pub(crate) fn work(what: Work) -> u64 {
    log::own().begin(what.number);
    pass(Duration::from_micros(what.micros));
    match what.deed {
        Deed::Return => {}
        Deed::Panic => panic!("task {} is told to", what.number),
        Deed::Abort => std::process::abort(),
        Deed::Exit => std::process::exit(3),
        Deed::Overflow => drop(overflow(what.number)),
    }
    log::own().end(what.number);
    result_of(what.number)
}

/// Sleeps, or spins if that is too short for a sleep.
fn pass(time: Duration) {
    if time >= Duration::from_millis(1) {
        return std::thread::sleep(time);
    }
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 128]);
    if frame[0] == u64::MAX { 0 } else { overflow(depth + 1) + frame[1] }
}

/// Never ends, and does not listen.
#[mp::task]
pub(crate) fn hang(number: u64) -> u64 {
    log::own().begin(number);
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
