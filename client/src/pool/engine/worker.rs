//! A worker, as the engine knows it.

use super::super::channel::Channel;
use super::call::Fate;
use super::chunk::Sent;
use super::stderr::Voice;
use crate::process::Handle;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// A worker gets more, behind what it runs, while all of it is expected to end so soon,
/// nanoseconds.
pub(super) const LOAD_MOST: u64 = 200_000;
/// It never has more frames than this.
const FRAMES_MOST: usize = 512;
/// It never has more bytes behind what it runs than this.
const BYTES_MOST: usize = 8 << 20;

/// What a worker is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its process was started and has not said that it is ready.
    Starting,
    /// It is ready before its time: the pool has as many workers as it should.
    Standby,
    /// It has tasks, or waits for some.
    Working,
    /// It has been told to end.
    Leaving {
        /// When it is killed if it has not.
        kill_at: Instant,
    },
}

/// A task that was asked to stop.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) frame: u32,
    /// Number of the item within the frame; `None` for all that are left of it.
    pub(super) item: Option<u32>,
    pub(super) why: Fate,
    pub(super) kill_at: Instant,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) process: Handle,
    pub(super) channel: Channel,
    pub(super) phase: Phase,
    pub(super) voice: Option<Arc<Voice>>,
    /// What it has, in the order in which it will answer.
    pub(super) sent: VecDeque<Sent>,
    /// Sum of the estimates of that, and of its bytes.
    pub(super) load: u64,
    pub(super) bytes: usize,
    /// Items it was given, items it may be given, items it has answered.
    pub(super) given: u64,
    pub(super) given_most: u64,
    pub(super) done: u64,
    pub(super) started: Instant,
    /// Since when the time of its next answer counts.
    pub(super) busy_since: Instant,
    /// Tasks that it knows.
    pub(super) defined: Vec<u32>,
    pub(super) stopping: Option<Stopping>,
    /// Another one was ordered in its place.
    pub(super) has_successor: bool,
    /// It ends as soon as another one is ready: it is too old, or too large.
    pub(super) is_due: bool,
    /// It gets nothing more.
    pub(super) is_finishing: bool,
    pub(super) is_killed: bool,
    /// Its end of the channel is closed: it has ended, or is about to.
    pub(super) is_gone: bool,
    /// It has been seen to end.
    pub(super) dead_since: Option<Instant>,
    pub(super) private_bytes: u64,
    /// Items it had answered when its memory was looked at.
    pub(super) done_when_measured: u64,
    /// It stands in the list of those without work.
    pub(super) is_listed: bool,
    /// Something was pushed that it has not been told of.
    pub(super) is_dirty: bool,
    /// Its ring, or its socket, was full the last time.
    pub(super) is_full: bool,
}

impl Worker {
    /// Whether it may be given anything.
    pub(super) fn takes_work(&self) -> bool {
        self.phase == Phase::Working
            && !self.is_finishing
            && self.given < self.given_most
            && self.stopping.is_none()
            && self.dead_since.is_none()
            && !self.is_killed
            && !self.is_gone
            && !self.is_full
    }

    /// Whether it may be given something to run at once.
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.takes_work()
    }

    /// Whether it may be given something, if only to have it at hand.
    pub(super) fn has_room(&self) -> bool {
        self.takes_work()
            && (self.sent.is_empty()
                || (self.load < LOAD_MOST
                    && self.sent.len() < FRAMES_MOST
                    && self.bytes < BYTES_MOST))
    }

    /// Whether it has given its last answer.
    pub(super) fn is_spent(&self) -> bool {
        self.sent.is_empty() && (self.is_finishing || self.given >= self.given_most)
    }

    /// Whether it is one of those that the pool should have.
    pub(super) fn counts(&self) -> bool {
        !self.has_successor
            && self.dead_since.is_none()
            && !self.is_killed
            && !matches!(self.phase, Phase::Leaving { .. })
    }

    /// Whether it takes one of the places of those that work at the same time.
    pub(super) fn is_seated(&self) -> bool {
        self.phase == Phase::Working && self.dead_since.is_none()
    }

    /// Ends it. It is noticed when it has.
    pub(super) fn kill(&mut self) {
        self.is_killed = true;
        if let Err(error) = self.process.kill() {
            tracing::warn!(worker = self.name, %error, "a worker cannot be killed");
        }
    }

    /// It has closed its end of the channel. Who does that ends; one that only lost a descriptor is
    /// of no use and would never be noticed. How it ended is told as if nobody had done anything.
    pub(super) fn give_up(&mut self) {
        self.is_gone = true;
        // It may have ended by itself, which is what is expected.
        let _ = self.process.kill();
    }

    /// Lets it end by itself, after what it has; it is killed if it has not by then.
    pub(super) fn leave(&mut self, kill_at: Instant) {
        if !matches!(self.phase, Phase::Leaving { .. }) {
            self.channel.retire();
        }
        self.phase = Phase::Leaving { kill_at };
    }
}
