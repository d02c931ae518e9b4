//! The machine that models run on: what `client/src/sync/raw/atomics.rs` offers, under loom.
//!
//! * A *process* is a thread of the model, with one thread of its own. One of them, the victim, may
//!   stop for good before any of its steps: each atomic operation, each sleep, each wake-up.
//! * A *sleep* ends by a wake-up. Naps end too, but only when all processes that live are asleep
//!   after a death, or when the clock [ticks](tick). So a wake-up that was lost, without a death to
//!   excuse it, is a deadlock, which loom reports.
//! * The *clock* stands still but for its ticks. A timeout that is not zero passes at the next one.

use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

pub(crate) use atomic::Ordering;

/// Most processes of a model, the one that looks at the end included.
const PROCESSES: usize = 4;
/// Naps of so many nanoseconds or more are naps, shorter ones are ticks of the clock.
const LONGEST_DEADLINE: u128 = 1000;
/// Spinning is one more look: what it finds a sleep would find too.
pub(crate) const SPINS: u32 = 1;
/// Bits of a word that say which process: as the real ones, with some left for others to use.
pub(crate) const IDENTITY_MASK: u64 = ((1 << 22) - 1) | (((1u64 << 30) - 1) << 32);

/// What a dying process unwinds with.
struct Death;

loom::thread_local! {
    /// The number of this process; 0 for the one that looks on.
    static PLACE: Cell<usize> = Cell::new(0);
    /// Steps until its death.
    static LEFT: Cell<Option<u32>> = Cell::new(None);
    /// Whether it has always waited long enough to insist on its turn.
    static IMPATIENT: Cell<bool> = Cell::new(false);
}

loom::lazy_static! {
    static ref WORLD: World = World::default();
}

#[derive(Default)]
struct World {
    table: Mutex<Table>,
    /// One for each process to sleep at.
    bells: [Condvar; PROCESSES + 1],
    /// A bit for each process that is dead.
    dead: atomic::AtomicU64,
    /// Ticks so far.
    clock: atomic::AtomicU64,
}

#[derive(Default)]
struct Table {
    sleepers: Vec<Sleeper>,
    /// Processes that run or sleep.
    alive: usize,
    /// Somebody has died: naps end.
    haunted: bool,
}

struct Sleeper {
    place: usize,
    address: usize,
    woken: Option<Woken>,
}

impl World {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap()
    }

    /// Ends the sleep of those that are chosen, at most so many.
    fn ring(
        &self,
        table: &mut Table,
        how: Woken,
        at_most: usize,
        chosen: impl Fn(&Sleeper) -> bool,
    ) -> usize {
        let asleep = table.sleepers.iter_mut().filter(|sleeper| sleeper.woken.is_none());
        let mut count = 0;
        for sleeper in asleep.filter(|sleeper| chosen(sleeper)).take(at_most) {
            sleeper.woken = Some(how);
            self.bells[sleeper.place].notify_one();
            count += 1;
        }
        count
    }

    /// Ends all naps if nothing else can happen any more.
    fn settle(&self, table: &mut Table) {
        let asleep = table.sleepers.iter().filter(|sleeper| sleeper.woken.is_none()).count();
        if table.haunted && asleep == table.alive {
            self.ring(table, Woken::TimedOut, usize::MAX, |_| true);
        }
    }
}

/// One step of this process: the victim may die before it.
fn step() {
    let last = LEFT.with(|left| match left.get() {
        Some(0) => true,
        Some(more) => {
            left.set(Some(more - 1));
            false
        }
        None => false,
    });
    if last {
        resume_unwind(Box::new(Death));
    }
}

/// Lets the time of every deadline pass and ends every nap.
pub(crate) fn tick() {
    let mut table = WORLD.table();
    WORLD.clock.fetch_add(1, Ordering::SeqCst);
    WORLD.ring(&mut table, Woken::TimedOut, usize::MAX, |_| true);
}

/// How many processes sleep.
pub(crate) fn asleep() -> usize {
    WORLD.table().sleepers.iter().filter(|sleeper| sleeper.woken.is_none()).count()
}

/// What one process does.
pub(crate) struct Process {
    impatient: bool,
    victim: bool,
    body: Box<dyn FnOnce()>,
}

/// A process that lives until it is done.
pub(crate) fn process(body: impl FnOnce() + 'static) -> Process {
    Process { impatient: false, victim: false, body: Box::new(body) }
}

/// One that may die at any step.
pub(crate) fn victim(body: impl FnOnce() + 'static) -> Process {
    Process { victim: true, ..process(body) }
}

impl Process {
    /// Makes it insist on its turn after its first sleep.
    pub(crate) fn impatient(self) -> Self {
        Self { impatient: true, ..self }
    }
}

/// A model: some state, processes on it, and what must hold in the end.
pub(crate) struct Model<S> {
    /// Makes what the processes share.
    pub(crate) state: fn() -> S,
    /// What they do.
    pub(crate) processes: fn(&Arc<S>) -> Vec<Process>,
    /// What must hold when all have ended; told whether the victim died.
    pub(crate) end: fn(&S, bool),
}

impl<S: 'static> Model<S> {
    /// Tries all orders with at most so many preemptions in which nobody dies.
    pub(crate) fn check(&'static self, preemptions: usize) {
        self.run(preemptions, None);
    }

    /// The same with the death of the victim before each of its steps, one after the other.
    pub(crate) fn check_deaths(&'static self, preemptions: usize) {
        let steps = (0..).take_while(|step| self.run(preemptions, Some(*step))).count();
        println!("deaths at {steps} steps");
        assert!(steps > 1, "there is no victim");
    }

    /// Tells whether the victim died in any order.
    fn run(&'static self, preemptions: usize, dies_at: Option<u32>) -> bool {
        let died = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = died.clone();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 20_000;
        builder.check(move || {
            let state = Arc::new((self.state)());
            let processes = (self.processes)(&state);
            WORLD.table().alive = processes.len();
            let started = processes.into_iter().enumerate().map(|(index, process)| {
                let dies_at = dies_at.filter(|_| process.victim);
                loom::thread::spawn(move || live(index + 1, process, dies_at))
            });
            let started = started.collect::<Vec<_>>();
            let deaths = started.into_iter().filter_map(|thread| thread.join().unwrap().err());
            let deaths = deaths.count();
            died.fetch_or(deaths > 0, std::sync::atomic::Ordering::Relaxed);
            // Who looks on is a process itself now.
            PLACE.with(|own| own.set(PROCESSES));
            WORLD.table().alive = 1;
            (self.end)(&state, deaths > 0);
        });
        seen.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The life of a process; an error if it died.
fn live(place: usize, process: Process, dies_at: Option<u32>) -> Result<(), ()> {
    PLACE.with(|own| own.set(place));
    LEFT.with(|left| left.set(dies_at));
    IMPATIENT.with(|impatient| impatient.set(process.impatient));
    let ended = catch_unwind(AssertUnwindSafe(process.body));
    LEFT.with(|left| left.set(None));
    let died = match ended {
        Ok(()) => false,
        Err(death) if death.is::<Death>() => true,
        Err(panic) => resume_unwind(panic),
    };
    let mut table = WORLD.table();
    table.alive -= 1;
    if died {
        table.haunted = true;
        WORLD.dead.fetch_or(1 << place, Ordering::AcqRel);
    }
    WORLD.settle(&mut table);
    if died { Err(()) } else { Ok(()) }
}

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody woke it.
    Perhaps,
    /// The word had another value already.
    Changed,
    /// The time passed.
    TimedOut,
}

/// A word to sleep on.
pub(crate) trait Word {
    fn address(&self) -> usize;
    fn now(&self) -> u32;
}

/// The low half of a wide word.
pub(crate) struct Half<'a>(&'a AtomicU64);

impl Word for Half<'_> {
    fn address(&self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }

    fn now(&self) -> u32 {
        self.0.0.load(Ordering::SeqCst) as u32
    }
}

impl Word for &AtomicU32 {
    fn address(&self) -> usize {
        std::ptr::from_ref(*self).addr()
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn low_half(word: &AtomicU64) -> Half<'_> {
    Half(word)
}

/// Sleeps while the word has this value.
pub(crate) fn wait(word: impl Word, expected: u32, at_most: Duration) -> Woken {
    step();
    let place = PLACE.with(Cell::get);
    let mut table = WORLD.table();
    if word.now() != expected {
        return Woken::Changed;
    }
    let until = at_most.as_nanos();
    if until < LONGEST_DEADLINE && u128::from(WORLD.clock.load(Ordering::SeqCst)) >= until {
        return Woken::TimedOut;
    }
    table.sleepers.push(Sleeper { place, address: word.address(), woken: None });
    WORLD.settle(&mut table);
    loop {
        let own = table.sleepers.iter().position(|sleeper| sleeper.place == place).unwrap();
        if let Some(woken) = table.sleepers[own].woken {
            table.sleepers.remove(own);
            return woken;
        }
        table = WORLD.bells[place].wait(table).unwrap();
    }
}

/// Wakes at most so many sleepers, the longest first; returns how many.
pub(crate) fn wake(word: impl Word, at_most: u32) -> u32 {
    step();
    let address = word.address();
    let mut table = WORLD.table();
    let chosen = |sleeper: &Sleeper| sleeper.address == address;
    WORLD.ring(&mut table, Woken::Perhaps, at_most as usize, chosen) as u32
}

pub(crate) fn own_identity() -> u64 {
    PLACE.with(Cell::get) as u64
}

pub(crate) fn own_thread() -> u64 {
    own_identity() | 1 << 62
}

pub(crate) fn pid_of(bits: u64) -> u32 {
    (bits & IDENTITY_MASK) as u32
}

pub(crate) fn is_dead(bits: u64) -> bool {
    let place = bits & IDENTITY_MASK;
    place != 0 && WORLD.dead.load(Ordering::Acquire) & 1 << place != 0
}

pub(crate) fn seems_dead(bits: u64) -> bool {
    is_dead(bits)
}

pub(crate) fn is_due(_last: &AtomicU64, _period: Duration) -> bool {
    true
}

pub(crate) fn pause() {
    loom::thread::yield_now();
}

/// A store and what is looked at after it, as the real ones order them; loom knows fences better
/// than it knows `SeqCst` accesses.
pub(crate) fn publish(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Release);
    atomic::fence(Ordering::SeqCst);
}

pub(crate) fn look(word: &AtomicU64) -> u64 {
    atomic::fence(Ordering::SeqCst);
    word.load(Ordering::Acquire)
}

pub(crate) fn look_at_half(word: &AtomicU32) -> u32 {
    atomic::fence(Ordering::SeqCst);
    word.load(Ordering::Acquire)
}

pub(crate) fn publish_bits(word: &AtomicU32, bits: u32) -> u32 {
    let before = word.fetch_or(bits, Ordering::AcqRel);
    atomic::fence(Ordering::SeqCst);
    before | bits
}

/// Until which tick to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<u64>);

impl Deadline {
    pub(crate) const NEVER: Self = Self(None);

    /// Until the next tick; no time at all is over at once.
    pub(crate) fn within(timeout: Duration) -> Self {
        Self(Some(WORLD.clock.load(Ordering::SeqCst) + u64::from(!timeout.is_zero())))
    }

    /// Until so many ticks since the beginning.
    pub(crate) fn at_tick(tick: u64) -> Self {
        Self(Some(tick))
    }

    /// However long: nothing that this is used for takes long here.
    pub(crate) fn at_least(self, _time: Duration) -> Self {
        Self::NEVER
    }

    pub(crate) fn nap(self, nap: Duration) -> Option<Duration> {
        // A nap that a deadline ends is as many nanoseconds long as the tick that it ends at.
        let Some(at) = self.0 else { return Some(nap) };
        (WORLD.clock.load(Ordering::SeqCst) < at).then_some(Duration::from_nanos(at))
    }
}

/// Since when a waiter has waited: too long already, or never.
#[derive(Debug)]
pub(crate) struct Patience(bool);

impl Patience {
    pub(crate) fn begin() -> Self {
        Self(IMPATIENT.with(Cell::get))
    }

    pub(crate) fn exceeds(&self, _limit: Duration) -> bool {
        self.0
    }
}

/// What zeroed memory holds.
pub(crate) trait Zeroed {
    fn zeroed() -> Self;
}

impl<T: Zeroed, const N: usize> Zeroed for [T; N] {
    fn zeroed() -> Self {
        std::array::from_fn(|_| T::zeroed())
    }
}

/// Defines a struct of atomics that can be made of zeros.
macro_rules! shared_struct {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $kind:ty,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $kind,)+
        }

        impl $crate::raw::atomics::Zeroed for $name {
            fn zeroed() -> Self {
                Self { $($field: $crate::raw::atomics::Zeroed::zeroed(),)+ }
            }
        }
    };
}
pub(crate) use shared_struct;

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// An atomic each operation on which is a step.
        #[derive(Debug)]
        pub(crate) struct $name(atomic::$name);

        impl Zeroed for $name {
            fn zeroed() -> Self {
                Self(atomic::$name::new(0))
            }
        }

        impl $name {
            pub(crate) fn load(&self, order: Ordering) -> $value {
                step();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.swap(value, order)
            }

            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_add(value, order)
            }

            pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_or(value, order)
            }

            pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_and(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange(from, to, success, failure)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
