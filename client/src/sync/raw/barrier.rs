//! The barrier: who has arrived, and what was decided.
//!
//! Each waiter has a place for as long as it waits; it has arrived when its identity stands there.
//! One store to `decided` ends a generation for all: let through, reset, or broken, and why. It
//! says how many generations have ended, so what the current one is follows from it. Whoever
//! decides writes the verdict into the places of that generation before it gives the inner lock
//! back; if it dies, the next owner of the lock finishes that. So a waiter finds the verdict on
//! *its* generation in its place, however late it looks.
//!
//! | `state` of a place | meaning |
//! |---|---|
//! | 0 `WAITING` | waits for the others |
//! | 1 `LEFT` | its time had passed and the inner lock could not be had; whoever has it breaks the barrier |
//! | else | a verdict: what happened in bits 0–2, the pid of a dead participant above |
//!
//! There are two places for each party: those of a generation that was let through may still be
//! leaving while the next one arrives. Whoever finds no place waits for one.

use super::atomics::{
    AtomicU32, AtomicU64, Deadline, Ordering, Woken, is_dead, is_due, own_identity, pid_of,
    shared_struct, wait, wake,
};
use super::lock::{NAP_LONGEST, RawLock, Taken, TimedOut};
use super::semaphore::{GRACE, SWEEP_EVERY};
use std::time::Duration;

/// Places for each party.
pub(crate) const PLACES_PER_PARTY: usize = 2;

const WAITING: u32 = 0;
const LEFT: u32 = 1;
const PID_SHIFT: u32 = 3;

/// What was decided about a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All arrived.
    Passed,
    /// Somebody reset it.
    Reset,
    /// Somebody's time passed.
    TimedOut,
    /// Somebody aborted it.
    Aborted,
    /// The action panicked.
    ActionFailed,
    /// A waiter, or the one that ran the action, died.
    Died {
        /// Its pid.
        pid: u32,
    },
}

impl Verdict {
    fn to_bits(self) -> u32 {
        match self {
            Self::Passed => 2,
            Self::Reset => 3,
            Self::TimedOut => 4,
            Self::Aborted => 5,
            Self::ActionFailed => 6,
            Self::Died { pid } => 7 | pid << PID_SHIFT,
        }
    }

    fn from_bits(bits: u32) -> Option<Self> {
        match bits & 7 {
            WAITING | LEFT => None,
            2 => Some(Self::Passed),
            3 => Some(Self::Reset),
            4 => Some(Self::TimedOut),
            5 => Some(Self::Aborted),
            6 => Some(Self::ActionFailed),
            _ => Some(Self::Died { pid: bits >> PID_SHIFT }),
        }
    }

    /// Whether nobody passes until it is reset.
    fn breaks(self) -> bool {
        !matches!(self, Self::Passed | Self::Reset)
    }
}

shared_struct! {
    /// A place for one waiter. All zeros is a free one.
    pub(crate) struct Place {
        who: AtomicU64,
        generation: AtomicU32,
        state: AtomicU32,
    }
}

shared_struct! {
    /// A barrier in shared memory, but for its places.
    pub(crate) struct RawBarrier {
        lock: RawLock,
        /// Generations that have ended, from bit 32 on, and the verdict on the last.
        decided: AtomicU64,
        /// Changes whenever sleepers should look.
        turn: AtomicU32,
        /// Somebody waits for a place.
        crowded: AtomicU32,
        /// When somebody last looked after the dead.
        swept: AtomicU64,
    }
}

/// One who has arrived.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    place: &'a Place,
    /// How many arrived before in this generation.
    pub(crate) index: usize,
    /// Whether all are there now: this one must [`conclude`](RawBarrier::conclude).
    pub(crate) last: bool,
}

/// What an attempt to arrive came to. The inner lock was given back.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    /// It is in the current generation.
    Arrived(Arrived<'a>),
    /// Nobody arrives before a reset.
    Broken(Verdict),
    /// Something has changed.
    Again,
    /// There is no place free, as long as the turn is this.
    Crowded {
        /// The turn.
        turn: u32,
    },
}

impl RawBarrier {
    /// The inner lock.
    pub(crate) fn inner(&self) -> &RawLock {
        &self.lock
    }

    /// The word on which those sleep who wait.
    pub(crate) fn sleepers(&self) -> &AtomicU32 {
        &self.turn
    }

    fn last(&self) -> (u32, Option<Verdict>) {
        let decided = self.decided.load(Ordering::Acquire);
        ((decided >> 32) as u32, Verdict::from_bits(decided as u32))
    }

    /// Why nobody passes just now.
    pub(crate) fn broken(&self) -> Option<Verdict> {
        self.last().1.filter(|verdict| verdict.breaks())
    }

    /// How many wait just now.
    pub(crate) fn waiting(&self, places: &[Place]) -> usize {
        let (generation, _) = self.last();
        places.iter().filter(|place| place.is_in(generation)).count()
    }

    /// Takes the inner lock and finishes what a dead owner began.
    fn enter(&self, places: &[Place], deadline: Deadline) -> Result<(), TimedOut> {
        let taken = self.lock.lock(deadline)?;
        self.entered(places, taken);
        Ok(())
    }

    /// Said by who has taken the inner lock: finishes what a dead owner began.
    pub(crate) fn entered(&self, places: &[Place], taken: Taken) {
        if taken == Taken::OwnerDied {
            self.settle(places);
            self.lock.make_consistent();
            self.call_all();
        }
    }

    fn enter_certainly(&self, places: &[Place]) {
        while self.enter(places, Deadline::NEVER).is_err() {}
    }

    fn leave(&self) {
        // It is held by this process, until now.
        let _ = self.lock.unlock();
    }

    fn call_all(&self) {
        self.turn.fetch_add(1, Ordering::Release);
        wake(&self.turn, u32::MAX);
    }

    /// Writes the last verdict into the places that it is about.
    fn settle(&self, places: &[Place]) {
        let (ended, Some(verdict)) = self.last() else { return };
        for place in places.iter().filter(|place| place.is_in(ended.wrapping_sub(1))) {
            let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
            let bits = verdict.to_bits();
            if place.state.compare_exchange(WAITING, bits, release, relaxed) == Err(LEFT) {
                place.who.store(0, Ordering::Release);
            }
        }
    }

    /// Ends the current generation and gives the inner lock back.
    fn decide(&self, places: &[Place], verdict: Verdict) {
        let (ended, _) = self.last();
        let decided = u64::from(ended.wrapping_add(1)) << 32 | u64::from(verdict.to_bits());
        self.decided.store(decided, Ordering::Release);
        self.settle(places);
        self.leave();
        self.call_all();
    }

    /// Breaks a generation in which somebody waits no more, and gives the inner lock back; or does
    /// nothing.
    fn decide_if_left(&self, places: &[Place]) -> bool {
        let (generation, _) = self.last();
        let left =
            |place: &Place| place.is_in(generation) && place.state.load(Ordering::Acquire) == LEFT;
        let found = places.iter().any(left);
        if found {
            self.decide(places, Verdict::TimedOut);
        }
        found
    }

    /// Takes a place in the current generation of so many parties.
    pub(crate) fn arrive<'a>(
        &self,
        places: &'a [Place],
        parties: usize,
        deadline: Deadline,
    ) -> Result<Arrived<'a>, Verdict> {
        loop {
            self.enter(places, deadline.at_least(GRACE)).map_err(|_| Verdict::TimedOut)?;
            let turn = match self.try_arrive(places, parties) {
                Arrival::Arrived(arrived) => return Ok(arrived),
                Arrival::Broken(verdict) => return Err(verdict),
                Arrival::Again => continue,
                Arrival::Crowded { turn } => turn,
            };
            let time = deadline.nap(NAP_LONGEST).ok_or(Verdict::TimedOut)?;
            if wait(&self.turn, turn, time) == Woken::TimedOut {
                self.sweep(places);
            }
        }
    }

    /// Takes a place, if there is one, with the inner lock, which it gives back.
    pub(crate) fn try_arrive<'a>(&self, places: &'a [Place], parties: usize) -> Arrival<'a> {
        if self.decide_if_left(places) {
            return Arrival::Again;
        }
        if let Some(verdict) = self.broken() {
            self.leave();
            return Arrival::Broken(verdict);
        }
        let (generation, _) = self.last();
        let index = self.waiting(places);
        let free = places.iter().find(|place| place.who.load(Ordering::Acquire) == 0);
        if let Some(place) = free.filter(|_| index < parties) {
            place.state.store(WAITING, Ordering::Relaxed);
            place.generation.store(generation, Ordering::Relaxed);
            place.who.store(own_identity(), Ordering::Release);
            self.leave();
            return Arrival::Arrived(Arrived { place, index, last: index + 1 == parties });
        }
        self.crowded.store(1, Ordering::Relaxed);
        let turn = self.turn.load(Ordering::Relaxed);
        self.leave();
        Arrival::Crowded { turn }
    }

    /// What the last one to arrive says when all is done that comes before the others go on; gives
    /// what holds, which may have been decided before.
    pub(crate) fn conclude(
        &self,
        places: &[Place],
        arrived: &Arrived<'_>,
        verdict: Verdict,
    ) -> Verdict {
        self.enter_certainly(places);
        self.conclude_entered(places, arrived, verdict)
    }

    /// The same with the inner lock, which it gives back.
    pub(crate) fn conclude_entered(
        &self,
        places: &[Place],
        arrived: &Arrived<'_>,
        verdict: Verdict,
    ) -> Verdict {
        if arrived.verdict().is_some() {
            self.leave();
        } else if !self.decide_if_left(places) {
            self.decide(places, verdict);
        }
        let verdict = arrived.verdict().unwrap_or(verdict);
        self.depart(arrived);
        verdict
    }

    /// Sleeps until something is decided; at the deadline, breaks the barrier.
    pub(crate) fn attend(
        &self,
        places: &[Place],
        arrived: &Arrived<'_>,
        deadline: Deadline,
    ) -> Verdict {
        loop {
            let turn = match self.look(arrived) {
                Ok(verdict) => return verdict,
                Err(turn) => turn,
            };
            let Some(time) = deadline.nap(NAP_LONGEST) else {
                return self.give_up(places, arrived, GRACE);
            };
            if wait(&self.turn, turn, time) == Woken::TimedOut {
                self.sweep(places);
            }
        }
    }

    /// What was decided, after which the place is free; else the turn, for as long as which nothing
    /// is.
    pub(crate) fn look(&self, arrived: &Arrived<'_>) -> Result<Verdict, u32> {
        let turn = self.turn.load(Ordering::Acquire);
        let verdict = arrived.verdict().ok_or(turn)?;
        self.depart(arrived);
        Ok(verdict)
    }

    /// Waits no more, which breaks the barrier; the inner lock may take so long. Gives what holds,
    /// which may have been decided before.
    pub(crate) fn give_up(
        &self,
        places: &[Place],
        arrived: &Arrived<'_>,
        grace: Duration,
    ) -> Verdict {
        if self.enter(places, Deadline::within(grace)).is_ok() {
            match arrived.verdict() {
                Some(_) => self.leave(),
                None => self.decide(places, Verdict::TimedOut),
            }
        } else {
            // Who has the inner lock was stopped, it seems. Whoever has it next breaks the barrier
            // and frees the place.
            let (release, acquire) = (Ordering::Release, Ordering::Acquire);
            if arrived.place.state.compare_exchange(WAITING, LEFT, release, acquire).is_ok() {
                return Verdict::TimedOut;
            }
        }
        let verdict = arrived.verdict().unwrap_or(Verdict::TimedOut);
        self.depart(arrived);
        verdict
    }

    fn depart(&self, arrived: &Arrived<'_>) {
        arrived.place.who.store(0, Ordering::Release);
        self.there_is_room();
    }

    fn there_is_room(&self) {
        if self.crowded.swap(0, Ordering::Relaxed) != 0 {
            self.call_all();
        }
    }

    /// Breaks the barrier, if it is not broken yet.
    pub(crate) fn abort(&self, places: &[Place]) {
        self.enter_certainly(places);
        match self.broken() {
            Some(_) => self.leave(),
            None => self.decide(places, Verdict::Aborted),
        }
    }

    /// Sends away who waits and makes it usable.
    pub(crate) fn reset(&self, places: &[Place]) {
        self.enter_certainly(places);
        self.decide(places, Verdict::Reset);
    }

    /// Looks after the dead, unless somebody has just done so.
    pub(crate) fn sweep(&self, places: &[Place]) {
        if !is_due(&self.swept, SWEEP_EVERY) {
            return;
        }
        // Looking takes system calls, so it is done outside the lock.
        for place in places {
            let who = place.who.load(Ordering::Acquire);
            let left = place.state.load(Ordering::Relaxed) == LEFT;
            let dead = who != 0 && !left && is_dead(who);
            if who == 0 || !left && !dead || self.enter(places, Deadline::within(GRACE)).is_err() {
                continue;
            }
            let (generation, _) = self.last();
            if self.decide_if_left(places) {
                continue;
            }
            let there = place.who.load(Ordering::Relaxed) == who && place.is_in(generation);
            if dead && there {
                self.decide(places, Verdict::Died { pid: pid_of(who) });
            } else {
                self.leave();
            }
            if dead && place.bury(who) {
                self.there_is_room();
            }
        }
    }
}

impl Place {
    /// Whether somebody waits, or waited, in that generation and knows nothing yet.
    fn is_in(&self, generation: u32) -> bool {
        self.who.load(Ordering::Acquire) != 0
            && self.generation.load(Ordering::Relaxed) == generation
            && self.state.load(Ordering::Relaxed) <= LEFT
    }

    /// Frees the place of somebody dead; `false` if others were faster.
    fn bury(&self, who: u64) -> bool {
        self.who.compare_exchange(who, 0, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

impl Arrived<'_> {
    fn verdict(&self) -> Option<Verdict> {
        Verdict::from_bits(self.place.state.load(Ordering::Acquire))
    }
}
