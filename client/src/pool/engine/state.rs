//! Everything that the engine's lock guards.

use super::super::channel::Desk;
use super::call::{Arrived, Call, Fate, NAP_LONGEST, News};
use super::chunk::Chunk;
use super::oom::OomWatch;
use super::worker::Worker;
use super::{Engine, Settings};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far the life of a pool is.
#[derive(Clone, Debug)]
pub(super) enum Life {
    /// It takes tasks.
    Open,
    /// It takes no more, and ends those it has.
    Closed,
    /// It has none left: its workers end.
    Leaving,
    /// Whatever it had has met this fate: its workers are ended.
    Stopping {
        fate: Fate,
        /// When those that have not ended are killed.
        kill_at: Instant,
    },
    /// No worker is left.
    Over {
        /// What anybody who still wants something is told, if it is not that it was closed.
        fate: Option<Fate>,
    },
}

/// A place for a worker; its number is that of its channel.
pub(super) enum Slot {
    Free,
    /// One is being started for it.
    Reserved,
    Live(Box<Worker>),
}

/// What is known of a task.
#[derive(Debug)]
pub(super) struct TaskRecord {
    pub(super) name: &'static str,
    pub(super) schema: u64,
    /// How long one takes, nanoseconds; `None` before the first answer.
    pub(super) average: Option<u64>,
}

/// A worker to be started.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) number: usize,
    pub(super) name: String,
}

/// How starts went lately.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Failures in a row; those of workers that were started side by side are one.
    pub(super) rounds: u32,
    pub(super) last: Option<Instant>,
    /// Nothing is started before.
    pub(super) not_before: Option<Instant>,
    /// Workers in a row that ended before they had anything to do.
    pub(super) early_deaths: u32,
}

/// What became of everything so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) done: u64,
    pub(super) lost: u64,
    pub(super) retried: u64,
    pub(super) workers_started: u64,
    pub(super) workers_lost: u64,
    pub(super) workers_retired: u64,
}

pub(super) struct State {
    pub(super) life: Life,
    /// How many workers work at the same time.
    pub(super) places: usize,
    pub(super) attempts_most: u32,
    pub(super) grace: Duration,
    pub(super) slots: Vec<Slot>,
    /// What no worker has been given, oldest first.
    pub(super) pending: VecDeque<Chunk>,
    /// Workers that may have nothing to do.
    pub(super) idle: Vec<usize>,
    /// Workers that work, and who is asked next whether he wants more.
    pub(super) seated: Vec<usize>,
    pub(super) cursor: usize,
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) orders: VecDeque<Order>,
    /// Threads that start workers.
    pub(super) starters: usize,
    pub(super) named: u64,
    pub(super) failures: Failures,
    /// Maps under way: they may go on after a close.
    pub(super) open_maps: usize,
    pub(super) totals: Totals,
    pub(super) oom: OomWatch,
    /// When the supervisor looks next.
    pub(super) due: Option<Instant>,
    /// The supervisor is to look now.
    pub(super) attention: bool,
    /// Somebody waits for how the pool's life goes on.
    pub(super) changed: bool,
    /// Something was delivered that the one who collects may wait for.
    pub(super) delivered: bool,
    pub(super) news: Vec<News>,
    pub(super) dirty: Vec<usize>,
    /// State of the random numbers that spread the ends of workers.
    pub(super) random: u64,
}

impl State {
    pub(super) fn new(settings: &Settings, slots: usize, random: u64) -> Self {
        Self {
            life: Life::Open,
            places: settings.processes,
            attempts_most: settings.init_attempts,
            grace: settings.grace,
            slots: std::iter::repeat_with(|| Slot::Free).take(slots).collect(),
            pending: VecDeque::new(),
            idle: Vec::new(),
            seated: Vec::new(),
            cursor: 0,
            tasks: Vec::new(),
            orders: VecDeque::new(),
            starters: 0,
            named: 0,
            failures: Failures::default(),
            open_maps: 0,
            totals: Totals::default(),
            oom: OomWatch::begin(),
            due: None,
            attention: false,
            changed: false,
            delivered: false,
            news: Vec::new(),
            dirty: Vec::new(),
            random: random | 1,
        }
    }

    pub(super) fn worker(&mut self, number: usize) -> Option<&mut Worker> {
        match self.slots.get_mut(number) {
            Some(Slot::Live(worker)) => Some(worker),
            _ => None,
        }
    }

    /// All workers with their numbers.
    pub(super) fn workers(&mut self) -> impl Iterator<Item = (usize, &mut Worker)> {
        self.slots.iter_mut().enumerate().filter_map(|(number, slot)| match slot {
            Slot::Live(worker) => Some((number, &mut **worker)),
            Slot::Free | Slot::Reserved => None,
        })
    }

    pub(super) fn numbers(&mut self) -> Vec<usize> {
        self.workers().map(|(number, _)| number).collect()
    }

    /// The number of a task in this pool.
    pub(super) fn task(&mut self, name: &'static str, schema: u64) -> u32 {
        let known = self.tasks.iter().position(|task| {
            task.schema == schema && (std::ptr::eq(task.name, name) || task.name == name)
        });
        let number = known.unwrap_or_else(|| {
            self.tasks.push(TaskRecord { name, schema, average: None });
            self.tasks.len() - 1
        });
        number as u32
    }

    pub(super) fn average(&self, task: u32) -> Option<u64> {
        self.tasks.get(task as usize).and_then(|task| task.average)
    }

    /// Hands out what has arrived.
    pub(super) fn deliver(&mut self, call: &Arc<Call>, arrived: Arrived, counts: [u64; 3]) {
        let [items, failed, lost] = counts;
        let news = call.deliver(arrived, items, failed, lost);
        self.tell(news);
    }

    fn tell(&mut self, news: News) {
        self.delivered = true;
        if !news.is_none() {
            self.news.push(news);
        }
    }

    /// Items that will have no answer.
    pub(super) fn settle(&mut self, call: &Arc<Call>, first: u64, count: u32, fate: Fate) {
        let count = u64::from(count);
        let lost = if matches!(fate, Fate::Lost(_)) { count } else { 0 };
        self.totals.lost += lost;
        self.deliver(call, Arrived::Fate { first, count, fate }, [count, count, lost]);
    }

    /// A call that will have no further answers; false if it was over.
    pub(super) fn close(&mut self, call: &Arc<Call>, fate: Fate) -> bool {
        let (was_open, news) = call.close(fate);
        self.tell(news);
        was_open
    }

    /// The supervisor must look at this time at the latest.
    pub(super) fn look_at(&mut self, at: Instant) {
        if self.due.is_none_or(|due| at < due) {
            self.due = Some(at);
            self.attention = true;
        }
    }

    /// Tells workers what was pushed to them.
    pub(super) fn publish(&mut self) {
        while let Some(number) = self.dirty.pop() {
            if let Some(worker) = self.worker(number) {
                worker.is_dirty = false;
                worker.channel.publish();
            }
        }
    }

    /// A number from 0 to `most`.
    pub(super) fn random(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        if most == u64::MAX { self.random } else { self.random % (most + 1) }
    }
}

/// The engine's state, locked. What it means for others is done when the lock is given back: no
/// code of a user, and no wake-up that can be put off, runs inside.
pub(super) struct Locked<'a> {
    engine: &'a Engine,
    state: Option<MutexGuard<'a, State>>,
}

impl<'a> Locked<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        let state = engine.state.lock().unwrap_or_else(PoisonError::into_inner);
        Self { engine, state: Some(state) }
    }

    /// Sleeps until the pool's life goes on; false if the time passes first. For who has only
    /// looked: nobody is told of any change.
    pub(super) fn sleep(mut self, deadline: Option<Instant>) -> bool {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        let nap = left.unwrap_or(NAP_LONGEST).min(NAP_LONGEST);
        if let Some(state) = self.state.take() {
            drop(self.engine.changed.wait_timeout(state, nap));
        }
        true
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect("taken at the end only")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("taken at the end only")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        state.publish();
        let news = std::mem::take(&mut state.news);
        let attention = std::mem::take(&mut state.attention);
        let changed = std::mem::take(&mut state.changed);
        let delivered = std::mem::take(&mut state.delivered);
        drop(state);
        if attention {
            self.engine.wake();
        }
        if changed {
            self.engine.changed.notify_all();
        }
        if delivered && self.engine.seat.is_taken() {
            let desk: &Desk = &self.engine.desk;
            desk.ring();
        }
        for mut news in news {
            if let Some((call, then)) = news.then.take() {
                self.engine.callbacks.add(call, then);
            }
            news.wake();
        }
    }
}
