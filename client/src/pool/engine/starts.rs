//! How workers come: ordered under the lock, started side by side by threads that end when there
//! is nothing to start.

use super::super::channel::{Answer, Channel, Tag, WorkerEnd};
use super::Engine;
use super::call::Fate;
use super::state::{Life, Order, Slot, State};
use super::worker::{Phase, Worker};
use crate::context::StartMethod;
use crate::error::StartError;
use crate::job_types::OnParentDeath;
use crate::pool::error::PoolError;
use crate::pool::worker::WORKER;
use crate::process::{Process, Stream};
use crate::start::quiet::Quiet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads that start workers at the same time.
const STARTERS_MOST: usize = 4;
/// How long nothing is started after a failure; twice as long after each further one.
const BACK_OFF: Duration = Duration::from_millis(10);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);
/// A worker that was killed before anybody knew of it is waited for so long.
const REAP_PATIENCE: Duration = Duration::from_secs(1);

fn back_off(failures: u32) -> Duration {
    BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACK_OFF_MOST)
}

impl State {
    /// How many workers should be started now.
    pub(super) fn missing(&mut self, processes: usize) -> usize {
        let wanted = match self.life {
            Life::Open => processes,
            Life::Closed => processes.min(self.pending.len() + self.open_maps * processes),
            Life::Leaving | Life::Stopping { .. } | Life::Over { .. } => 0,
        };
        let reserved = self.slots.iter().filter(|slot| matches!(slot, Slot::Reserved)).count();
        let there = self.workers().filter(|(_, worker)| worker.counts()).count();
        wanted.saturating_sub(there + reserved)
    }

    /// Orders one, if there is a place for it.
    pub(super) fn order(&mut self, prefix: &str) -> Option<Order> {
        let number = self.slots.iter().position(|slot| matches!(slot, Slot::Free))?;
        self.slots[number] = Slot::Reserved;
        self.named += 1;
        Some(Order { number, name: format!("{prefix}PoolWorker-{}", self.named) })
    }

    /// The first message of a worker.
    pub(super) fn first_words(&mut self, number: usize, answer: &Answer, now: Instant) {
        let said = answer.items().next().map(|(tag, text)| (tag, String::from_utf8_lossy(text)));
        let Some(worker) = self.worker(number) else { return };
        match said {
            Some((Tag::Ready, _)) => {
                worker.phase = Phase::Standby;
                self.failures.rounds = 0;
                self.promote(now);
            }
            Some((Tag::InitFailed, text)) => {
                let started = worker.started;
                worker.kill();
                self.start_failed(started, text.into_owned(), now);
            }
            _ => worker.kill(),
        }
    }

    /// Lets workers that are ready work, as far as there are places; if there is none, one whose
    /// time is over makes room.
    pub(super) fn promote(&mut self, now: Instant) {
        for number in self.numbers() {
            if !self.worker(number).is_some_and(|worker| worker.phase == Phase::Standby) {
                continue;
            }
            let seated = self.workers().filter(|(_, worker)| worker.is_seated()).count();
            if seated < self.places {
                let Some(worker) = self.worker(number) else { continue };
                worker.phase = Phase::Working;
                self.seated.push(number);
                self.refill(number, now);
            } else {
                self.make_room(now);
            }
        }
        self.dispatch(now);
    }

    /// One that is due gets nothing more: another one is ready.
    fn make_room(&mut self, now: Instant) {
        let ready = self.workers().filter(|(_, worker)| worker.phase == Phase::Standby).count();
        let leaving = |worker: &Worker| worker.is_finishing || worker.given >= worker.given_most;
        let going =
            self.workers().filter(|(_, worker)| worker.is_seated() && leaving(worker)).count();
        if going >= ready {
            return;
        }
        let next = self.workers().find_map(|(number, worker)| {
            (worker.is_seated() && worker.is_due && !leaving(worker)).then_some(number)
        });
        if let Some(worker) = next.and_then(|number| self.worker(number)) {
            worker.is_finishing = true;
        }
        if let Some(number) = next {
            // What it has not begun need not wait for it.
            self.recall(number, 0);
            if self.worker(number).is_some_and(|worker| worker.is_spent()) {
                self.retire(number, now);
            }
        }
    }

    /// A worker did not come up. After so many times in a row the pool is broken.
    pub(super) fn start_failed(&mut self, started: Instant, reason: String, now: Instant) {
        tracing::warn!(reason, "a worker of a pool did not come up");
        // Those that were started side by side fail for the same reason: that is one time.
        if self.failures.last.is_some_and(|last| started < last) {
            return;
        }
        self.failures.rounds += 1;
        self.failures.last = Some(now);
        let at = now + back_off(self.failures.rounds);
        self.failures.not_before = Some(at);
        self.look_at(at);
        if self.failures.rounds >= self.attempts_most {
            let attempts = self.failures.rounds;
            self.stop(&Fate::Broken { attempts, reason: reason.into() }, now);
        }
    }

    /// A worker ended, though nobody killed it, before it had anything to do.
    pub(super) fn died_early(&mut self, now: Instant) {
        self.failures.early_deaths += 1;
        let at = now + back_off(self.failures.early_deaths);
        self.failures.not_before = Some(at);
        self.look_at(at);
    }
}

impl Engine {
    /// Starts what is missing, in threads of their own.
    pub(super) fn start_missing(self: &Arc<Self>, state: &mut State, now: Instant) {
        if let Some(at) = state.failures.not_before {
            if now < at {
                return state.look_at(at);
            }
            state.failures.not_before = None;
        }
        for _ in 0..state.missing(self.settings.processes) {
            let Some(order) = state.order(&self.settings.prefix) else { break };
            state.orders.push_back(order);
        }
        while state.starters < state.orders.len().min(STARTERS_MOST) {
            state.starters += 1;
            let (engine, quiet) = (Arc::clone(self), Quiet::begin());
            let thread = std::thread::Builder::new().name("mp-pool-start".to_owned());
            if let Err(error) = thread.spawn(move || engine.start_ordered(&quiet)) {
                state.starters -= 1;
                let orders = std::mem::take(&mut state.orders);
                self.give_up(state, orders, &format!("no thread to start workers: {error}"));
            }
        }
    }

    fn give_up(&self, state: &mut State, orders: VecDeque<Order>, reason: &str) {
        for order in orders {
            state.slots[order.number] = Slot::Free;
        }
        let now = Instant::now();
        state.start_failed(now, reason.to_owned(), now);
    }

    /// A starter's thread.
    fn start_ordered(self: Arc<Self>, quiet: &Quiet) {
        let _awake = quiet.awake();
        loop {
            let mut state = self.lock();
            let Some(order) = state.orders.pop_front() else {
                state.starters -= 1;
                return;
            };
            drop(state);
            let begun = Instant::now();
            if let Err((number, error)) = self.start_worker(order) {
                let mut state = self.lock();
                state.slots[number] = Slot::Free;
                state.attention = true;
                state.changed = true;
                if matches!(state.life, Life::Open | Life::Closed) {
                    state.start_failed(begun, error.to_string(), Instant::now());
                }
            }
        }
    }

    /// Starts a worker and makes it one of the pool.
    pub(super) fn start_worker(&self, order: Order) -> Result<(), (usize, PoolError)> {
        let Order { number, name } = order;
        let started = Instant::now();
        let made = self.make(number, &name, started).map_err(|error| (number, error))?;
        let mut state = self.lock();
        state.totals.workers_started += 1;
        let is_wanted = matches!(state.life, Life::Open | Life::Closed);
        let watched = is_wanted && self.watch(number, &made).is_ok();
        if !watched {
            // Nobody will notice its end but this; the pool is not over before.
            drop(state);
            let _ = made.process.kill();
            let _ = made.process.join_timeout(REAP_PATIENCE);
            let mut state = self.lock();
            state.slots[number] = Slot::Free;
            state.attention = true;
            state.changed = true;
            return Ok(());
        }
        let mut worker = Box::new(made);
        worker.given_most = self.lifetime(&mut state);
        if let Some(age) = self.settings.max_age
            && let Some(at) = worker.started.checked_add(age)
        {
            state.look_at(at);
        }
        state.slots[number] = Slot::Live(worker);
        // It may have said that it is ready before anybody knew it.
        state.hear(number, Instant::now());
        state.have_looked_after();
        Ok(())
    }

    /// How many items a new worker may be given.
    fn lifetime(&self, state: &mut State) -> u64 {
        let Some(most) = self.settings.max_tasks else { return u64::MAX };
        most.saturating_add(state.random(self.settings.max_tasks_jitter)).max(1)
    }

    fn make(&self, number: usize, name: &str, started: Instant) -> Result<Worker, PoolError> {
        let (channel, end) = Channel::open(&self.desk, number)?;
        let (stream, voice) = self.stderr_for_worker()?;
        let process = self.launch(end, name, stream)?;
        Ok(Worker {
            name: name.to_owned(),
            process: process.handle().clone(),
            channel,
            phase: Phase::Starting,
            voice,
            sent: VecDeque::new(),
            load: 0,
            bytes: 0,
            given: 0,
            given_most: u64::MAX,
            done: 0,
            started,
            busy_since: started,
            defined: Vec::new(),
            stopping: None,
            has_successor: false,
            is_due: false,
            is_finishing: false,
            is_killed: false,
            is_gone: false,
            dead_since: None,
            private_bytes: 0,
            done_when_measured: 0,
            is_listed: false,
            is_dirty: false,
            is_full: false,
        })
    }

    fn launch(
        &self,
        end: WorkerEnd,
        name: &str,
        stderr: Stream,
    ) -> Result<Process<()>, StartError> {
        let settings = &self.settings;
        let job = (end, settings.initializer.as_ref());
        let mut builder = settings.context.builtin::<()>(WORKER, &job);
        if let Some(sandbox) = &settings.sandbox {
            builder = builder.sandbox(sandbox.clone());
        }
        builder
            .name(name)
            .daemon(true)
            .on_parent_death(OnParentDeath::Kill)
            .stderr(stderr)
            .cradle(self.cradle.clone())
            .allow_threads(settings.allow_threads)
            .start()
    }
}

/// What stands before `PoolWorker-N` in the names of workers.
pub(crate) fn prefix(method: StartMethod) -> &'static str {
    match method {
        StartMethod::Fork => "Fork",
        StartMethod::Spawn => "Spawn",
        StartMethod::ForkServer => "ForkServer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_and_ends_growing() {
        assert_eq!(back_off(1), BACK_OFF);
        assert_eq!(back_off(3), 4 * BACK_OFF);
        assert_eq!(back_off(u32::MAX), BACK_OFF_MOST);
    }
}
