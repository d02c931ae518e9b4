//! How answers are collected: by a thread that waits for one, or by the supervisor.
//!
//! One waiting thread at a time has the *seat*: it sleeps at the desk's bell and collects for
//! everybody. Others sleep at their call. Whoever leaves the seat hands it to one of them, or to
//! the supervisor.

use super::super::channel::{Answer, Tag};
use super::Engine;
use super::call::{Arrived, Call, Inbox, NAP_LONGEST};
use super::state::State;
use super::worker::Phase;
use crate::sync::raw::atomics::Deadline;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Nobody collects but the supervisor.
const FREE: u32 = 0;
/// A thread collects.
const TAKEN: u32 = 1;
/// Nobody collects: the thread of a map is about to, when it has looked after its inputs and
/// results. Anybody may take the seat meanwhile, and the supervisor collects now and then.
const AWAY: u32 = 2;

/// How often the supervisor collects while nobody else does.
pub(super) const PATROL_PERIOD: Duration = Duration::from_millis(5);

/// Who collects.
#[derive(Debug, Default)]
pub(super) struct Seat {
    state: AtomicU32,
    patrol: AtomicBool,
    /// Calls at which threads sleep that may take it.
    waiting: Mutex<Vec<Arc<Call>>>,
}

impl Seat {
    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Call>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_taken(&self) -> bool {
        self.state.load(Ordering::SeqCst) == TAKEN
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Makes one of the sleepers look whether it may have the seat.
    fn offer(&self) {
        let next = self.waiting().last().cloned();
        if let Some(call) = next {
            call.nudge();
        }
    }

    /// Whether the supervisor must collect now and then.
    pub(super) fn needs_patrol(&self) -> bool {
        if !self.patrol.load(Ordering::SeqCst) {
            return false;
        }
        let away = self.state.load(Ordering::SeqCst) == AWAY;
        if !away {
            self.patrol.store(false, Ordering::SeqCst);
            // One that went away in between saw that there is a patrol: there is one again.
            let away = self.state.load(Ordering::SeqCst) == AWAY;
            if away {
                self.patrol.store(true, Ordering::SeqCst);
            }
            return away;
        }
        away
    }
}

/// The seat, while a thread has it.
pub(crate) struct Seated<'a> {
    engine: &'a Engine,
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.engine.leave_seat(TAKEN);
    }
}

impl Engine {
    /// The seat, if nobody has it.
    pub(crate) fn sit(&self) -> Option<Seated<'_>> {
        if self.seat.change(FREE, TAKEN) || self.seat.change(AWAY, TAKEN) {
            self.desk.watch(false);
            return Some(Seated { engine: self });
        }
        None
    }

    /// From here on the supervisor collects.
    fn leave_seat(&self, from: u32) {
        self.desk.watch(true);
        if self.seat.change(from, FREE) {
            // What came before the supervisor was told to watch.
            self.collect();
            self.seat.offer();
        }
    }

    /// Somebody waits who does not sleep: for him the supervisor collects.
    pub(crate) fn collect_for_others(&self) {
        self.leave_seat(AWAY);
    }

    /// Waits until `there` says that what is wanted of a call has come; false if the time passes
    /// first.
    pub(crate) fn wait(
        &self,
        call: &Arc<Call>,
        deadline: Deadline,
        there: &dyn Fn(&Inbox) -> bool,
    ) -> bool {
        loop {
            if there(&call.inbox()) {
                return true;
            }
            if let Some(seated) = self.sit() {
                return seated.collect_until(call, deadline, there);
            }
            if !self.sleep(call, deadline, there) {
                return false;
            }
        }
    }

    /// The same for who waits again soon.
    pub(crate) fn wait_in_passing(
        &self,
        call: &Arc<Call>,
        deadline: Deadline,
        there: &dyn Fn(&Inbox) -> bool,
    ) -> bool {
        let Some(seated) = self.sit() else { return self.wait(call, deadline, there) };
        let came = seated.collect_until(call, deadline, there);
        std::mem::forget(seated);
        self.step_away();
        came
    }

    fn step_away(&self) {
        self.seat.state.store(AWAY, Ordering::SeqCst);
        if !self.seat.waiting().is_empty() {
            self.leave_seat(AWAY);
        } else if !self.seat.patrol.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Sleeps while somebody else collects; false if the time has passed.
    fn sleep(&self, call: &Arc<Call>, deadline: Deadline, there: &dyn Fn(&Inbox) -> bool) -> bool {
        if deadline.nap(NAP_LONGEST).is_none() {
            return false;
        }
        self.seat.waiting().push(Arc::clone(call));
        call.sleep(deadline, there, &|| !self.seat.is_taken());
        let mut waiting = self.seat.waiting();
        if let Some(at) = waiting.iter().position(|other| Arc::ptr_eq(other, call)) {
            waiting.swap_remove(at);
        }
        drop(waiting);
        // It may have been offered to this thread, which does not need it any more.
        if there(&call.inbox()) && !self.seat.is_taken() {
            self.seat.offer();
        }
        true
    }

    /// Takes what workers have answered; tells whether there was anything.
    pub(super) fn collect(&self) -> bool {
        let mut ready = Vec::new();
        self.desk.take_ready(|number| ready.push(number));
        if ready.is_empty() {
            return false;
        }
        let mut state = self.lock();
        let now = Instant::now();
        for number in ready {
            state.hear(number, now);
        }
        state.dispatch(now);
        if state.steal(now) {
            state.look_at(now + super::dispatch::STEAL_PERIOD);
        }
        true
    }
}

impl Seated<'_> {
    /// Collects until what is wanted has come.
    pub(crate) fn collect_until(
        &self,
        call: &Arc<Call>,
        deadline: Deadline,
        there: &dyn Fn(&Inbox) -> bool,
    ) -> bool {
        let engine = self.engine;
        loop {
            if there(&call.inbox()) {
                return true;
            }
            if engine.collect() {
                continue;
            }
            let heard = engine.desk.listen();
            // Looked at once more: a ring from now on is heard.
            if engine.collect() || there(&call.inbox()) {
                continue;
            }
            let Some(nap) = deadline.nap(NAP_LONGEST) else { return false };
            engine.desk.sleep(heard, nap);
        }
    }
}

impl State {
    /// Takes everything that a worker has answered, and gives it more.
    pub(super) fn hear(&mut self, number: usize, now: Instant) {
        let (mut items, mut task) = (0, None);
        loop {
            let Some(worker) = self.worker(number) else { return };
            let mut answer = Answer::default();
            match worker.channel.pop(&mut answer) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return self.condemn(number, "its memory cannot be what it wrote"),
            }
            if worker.phase == Phase::Starting {
                self.first_words(number, &answer, now);
                continue;
            }
            task = worker.sent.front().map(|sent| sent.call.task);
            match self.answered(number, answer) {
                Some(count) => items += count,
                None => return self.condemn(number, "an answer to nothing that it was asked"),
            }
        }
        self.heard(number, items, task, now);
    }

    fn condemn(&mut self, number: usize, why: &str) {
        if let Some(worker) = self.worker(number) {
            tracing::error!(worker = worker.name, why, "a worker is killed for what it wrote");
            worker.kill();
        }
    }

    /// One answer; gives the number of its items, or `None` if it makes no sense.
    fn answered(&mut self, number: usize, answer: Answer) -> Option<u64> {
        let count = answer.count;
        let worker = self.worker(number)?;
        let sent = worker.sent.front_mut()?;
        let in_order = answer.frame == sent.frame && answer.first == sent.answered;
        if !in_order || count == 0 || count > sent.left() {
            return None;
        }
        let failed = |tag: Tag| matches!(tag, Tag::Panicked | Tag::Rejected);
        let failed = answer.items().filter(|(tag, _)| failed(*tag)).count() as u64;
        let first = sent.first + u64::from(sent.answered);
        let range = sent.answered..sent.answered + count;
        let share = sent.estimate / u64::from(sent.count) * u64::from(count);
        sent.answered += count;
        let call = Arc::clone(&sent.call);
        let base = sent.first;
        worker.load = worker.load.saturating_sub(share);
        worker.done += u64::from(count);
        worker.is_full = false;
        let ends = sent.left() == 0;
        if ends {
            worker.bytes = worker.bytes.saturating_sub(sent.bytes);
            worker.sent.pop_front();
        }
        // What is asked to stop no longer runs; the next item must not believe that it was meant.
        let stopping = worker.stopping.take_if(|stopping| {
            stopping.frame == answer.frame
                && stopping.item.map_or(ends, |item| range.contains(&item))
        });
        if stopping.is_some() {
            worker.channel.ask_to_stop(0);
        }
        // What came too late is no result, even if it came before the worker was killed.
        let but = stopping.and_then(|it| it.item.map(|item| (base + u64::from(item), it.why)));
        self.totals.done += u64::from(count);
        let counts = [u64::from(count), failed + u64::from(but.is_some()), 0];
        self.deliver(&call, Arrived::Answer { first, answer, but }, counts);
        Some(u64::from(count))
    }

    /// A worker has answered so many items since it was last heard.
    fn heard(&mut self, number: usize, items: u64, task: Option<u32>, now: Instant) {
        let Some(worker) = self.worker(number) else { return };
        let took = now.saturating_duration_since(worker.busy_since);
        if let Some(each) = nanos(took).checked_div(items) {
            worker.busy_since = now;
            self.failures.early_deaths = 0;
            if let Some(task) = task {
                self.note_time(task, each, items);
            }
        }
        let Some(worker) = self.worker(number) else { return };
        if worker.phase == Phase::Working && worker.is_spent() {
            self.retire(number, now);
        } else {
            self.refill(number, now);
        }
        if !self.is_busy() {
            self.attention |= !matches!(self.life, super::state::Life::Open);
        }
    }

    /// Whether a worker is about to say something.
    pub(super) fn expects_answers(&mut self) -> bool {
        self.workers().any(|(_, worker)| !worker.sent.is_empty() || worker.phase == Phase::Starting)
    }

    /// Whether anything is left to do.
    pub(super) fn is_busy(&mut self) -> bool {
        !self.pending.is_empty()
            || self.open_maps > 0
            || self.workers().any(|(_, worker)| !worker.sent.is_empty())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
