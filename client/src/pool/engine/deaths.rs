//! What a worker's end costs: what it was running, and nothing else.

use super::Engine;
use super::call::{Fate, Loss};
use super::chunk::Chunk;
use super::state::{Life, Slot, State};
use super::worker::{Phase, Stopping, Worker};
use crate::error::Ending;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the one who saw how a worker ended may take to tell.
const RECORD_PATIENCE: Duration = Duration::from_millis(80);
/// How often that is looked at.
const RECORD_PERIOD: Duration = Duration::from_millis(1);
/// A worker that ends before it had anything to do, and so soon, ends early.
const EARLY: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks after workers that have ended.
    pub(super) fn bury_the_dead(&self, state: &mut State, now: Instant) {
        for number in state.numbers() {
            let Some(worker) = state.worker(number) else { continue };
            let Some(since) = worker.dead_since else { continue };
            let ending = match worker.process.ending() {
                Some(ending) => ending,
                None if now.saturating_duration_since(since) < RECORD_PATIENCE => {
                    state.look_at(now + RECORD_PERIOD);
                    continue;
                }
                None => Ending::Unknown,
            };
            self.bury(state, number, ending, now);
        }
    }

    fn bury(&self, state: &mut State, number: usize, ending: Ending, now: Instant) {
        // What it answered before it ended is an answer.
        state.hear(number, now);
        state.seated.retain(|seated| *seated != number);
        let slot = std::mem::replace(&mut state.slots[number], Slot::Free);
        let Slot::Live(mut worker) = slot else { return };
        state.changed = true;
        let killed_by_others = ending_signal(ending) == Some(libc::SIGKILL) && !worker.is_killed;
        let stderr = worker.voice.as_ref().zip(self.stderr.as_ref());
        let loss = Loss {
            pid: worker.process.pid(),
            autopsy: worker.process.autopsy(ending),
            oom: killed_by_others && state.oom.has_struck(),
            stderr: stderr.map(|(voice, stderr)| stderr.last_lines(voice)).unwrap_or_default(),
            attempts: 0,
        };
        state.mourn(&mut worker, &loss, now);
        state.inherit(&mut worker, loss);
        state.promote(now);
        state.dispatch(now);
    }
}

fn ending_signal(ending: Ending) -> Option<i32> {
    match ending {
        Ending::Known(record) => record.signal(),
        Ending::Unknown => None,
    }
}

impl State {
    /// What the end of a worker says about the pool.
    fn mourn(&mut self, worker: &mut Worker, loss: &Loss, now: Instant) {
        if !matches!(self.life, Life::Open | Life::Closed) {
            return;
        }
        match worker.phase {
            Phase::Leaving { .. } => self.totals.workers_retired += 1,
            _ if worker.is_killed => self.totals.workers_lost += 1,
            Phase::Starting => {
                self.totals.workers_lost += 1;
                let mut reason =
                    format!("worker {} {} while it started", loss.pid, loss.autopsy.ending);
                if let Some(line) = loss.stderr.last() {
                    reason = format!("{reason}: {line}");
                }
                self.start_failed(worker.started, reason, now);
            }
            Phase::Standby | Phase::Working => {
                self.totals.workers_lost += 1;
                let idle = worker.done == 0 && worker.sent.is_empty();
                if idle && now.saturating_duration_since(worker.started) < EARLY {
                    self.died_early(now);
                }
            }
        }
    }

    /// Gives what a dead worker had not begun to others, and settles what it had.
    fn inherit(&mut self, worker: &mut Worker, loss: Loss) {
        let mut sent = std::mem::take(&mut worker.sent);
        let (begun, recalled) = worker.channel.recall_dead().unwrap_or_else(|_| {
            tracing::error!(worker = worker.name, "a dead worker has damaged its memory");
            (None, Vec::new())
        });
        let mut back = Vec::new();
        for frame in recalled {
            let at = sent.iter().position(|sent| sent.frame == frame.frame);
            if let Some(sent) = at.and_then(|at| sent.remove(at)) {
                back.push(sent.into_chunk(frame.body));
            }
        }
        let at = begun.as_ref().and_then(|b| sent.iter().position(|s| s.frame == b.frame));
        let running = at.and_then(|at| sent.remove(at)).zip(begun);
        // Nobody knows the bytes of these any more.
        for left in sent {
            let loss = Loss { attempts: left.attempts + 1, ..loss.clone() };
            let first = left.first + u64::from(left.answered);
            self.settle(&left.call, first, left.left(), Fate::Lost(Arc::new(loss)));
        }
        for chunk in back.into_iter().rev() {
            self.pending.push_front(chunk);
        }
        if let Some((sent, begun)) = running {
            let answered = sent.answered;
            let frame = sent.frame;
            let whole = sent.into_chunk(begun.body);
            let stopping = worker.stopping.take().filter(|stopping| stopping.frame == frame);
            self.settle_begun(whole, (answered, begun.begun), stopping, &loss);
        }
    }

    /// Items of a frame before `answered` have their answers, those before `begun` are lost, the
    /// others are nobody's yet.
    fn settle_begun(
        &mut self,
        chunk: Chunk,
        (answered, begun): (u32, u32),
        stopping: Option<Stopping>,
        loss: &Loss,
    ) {
        let base = chunk.first;
        let unanswered = match answered {
            0 => chunk,
            _ => match chunk.split(answered) {
                Ok((_, rest)) => rest,
                Err(_) => return,
            },
        };
        let held = begun.saturating_sub(answered);
        let lost = if held == 0 {
            // It had read the frame, and begun none of it.
            return self.pending.push_front(unanswered);
        } else {
            match unanswered.split(held) {
                Ok((lost, rest)) => {
                    self.pending.push_front(rest);
                    lost
                }
                Err(all) => all,
            }
        };
        let culprit = lost.first + u64::from(lost.count) - 1;
        let Some(stopping) = stopping else { return self.lose(lost, loss) };
        let is_meant = stopping.item.is_none_or(|item| base + u64::from(item) == culprit);
        if !is_meant {
            return self.lose(lost, loss);
        }
        let (done, last) = match lost.count {
            1 => (None, lost),
            count => match lost.split(count - 1) {
                Ok((done, last)) => (Some(done), last),
                Err(all) => (None, all),
            },
        };
        self.settle(&last.call, last.first, last.count, stopping.why);
        if let Some(done) = done {
            self.lose(done, loss);
        }
    }

    /// These were lost with their worker: they are tried again, if they may be.
    fn lose(&mut self, mut chunk: Chunk, loss: &Loss) {
        chunk.attempts += 1;
        if chunk.attempts <= chunk.call.retries {
            self.totals.retried += u64::from(chunk.count);
            return self.pending.push_front(chunk);
        }
        let loss = Loss { attempts: chunk.attempts, ..loss.clone() };
        self.settle(&chunk.call, chunk.first, chunk.count, Fate::Lost(Arc::new(loss)));
    }
}
