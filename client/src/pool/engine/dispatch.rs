//! Which worker gets what, and how it is taken back.

use super::super::channel::{Frame, PushError};
use super::Engine;
use super::call::{Call, Fate};
use super::chunk::{Chunk, Sent};
use super::state::{Life, State};
use super::worker::{Phase, Stopping};
use crate::pool::error::PoolError;
use crate::sys::clock::monotonic_nanos;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a task of which nothing is known is taken to run, nanoseconds.
const UNKNOWN: u64 = 1_000_000;
/// What the way to a worker and back costs at least, nanoseconds: no task is shorter than that.
const SHORTEST: u64 = 100;
/// So many busy workers are asked whether they want more, for each chunk.
const ASKED_MOST: usize = 8;
/// What stands behind a task that has run for so long is given to others who have nothing to do,
/// nanoseconds.
const STUCK: u64 = 200_000;
/// How soon a worker whose socket is full, though it has nothing to do, is asked again.
const FULL_PERIOD: Duration = Duration::from_millis(1);
/// How often that is looked at while there is anything to take.
pub(super) const STEAL_PERIOD: Duration = Duration::from_millis(1);

impl Engine {
    /// Hands in chunks of a call that began before; `opening` says that it begins now.
    ///
    /// # Errors
    /// [`PoolError::Closed`], [`PoolError::Terminated`], [`PoolError::Broken`].
    pub(crate) fn submit(
        &self,
        chunks: impl IntoIterator<Item = Chunk>,
        opening: bool,
    ) -> Result<(), PoolError> {
        let mut state = self.lock();
        state.admit(opening)?;
        state.pending.extend(chunks);
        state.dispatch(Instant::now());
        Ok(())
    }

    /// Ends a call before its time; false if it was over.
    pub(crate) fn cancel(&self, call: &Arc<Call>) -> bool {
        let mut state = self.lock();
        let was_open = state.close(call, Fate::Cancelled);
        if was_open {
            state.withdraw(call, self.settings.grace);
        }
        was_open
    }
}

impl State {
    /// Whether the pool takes what comes.
    pub(super) fn admit(&self, opening: bool) -> Result<(), PoolError> {
        let fate = match &self.life {
            Life::Open => return Ok(()),
            Life::Closed if !opening => return Ok(()),
            Life::Closed | Life::Leaving => None,
            Life::Stopping { fate, .. } => Some(fate),
            Life::Over { fate } => fate.as_ref(),
        };
        Err(match fate {
            Some(Fate::Broken { attempts, reason }) => {
                PoolError::Broken { attempts: *attempts, reason: reason.to_string() }
            }
            Some(_) => PoolError::Terminated,
            None => PoolError::Closed,
        })
    }

    /// Gives what waits to those who want some.
    pub(super) fn dispatch(&mut self, now: Instant) {
        while !self.pending.is_empty() {
            let Some(number) = self.pick() else { break };
            self.give_next(number, now);
        }
    }

    /// A worker that wants some: one without work, or one that should have more at hand.
    fn pick(&mut self) -> Option<usize> {
        while let Some(number) = self.idle.pop() {
            let Some(worker) = self.worker(number) else { continue };
            worker.is_listed = false;
            if worker.is_idle() {
                return Some(number);
            }
        }
        for _ in 0..self.seated.len().min(ASKED_MOST) {
            self.cursor = (self.cursor + 1) % self.seated.len();
            let number = self.seated[self.cursor];
            if self.worker(number).is_some_and(|worker| worker.has_room()) {
                return Some(number);
            }
        }
        None
    }

    /// Gives a worker as much of what waits as it should have at hand.
    pub(super) fn refill(&mut self, number: usize, now: Instant) {
        while !self.pending.is_empty()
            && self.worker(number).is_some_and(|worker| worker.has_room())
        {
            self.give_next(number, now);
        }
        self.list_if_idle(number);
    }

    /// A worker without work is found by who has some.
    pub(super) fn list_if_idle(&mut self, number: usize) {
        let Some(worker) = self.worker(number) else { return };
        if worker.is_idle() && !worker.is_listed {
            worker.is_listed = true;
            self.idle.push(number);
        }
    }

    /// Gives a worker, which takes work, the oldest chunk, or as much of it as it may have.
    fn give_next(&mut self, number: usize, now: Instant) {
        let Some(mut chunk) = self.pending.pop_front() else { return };
        if chunk.call.closed().is_some() {
            return self.list_if_idle(number);
        }
        let Some(worker) = self.worker(number) else { return self.pending.push_front(chunk) };
        let most = worker.given_most - worker.given;
        if u64::from(chunk.count) > most {
            match chunk.split(most as u32) {
                Ok((first, rest)) => {
                    self.pending.push_front(rest);
                    chunk = first;
                }
                Err(whole) => chunk = whole,
            }
        }
        self.give(number, chunk, now);
    }

    fn give(&mut self, number: usize, chunk: Chunk, now: Instant) {
        let task = chunk.call.task;
        let record = &self.tasks[task as usize];
        let (name, schema) = (record.name, record.schema);
        let average = record.average.unwrap_or(UNKNOWN);
        let Some(worker) = self.worker(number) else { return self.pending.push_front(chunk) };
        if !worker.defined.contains(&task) {
            worker.channel.define(task, name, schema, chunk.call.codec);
            worker.defined.push(task);
        }
        let frame = Frame { task, count: chunk.count, body: &chunk.body, fds: &chunk.fds };
        let pushed = worker.channel.push(&frame);
        if !worker.is_dirty {
            worker.is_dirty = true;
            self.dirty.push(number);
        }
        match pushed {
            Ok(frame) => self.note_sent(number, frame, chunk, average, now),
            Err(error) => self.refused(number, chunk, error),
        }
    }

    /// A worker has a chunk.
    fn note_sent(&mut self, number: usize, frame: u32, chunk: Chunk, average: u64, now: Instant) {
        let Some(worker) = self.worker(number) else { return };
        let estimate = average.saturating_mul(u64::from(chunk.count));
        let deadline = chunk.call.deadline;
        if worker.sent.is_empty() {
            worker.busy_since = now;
        }
        worker.load = worker.load.saturating_add(estimate);
        worker.bytes += chunk.body.len();
        worker.given += u64::from(chunk.count);
        worker.sent.push_back(Sent {
            frame,
            call: chunk.call,
            first: chunk.first,
            count: chunk.count,
            attempts: chunk.attempts,
            answered: 0,
            bytes: chunk.body.len(),
            estimate,
            fds: chunk.fds,
        });
        // The next one is started before this one is used up.
        let used_up = worker.given_most != u64::MAX
            && worker.given.saturating_mul(4) >= worker.given_most.saturating_mul(3);
        if used_up && !worker.has_successor {
            worker.has_successor = true;
            self.attention = true;
        }
        if let Some(at) = deadline.and_then(|limit| now.checked_add(limit)) {
            self.look_at(at);
        }
    }

    /// A worker's channel did not take a chunk.
    fn refused(&mut self, number: usize, chunk: Chunk, error: PushError) {
        let Some(worker) = self.worker(number) else { return self.pending.push_front(chunk) };
        match error {
            PushError::Full => {
                worker.is_full = true;
                let has_some = !worker.sent.is_empty();
                self.pending.push_front(chunk);
                if !has_some {
                    // No answer will say that there is room: it has yet to clear away what was
                    // taken back.
                    self.look_at(Instant::now() + FULL_PERIOD);
                }
            }
            PushError::System(error) if is_end(&error) => {
                worker.give_up();
                self.pending.push_front(chunk);
            }
            PushError::Damaged => {
                tracing::error!(worker = worker.name, "a worker has damaged its memory");
                worker.kill();
                self.pending.push_front(chunk);
            }
            other => {
                let fate = Fate::Undeliverable(other.to_string().into());
                self.settle(&chunk.call, chunk.first, chunk.count, fate);
                self.list_if_idle(number);
            }
        }
    }

    /// Workers that had no room, though they have nothing to do, are asked again.
    pub(super) fn retry_full(&mut self, now: Instant) {
        for number in self.numbers() {
            let Some(worker) = self.worker(number) else { continue };
            if worker.is_full && worker.sent.is_empty() {
                worker.is_full = false;
                self.list_if_idle(number);
            }
        }
        self.dispatch(now);
    }

    /// Takes back what a worker has not begun, all but the oldest `keep` frames, to be given to
    /// others first.
    pub(super) fn recall(&mut self, number: usize, keep: usize) {
        let Some(worker) = self.worker(number) else { return };
        let recalled = match worker.channel.recall(keep) {
            Ok(recalled) => recalled,
            Err(_) => {
                tracing::error!(worker = worker.name, "a worker has damaged its memory");
                worker.kill();
                return;
            }
        };
        let mut chunks = Vec::new();
        for frame in recalled {
            let at = worker.sent.iter().position(|sent| sent.frame == frame.frame);
            let Some(sent) = at.and_then(|at| worker.sent.remove(at)) else { continue };
            worker.load = worker.load.saturating_sub(sent.estimate);
            worker.bytes = worker.bytes.saturating_sub(sent.bytes);
            worker.given = worker.given.saturating_sub(u64::from(sent.count));
            worker.is_full = false;
            chunks.push(sent.into_chunk(frame.body));
        }
        for chunk in chunks.into_iter().rev() {
            self.pending.push_front(chunk);
        }
        self.list_if_idle(number);
    }

    /// Gives what stands behind a long task to those who have nothing to do. Tells whether there
    /// is anything that should be looked at again soon.
    pub(super) fn steal(&mut self, now: Instant) -> bool {
        if !self.pending.is_empty() || self.idle.is_empty() {
            return false;
        }
        let thieves = self.idle.len();
        let mut again = false;
        for number in self.seated.clone() {
            let Some(worker) = self.worker(number) else { continue };
            if worker.sent.len() < 2 || worker.phase != Phase::Working {
                continue;
            }
            again = true;
            let progress = worker.channel.progress();
            if progress.running && monotonic_nanos().saturating_sub(progress.since_ns) >= STUCK {
                let behind = worker.sent.len() - 1;
                self.recall(number, behind / (thieves + 1));
                self.dispatch(now);
                if self.idle.is_empty() {
                    return false;
                }
            }
        }
        again
    }

    /// Takes everything of a call away from whoever has it; tasks that run are asked to stop, and
    /// their workers killed after the grace.
    fn withdraw(&mut self, call: &Arc<Call>, grace: Duration) {
        self.pending.retain(|chunk| !Arc::ptr_eq(&chunk.call, call));
        let now = Instant::now();
        for number in self.numbers() {
            let Some(worker) = self.worker(number) else { continue };
            let is_of_it = |sent: &Sent| Arc::ptr_eq(&sent.call, call);
            if !worker.sent.iter().any(is_of_it) {
                continue;
            }
            self.recall(number, 0);
            if self.worker(number).is_some_and(|worker| worker.sent.len() > 1) {
                // All but the last are answered, and nobody has heard it: the last one runs.
                self.hear(number, now);
                self.recall(number, 0);
            }
            let Some(worker) = self.worker(number) else { continue };
            let Some(last) = worker.sent.back().filter(|sent| is_of_it(sent)) else { continue };
            if worker.stopping.is_none() {
                let (frame, kill_at) = (last.frame, now + grace);
                worker.channel.ask_to_stop(frame);
                let why = Fate::Cancelled;
                worker.stopping = Some(Stopping { frame, item: None, why, kill_at });
                self.look_at(kill_at);
            }
        }
        self.pending.retain(|chunk| !Arc::ptr_eq(&chunk.call, call));
        self.dispatch(now);
        self.have_looked_after();
    }

    /// Somebody came to have nothing to do, and no answer says so: the supervisor must look whether
    /// there is something behind a long task of another one.
    pub(super) fn have_looked_after(&mut self) {
        self.attention |= !self.idle.is_empty();
    }

    /// A task took so long, on the average of this many.
    pub(super) fn note_time(&mut self, task: u32, each: u64, count: u64) {
        let Some(record) = self.tasks.get_mut(task as usize) else { return };
        let each = each.max(SHORTEST);
        record.average = Some(match record.average {
            None => each,
            // What is measured is too long rather than too short: nobody may have looked.
            Some(average) if each < average => (average + each) / 2,
            Some(average) => {
                let weight = count.min(8);
                (average.saturating_mul(16 - weight) + each.saturating_mul(weight)) / 16
            }
        });
    }
}

/// Whether the other end of a socket is closed: its process has ended, or is about to.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
