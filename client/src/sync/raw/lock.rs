//! The lock word: who holds it, and what the next one must know.
//!
//! | bits | meaning |
//! |---|---|
//! | 0–21 | pid of the owner; 0: free |
//! | 28 `STARVING` | somebody has waited long: a free lock is for those who have slept |
//! | 30 `INCONSISTENT` | an owner died and nobody has said since that all is well |
//! | 31 `CONTENDED` | somebody may sleep: whoever releases wakes one |
//! | 32–61 | what tells the owner from other processes of that pid |
//!
//! Taking and releasing a free lock is one compare-and-swap each. The owner stands in the word from
//! the very instruction that takes it, so there is no moment at which its death would not show.
//! Waiters sleep in naps that grow to [`NAP_LONGEST`]; after each they look whether the owner is
//! dead, and take the lock from it with one compare-and-swap, which only one of them wins.
//!
//! Before its first nap a waiter looks a few dozen times, some two microseconds in all, whether the
//! lock becomes free: going to sleep and being woken costs more than most critical sections. It
//! goes to sleep at once when somebody starves.
//!
//! **Fairness**: the kernel wakes the longest sleeper first, but a running thread may be faster
//! than a woken one. A waiter that lost its turn for [`STARVED_AFTER`] sets `STARVING`. A release
//! then leaves the lock reserved for those who have slept, so the one that the kernel wakes next
//! takes it without a race. So nobody waits longer than that time plus one turn for each sleeper
//! before it. A reservation whose taker dies is void when the next sleeper's nap ends.

use super::atomics::{
    AtomicU64, Deadline, Half, IDENTITY_MASK, Ordering, Patience, SPINS, Woken, is_dead, low_half,
    own_identity, pause, seems_dead, shared_struct, wait, wake,
};
use std::time::Duration;

const STARVING: u64 = 1 << 28;
const INCONSISTENT: u64 = 1 << 30;
const CONTENDED: u64 = 1 << 31;

/// First nap of a waiter.
pub(crate) const NAP_SHORTEST: Duration = Duration::from_millis(1);
/// Longest nap of a waiter, so that a death is noticed well within 100 ms.
pub(crate) const NAP_LONGEST: Duration = Duration::from_millis(50);
/// After so long a waiter insists on its turn.
pub(crate) const STARVED_AFTER: Duration = Duration::from_millis(1);

/// How a lock was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the lock is held now"]
pub(crate) enum Taken {
    /// From somebody who released it.
    Clean,
    /// From an owner that died, or after one whose death nobody has made good.
    OwnerDied,
}

/// What a look at something that may have to be waited for came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// There is nothing to wait for any more.
    Done(T),
    /// Others know now that somebody sleeps: while the word is this, so long at most.
    Sleep {
        /// The word.
        expected: u32,
        /// When to look again, whatever happens.
        nap: Duration,
    },
}

/// Who waits for a lock or a permit, between two looks at it.
#[derive(Debug)]
pub(crate) struct Queuer {
    patience: Patience,
    nap: Duration,
    slept: bool,
}

impl Queuer {
    /// Begins to wait.
    pub(crate) fn new() -> Self {
        Self { patience: Patience::begin(), nap: NAP_SHORTEST, slept: false }
    }

    /// How long to sleep at a time.
    pub(crate) fn nap(&self) -> Duration {
        self.nap
    }

    /// Whether it has slept, so that its turn comes before that of newcomers.
    pub(super) fn has_slept(&self) -> bool {
        self.slept
    }

    /// Whether it has slept, and waits for so long that it insists on its turn.
    pub(super) fn is_starved(&self) -> bool {
        self.slept && self.patience.exceeds(STARVED_AFTER)
    }

    /// Said after a sleep; tells whether the nap was over. The next one is longer then.
    pub(super) fn woke(&mut self, woken: Woken) -> bool {
        self.slept |= woken != Woken::Changed;
        let is_over = woken == Woken::TimedOut;
        if is_over {
            self.nap = (self.nap * 2).min(NAP_LONGEST);
        }
        is_over
    }
}

/// The time passed first; the lock is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// Nobody held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHeld;

shared_struct! {
    /// A lock in shared memory. All zeros is a free one.
    pub(crate) struct RawLock {
        word: AtomicU64,
    }
}

#[inline]
fn is_free(word: u64) -> bool {
    word & IDENTITY_MASK == 0
}

#[inline]
fn taken(word: u64) -> Taken {
    if word & INCONSISTENT == 0 { Taken::Clean } else { Taken::OwnerDied }
}

impl RawLock {
    /// Takes it if that needs no waiting.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Taken> {
        let own = own_identity();
        if self.exchange(0, own) { Some(Taken::Clean) } else { self.try_slow(own) }
    }

    #[cold]
    fn try_slow(&self, own: u64) -> Option<Taken> {
        let word = self.word.load(Ordering::Relaxed);
        if !is_free(word) {
            return self.inherit(own, word);
        }
        if word & STARVING != 0 {
            // It is kept for somebody who was woken. If that one is dead, somebody who only ever
            // tries must be able to get it too.
            return self.lock_slow(own, Deadline::within(NAP_SHORTEST)).ok();
        }
        self.exchange(word, own | word & (INCONSISTENT | CONTENDED)).then(|| taken(word))
    }

    /// Takes it from an owner that has died, for who does not wait: looks once in a while only.
    fn inherit(&self, own: u64, word: u64) -> Option<Taken> {
        let to = own | INCONSISTENT | word & (CONTENDED | STARVING);
        let inherited = !is_free(word) && seems_dead(word) && self.exchange(word, to);
        inherited.then_some(Taken::OwnerDied)
    }

    /// Takes it, waiting until the deadline.
    #[inline]
    pub(crate) fn lock(&self, deadline: Deadline) -> Result<Taken, TimedOut> {
        let own = own_identity();
        if self.exchange(0, own) { Ok(Taken::Clean) } else { self.lock_slow(own, deadline) }
    }

    #[inline]
    fn exchange(&self, from: u64, to: u64) -> bool {
        self.word.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Looks for a short time whether it becomes free.
    fn spin(&self, own: u64) -> Option<Taken> {
        for _ in 0..SPINS {
            let word = self.word.load(Ordering::Relaxed);
            if word & STARVING != 0 {
                return None;
            }
            if !is_free(word) {
                pause();
            } else if self.exchange(word, own | word & (INCONSISTENT | CONTENDED)) {
                return Some(taken(word));
            }
        }
        None
    }

    #[cold]
    fn lock_slow(&self, own: u64, deadline: Deadline) -> Result<Taken, TimedOut> {
        if let Some(taken) = self.spin(own) {
            return Ok(taken);
        }
        let mut queuer = Queuer::new();
        loop {
            let (expected, nap) = match self.look(&mut queuer) {
                Step::Done(taken) => return Ok(taken),
                Step::Sleep { expected, nap } => (expected, nap),
            };
            let Some(time) = deadline.nap(nap) else {
                return self.inherit(own, self.word.load(Ordering::Relaxed)).ok_or(TimedOut);
            };
            let woken = wait(self.sleepers(), expected, time);
            if let Some(taken) = self.slept(&mut queuer, woken) {
                return Ok(taken);
            }
        }
    }

    /// Takes it if it is free, or becomes so in a moment: what comes before a wait.
    #[inline]
    pub(crate) fn lock_at_once(&self) -> Option<Taken> {
        let own = own_identity();
        if self.exchange(0, own) { Some(Taken::Clean) } else { self.spin(own) }
    }

    /// The word on which those sleep who wait.
    #[inline]
    pub(crate) fn sleepers(&self) -> Half<'_> {
        low_half(&self.word)
    }

    /// Announces sleepers, whatever the lock is just now; gives the word on which they sleep. For
    /// those who stay when one of several that slept as one was woken: a release is sure to change
    /// an announced word.
    pub(crate) fn announce(&self) -> u32 {
        (self.word.fetch_or(CONTENDED, Ordering::Relaxed) | CONTENDED) as u32
    }

    /// Takes it, or announces a sleeper.
    pub(crate) fn look(&self, queuer: &mut Queuer) -> Step<Taken> {
        let own = own_identity();
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let starved = queuer.is_starved();
            if is_free(word) && (queuer.slept || word & STARVING == 0) {
                // Others may sleep too: whoever has slept passes the wake-up on.
                let mut to = own | word & (INCONSISTENT | CONTENDED);
                if queuer.slept {
                    to |= CONTENDED;
                }
                if starved {
                    to |= word & STARVING;
                }
                if self.exchange(word, to) {
                    return Step::Done(taken(word));
                }
                continue;
            }
            let announced = word | CONTENDED | if starved { STARVING } else { 0 };
            if announced == word || self.exchange(word, announced) {
                return Step::Sleep { expected: announced as u32, nap: queuer.nap };
            }
        }
    }

    /// Said after a sleep. If the nap was over, takes the lock from an owner that is dead.
    pub(crate) fn slept(&self, queuer: &mut Queuer, woken: Woken) -> Option<Taken> {
        if !queuer.woke(woken) {
            return None;
        }
        // Who holds it *now* counts: it may have changed hands since the nap began.
        let word = self.word.load(Ordering::Relaxed);
        let to = own_identity() | INCONSISTENT | CONTENDED | word & STARVING;
        let inherited = !is_free(word) && is_dead(word) && self.exchange(word, to);
        inherited.then_some(Taken::OwnerDied)
    }

    /// Releases it, whoever holds it.
    #[inline]
    pub(crate) fn unlock(&self) -> Result<(), NotHeld> {
        let word = self.word.load(Ordering::Relaxed);
        if word & !IDENTITY_MASK == 0 && word != 0 && self.leave(word, 0) {
            return Ok(());
        }
        self.unlock_slow()
    }

    #[inline]
    fn leave(&self, from: u64, to: u64) -> bool {
        self.word.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn unlock_slow(&self) -> Result<(), NotHeld> {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if is_free(word) {
                return Err(NotHeld);
            }
            let to = word & (INCONSISTENT | STARVING);
            if !self.leave(word, to) {
                continue;
            }
            if word & CONTENDED != 0 && wake(self.sleepers(), 1) == 0 && to & STARVING != 0 {
                // Nobody sleeps: the reservation is for nobody.
                let _ = self.leave(to, to & !STARVING);
            }
            return Ok(());
        }
    }

    /// Says that what the lock protects is in order again, after [`Taken::OwnerDied`]. Called by
    /// whoever holds it.
    pub(crate) fn make_consistent(&self) {
        self.word.fetch_and(!INCONSISTENT, Ordering::Relaxed);
    }

    /// How it was taken, for whoever holds it.
    #[inline]
    pub(crate) fn taken(&self) -> Taken {
        taken(self.word.load(Ordering::Relaxed))
    }

    /// Whether somebody holds it.
    #[inline]
    pub(crate) fn is_locked(&self) -> bool {
        !is_free(self.word.load(Ordering::Relaxed))
    }

    /// Whether this process holds it (one of its threads, that is).
    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        self.word.load(Ordering::Relaxed) & IDENTITY_MASK == own_identity()
    }

    /// Whether its owner died and nobody has made good for that: it holds it still, or those after
    /// it have said nothing.
    pub(crate) fn is_orphaned(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word & INCONSISTENT != 0 || !is_free(word) && seems_dead(word)
    }
}
