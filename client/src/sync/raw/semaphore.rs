//! The semaphore: permits, and an account of who holds them.
//!
//! The value is *derived*: all permits less those on the accounts ([`Ledger`]), which change by one
//! store each. It is kept beside them so that nobody must add up; a process that dies with the
//! inner lock leaves `OwnerDied` there, and the next one adds up. Whoever cannot have a permit, or
//! whose nap ends, closes the accounts of the dead.
//!
//! | bits of `word` | meaning |
//! |---|---|
//! | 0 `SLEEPERS` | somebody may sleep: whoever releases wakes one for each permit |
//! | 1 `STARVING` | somebody has waited long: free permits are for those who have slept |
//! | 2–31 | how often it was released to sleepers |
//!
//! The flags work as those of the lock word do. A release clears `SLEEPERS`, and who has slept and
//! takes a permit sets it again: others may sleep too. If there is one more permit, it wakes one
//! more sleeper, since a release in between saw no flag.
//!
//! **Fairness**: the kernel wakes the longest sleeper first. One that was late all the same for
//! [`STARVED_AFTER`](super::lock::STARVED_AFTER) sets `STARVING`, and from then on newcomers sleep too before they may take a
//! permit, so it gets the next one that it is woken for.

use super::atomics::{
    AtomicU32, AtomicU64, Deadline, Ordering, Woken, is_due, shared_struct, wait, wake,
};
use super::ledger::Ledger;
use super::lock::{NAP_SHORTEST, Queuer, RawLock, Taken, TimedOut};
use std::time::Duration;

const SLEEPERS: u32 = 1;
const STARVING: u32 = 1 << 1;
const ONE_RELEASE: u32 = 1 << 2;

/// However short a deadline is: so long the inner lock may take, which is held for nanoseconds
/// unless its owner was stopped or killed.
pub(crate) const GRACE: Duration = Duration::from_millis(80);
/// How often all waiters together look after the dead.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(10);

/// What a release must not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverRelease {
    /// The largest value.
    pub(crate) limit: u32,
}

/// More processes hold permits than there are accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LedgerFull;

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// There is nothing to wait for any more.
    Done(Result<(), LedgerFull>),
    /// Something has changed.
    Again,
    /// Others know now that somebody sleeps, while the word is this.
    Sleep {
        /// The word.
        expected: u32,
        /// There is a permit, which is kept for somebody who was woken. If that one is dead, it
        /// must come free for those too who never wait.
        kept: bool,
    },
}

shared_struct! {
    /// A semaphore in shared memory, but for its accounts.
    pub(crate) struct RawSemaphore {
        lock: RawLock,
        word: AtomicU32,
        /// Permits that can be had: `total` less what is on the accounts.
        free: AtomicU32,
        /// Permits that there are.
        total: AtomicU32,
        /// The largest `total`.
        limit: AtomicU32,
        /// When somebody last looked after the dead.
        swept: AtomicU64,
    }
}

impl RawSemaphore {
    /// Makes it one with so many permits, before anybody knows it.
    pub(crate) fn init(&self, value: u32, limit: u32) {
        self.free.store(value, Ordering::Relaxed);
        self.total.store(value, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Permits that can be had just now.
    #[inline]
    pub(crate) fn value(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// Takes the inner lock and puts in order what a dead owner left.
    #[inline]
    fn enter(&self, ledger: Ledger<'_>, deadline: Deadline) -> Result<(), TimedOut> {
        let taken = self.lock.lock(deadline)?;
        self.entered(ledger, taken);
        Ok(())
    }

    /// The inner lock.
    pub(crate) fn inner(&self) -> &RawLock {
        &self.lock
    }

    /// The word on which those sleep who wait.
    pub(crate) fn sleepers(&self) -> &AtomicU32 {
        &self.word
    }

    /// Said by who has taken the inner lock: puts in order what a dead owner left.
    #[inline]
    pub(crate) fn entered(&self, ledger: Ledger<'_>, taken: Taken) {
        if taken == Taken::OwnerDied {
            self.repair(ledger);
        }
    }

    fn enter_certainly(&self, ledger: Ledger<'_>) {
        while self.enter(ledger, Deadline::NEVER).is_err() {}
    }

    #[cold]
    fn repair(&self, ledger: Ledger<'_>) {
        let held = u32::try_from(ledger.sum()).unwrap_or(u32::MAX);
        let free = self.total.load(Ordering::Relaxed).saturating_sub(held);
        self.free.store(free, Ordering::Relaxed);
        self.lock.make_consistent();
        // The dead one may have owed somebody a wake-up: all look for themselves.
        let word = self.word.load(Ordering::Relaxed);
        self.word.store(word.wrapping_add(ONE_RELEASE) | SLEEPERS, Ordering::Relaxed);
        wake(&self.word, u32::MAX);
    }

    #[inline]
    fn leave(&self) {
        // It is held by this process, until now.
        let _ = self.lock.unlock();
    }

    /// Gives the inner lock back and so many permits to those who sleep.
    #[inline]
    fn leave_releasing(&self, permits: u32) {
        let free = self.value();
        self.free.store(free.saturating_add(permits), Ordering::Relaxed);
        let word = self.word.load(Ordering::Relaxed);
        if word & (SLEEPERS | STARVING) == 0 {
            return self.leave();
        }
        let to = word.wrapping_add(ONE_RELEASE) & !SLEEPERS;
        self.word.store(to, Ordering::Relaxed);
        self.leave();
        if wake(&self.word, permits) == 0 && to & STARVING != 0 {
            // Nobody sleeps: the reservation is for nobody.
            let relaxed = Ordering::Relaxed;
            let _ = self.word.compare_exchange(to, to & !STARVING, relaxed, relaxed);
        }
    }

    /// Takes a permit, waiting until the deadline; tells whether it has one.
    #[inline]
    pub(crate) fn acquire(
        &self,
        ledger: Ledger<'_>,
        deadline: Deadline,
    ) -> Result<bool, LedgerFull> {
        if self.enter(ledger, deadline.at_least(GRACE)).is_err() {
            return Ok(false);
        }
        if self.take_at_once(ledger) {
            return Ok(true);
        }
        self.acquire_slow(ledger, deadline)
    }

    /// Takes a permit if there is one, and gives the inner lock back.
    #[inline]
    pub(crate) fn take_at_once(&self, ledger: Ledger<'_>) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let free = self.value();
        let taken = free > 0 && word & STARVING == 0 && ledger.deposit(1);
        if taken {
            self.free.store(free - 1, Ordering::Relaxed);
        }
        self.leave();
        taken
    }

    #[cold]
    fn acquire_slow(&self, ledger: Ledger<'_>, deadline: Deadline) -> Result<bool, LedgerFull> {
        let mut queuer = Queuer::new();
        loop {
            if self.enter(ledger, deadline.at_least(GRACE)).is_err() {
                return Ok(false);
            }
            let (expected, kept) = match self.look(ledger, &queuer) {
                Look::Done(done) => return done.map(|()| true),
                Look::Again => continue,
                Look::Sleep { expected, kept } => (expected, kept),
            };
            let time = if kept { Some(NAP_SHORTEST) } else { deadline.nap(queuer.nap()) };
            let Some(time) = time else {
                if self.sweep(ledger) {
                    continue;
                }
                return Ok(false);
            };
            let woken = wait(&self.word, expected, time);
            self.slept(ledger, &mut queuer, woken);
        }
    }

    /// Takes a permit or announces a sleeper, and gives the inner lock back.
    pub(crate) fn look(&self, ledger: Ledger<'_>, queuer: &Queuer) -> Look {
        let starved = queuer.is_starved();
        let word = self.word.load(Ordering::Relaxed);
        let free = self.value();
        if free > 0 && (queuer.has_slept() || word & STARVING == 0) {
            return self.take(ledger, free, queuer.has_slept(), starved);
        }
        let expected = word | SLEEPERS | if starved { STARVING } else { 0 };
        self.word.store(expected, Ordering::Relaxed);
        self.leave();
        Look::Sleep { expected, kept: free > 0 }
    }

    /// Said after a sleep. If the nap was over, looks after the dead.
    pub(crate) fn slept(&self, ledger: Ledger<'_>, queuer: &mut Queuer, woken: Woken) {
        if queuer.woke(woken) {
            self.sweep(ledger);
        }
    }

    /// Takes one of `free` permits and gives the inner lock back.
    fn take(&self, ledger: Ledger<'_>, free: u32, slept: bool, starved: bool) -> Look {
        if !ledger.deposit(1) {
            self.leave();
            let room = self.close_dead(ledger);
            return if room { Look::Again } else { Look::Done(Err(LedgerFull)) };
        }
        self.free.store(free - 1, Ordering::Relaxed);
        if slept {
            // Others may sleep too: whoever has slept passes the wake-up on.
            let mut word = self.word.load(Ordering::Relaxed) | SLEEPERS;
            if free > 1 {
                // Who is about to sleep must not miss that there is one more.
                word = word.wrapping_add(ONE_RELEASE);
            }
            let to = if starved { word } else { word & !STARVING };
            self.word.store(to, Ordering::Relaxed);
        }
        self.leave();
        if slept && free > 1 {
            wake(&self.word, 1);
        }
        Look::Done(Ok(()))
    }

    /// Gives so many permits back: own ones; then those of whoever holds most; then new ones.
    #[inline]
    pub(crate) fn release(&self, ledger: Ledger<'_>, count: u32) -> Result<(), OverRelease> {
        self.enter_certainly(ledger);
        let own = ledger.withdraw(u64::from(count)) as u32;
        let done = if own == count { Ok(()) } else { self.release_more(ledger, own, count) };
        match done {
            Ok(()) => self.leave_releasing(count),
            Err(_) => self.leave(),
        }
        done
    }

    /// The part of a release that is not covered by own permits.
    #[cold]
    fn release_more(&self, ledger: Ledger<'_>, own: u32, count: u32) -> Result<(), OverRelease> {
        let missing = u64::from(count - own);
        let others = ledger.sum().min(missing);
        let total = u64::from(self.total.load(Ordering::Relaxed)) + (missing - others);
        let limit = self.limit.load(Ordering::Relaxed);
        if total > u64::from(limit) {
            // All or nothing. Who has just withdrawn finds the room that he left.
            let _ = own == 0 || ledger.deposit(u64::from(own));
            return Err(OverRelease { limit });
        }
        ledger.withdraw_anywhere(others);
        self.total.store(total as u32, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a permit of this process out of use, for good.
    pub(crate) fn forget(&self, ledger: Ledger<'_>) {
        self.enter_certainly(ledger);
        if ledger.withdraw(1) == 1 {
            // A death before this store gives the permit back, as one before the call does.
            let total = self.total.load(Ordering::Relaxed);
            self.total.store(total.saturating_sub(1), Ordering::Relaxed);
        }
        self.leave();
    }

    /// Looks after the dead, unless somebody has just done so; tells whether a permit came free.
    fn sweep(&self, ledger: Ledger<'_>) -> bool {
        is_due(&self.swept, SWEEP_EVERY) && self.close_dead(ledger)
    }

    fn close_dead(&self, ledger: Ledger<'_>) -> bool {
        let mut found = false;
        // Looking takes system calls, so it is done outside the lock.
        for account in ledger.0 {
            let Some(dead) = account.dead() else { continue };
            if self.enter(ledger, Deadline::within(GRACE)).is_err() {
                break;
            }
            let held = u32::try_from(ledger.close(account, dead)).unwrap_or(u32::MAX);
            self.leave_releasing(held);
            found |= held > 0;
        }
        found
    }
}
