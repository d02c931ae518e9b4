//! Feeds a map: takes inputs as workers want them, in chunks of a good size, and gives outcomes as
//! they come.

use super::decode;
use super::engine::{Call, Engine, Fate, Inbox, Kind, Packer};
use super::error::{PoolError, TaskFailure};
use super::input::{Fed, Feed};
use super::progress::Meter;
use crate::sync::raw::atomics::Deadline;
use crate::task::Task;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A chunk should take so long, nanoseconds: then its way costs one part in a hundred.
const CHUNK_TIME: u64 = 100_000;
/// Towards the end chunks become smaller, but not shorter than this.
const CHUNK_TIME_LEAST: u64 = 10_000;
/// Most inputs of a chunk.
const CHUNK_MOST: u64 = 1 << 14;
/// A chunk is not made larger than this by further inputs, bytes.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Inputs of a chunk before anything is known of their task, if all are submitted at once.
const CHUNK_UNKNOWN: u64 = 64;

/// How a map is to be run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) chunk: Option<u64>,
    pub(super) window: Option<u64>,
    pub(super) deadline: Option<Duration>,
    pub(super) retries: u32,
}

impl Plan {
    /// How many inputs the next chunk should have.
    fn chunk(&self, average: Option<u64>, left: Option<u64>, workers: u64) -> u64 {
        if let Some(chunk) = self.chunk {
            return chunk;
        }
        let Some(average) = average.filter(|_| self.deadline.is_none()) else { return 1 };
        let most = (CHUNK_TIME / average.max(1)).clamp(1, CHUNK_MOST);
        let least = (CHUNK_TIME_LEAST / average.max(1)).clamp(1, most);
        let share = left.map_or(most, |left| left / (2 * workers));
        share.clamp(least, most)
    }

    /// The same where all inputs are submitted at once.
    pub(super) fn chunk_of_known(&self, engine: &Engine, task: u32, left: Option<u64>) -> u64 {
        let workers = engine.settings.processes as u64;
        let average = engine.average(task);
        let share = left.map_or(1, |left| left.div_ceil(4 * workers)).max(1);
        match (self.chunk, self.deadline, average) {
            (Some(chunk), _, _) => chunk,
            (None, Some(_), _) => 1,
            (None, None, None) => share.min(CHUNK_UNKNOWN),
            (None, None, Some(_)) => self.chunk(average, None, workers).min(share),
        }
    }
}

/// A map under way.
pub(super) struct Feeder<'a, F> {
    engine: Arc<Engine>,
    call: Arc<Call>,
    plan: Plan,
    feed: F,
    packer: Packer,
    /// Number of the next input.
    next: u64,
    total: Option<u64>,
    /// Inputs that have an outcome without having been submitted.
    own: Vec<(u64, TaskFailure)>,
    /// No further input will be taken.
    is_done: bool,
    meter: Meter<'a>,
}

impl<F> fmt::Debug for Feeder<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeder")
            .field("call", &self.call)
            .field("next", &self.next)
            .field("is_done", &self.is_done)
            .finish_non_exhaustive()
    }
}

impl<'a, F: Feed> Feeder<'a, F> {
    pub(super) fn new(
        engine: Arc<Engine>,
        task: Kind,
        plan: Plan,
        feed: F,
        meter: Meter<'a>,
    ) -> Self {
        let call = Call::stream(task, plan.deadline, plan.retries);
        let total = feed.left();
        let (packer, own) = (Packer::default(), Vec::new());
        Self { engine, call, plan, feed, packer, next: 0, total, own, is_done: false, meter }
    }

    /// Takes inputs while there are fewer under way than there should be. Under way are those
    /// without an outcome; or, where `given` says how many somebody has taken, all others.
    pub(super) fn fill(&mut self, given: Option<u64>) {
        if self.is_done {
            return;
        }
        let workers = self.engine.settings.processes as u64;
        let average = self.engine.average(self.call.task);
        while !self.is_done {
            let chunk = self.plan.chunk(average, self.feed.left(), workers);
            let window = self.plan.window.unwrap_or_else(|| self.engine.window(average, chunk));
            let under_way = match given {
                Some(given) => self.next - given,
                None => self.call.tally().under_way(),
            };
            let room = window.saturating_sub(under_way);
            if room == 0 {
                return;
            }
            self.send(chunk.min(room));
        }
    }

    /// Takes so many inputs and submits them.
    fn send(&mut self, most: u64) {
        let first = self.next;
        let (mut fds, mut refused) = (Vec::new(), None);
        match self.feed.pack(&mut self.packer, most) {
            Fed::Full => {}
            Fed::Handles(handles) => fds = handles,
            Fed::Unfit(error) => refused = Some(TaskFailure::Unserializable(error.to_string())),
            Fed::Panicked(panic) => {
                self.is_done = true;
                refused = Some(TaskFailure::InputPanicked(panic));
            }
            Fed::End => self.is_done = true,
        }
        self.next += u64::from(self.packer.count());
        if self.packer.count() > 0 {
            let count = u64::from(self.packer.count());
            let chunks = self.packer.pack_with(&self.call, first, fds);
            match self.engine.submit(chunks, false) {
                Ok(()) => self.call.submit(count),
                Err(error) => return self.refuse_from(first, &error),
            }
        }
        if let Some(failure) = refused {
            self.settle_own(failure);
        }
    }

    /// The next input has this outcome.
    fn settle_own(&mut self, failure: TaskFailure) {
        self.call.note_failed();
        self.own.push((self.next, failure));
        self.next += 1;
    }

    /// Nothing is taken: the pool does not take it.
    pub(super) fn refuse(&mut self, error: &PoolError) {
        self.refuse_from(0, error);
    }

    fn refuse_from(&mut self, index: u64, error: &PoolError) {
        self.is_done = true;
        self.next = index + 1;
        self.own.push((index, Fate::of(error).failure()));
    }

    /// Gives the outcomes that have come.
    pub(super) fn take<T: Task>(
        &mut self,
        each: &mut impl FnMut(u64, Result<T::Output, TaskFailure>),
    ) {
        for arrived in self.call.take_arrived() {
            decode::unpack::<T>(self.call.codec, &arrived, &mut *each);
        }
        for (index, failure) in self.own.drain(..) {
            each(index, Err(failure));
        }
        self.meter.show(self.call.tally(), self.total, false);
    }

    /// Whether everything has been given.
    pub(super) fn is_over(&self) -> bool {
        let inbox = self.call.inbox();
        let settled = self.is_done && inbox.tally.settled == inbox.tally.submitted;
        inbox.is_closed() || (settled && !inbox.has_news() && self.own.is_empty())
    }

    /// Waits until something has come; false if the time passes first.
    pub(super) fn wait(&mut self, deadline: Deadline) -> bool {
        if !self.own.is_empty() {
            return true;
        }
        let there = |inbox: &Inbox| inbox.has_news();
        loop {
            let Some(nap) = self.meter.nap() else {
                return self.engine.wait_in_passing(&self.call, deadline, &there);
            };
            let Some(nap) = deadline.nap(nap) else { return false };
            if self.engine.wait_in_passing(&self.call, Deadline::within(nap), &there) {
                return true;
            }
            self.meter.show(self.call.tally(), self.total, false);
        }
    }

    /// How many inputs have been taken, and the call they belong to; the hook is told that this is
    /// the end.
    pub(super) fn finish(mut self) -> (u64, Arc<Call>) {
        self.meter.show(self.call.tally(), self.total, true);
        self.engine.collect_for_others();
        (self.next, Arc::clone(&self.call))
    }

    /// Why the rest will have no outcome.
    pub(super) fn closed(&self) -> Option<Fate> {
        self.call.closed()
    }

    /// Nobody wants the rest.
    pub(super) fn cancel(&self) {
        self.engine.cancel(&self.call);
        self.engine.collect_for_others();
    }

    /// Tells the hook that this is the end.
    pub(super) fn show_end(&mut self) {
        self.meter.show(self.call.tally(), self.total, true);
    }
}
