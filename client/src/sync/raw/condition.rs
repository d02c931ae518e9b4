//! The condition: who waits, in which order, and who was notified.
//!
//! A waiter has a place of its own with a word to sleep on. It enters it, and leaves it, while it
//! holds the lock of the condition; a notifier holds the lock too. Still every change is a
//! compare-and-swap or a store to one's own place, so a notifier that wrongly believes to hold a
//! lock does no harm, and a death anywhere leaves something true:
//!
//! | `who` | `state` | meaning |
//! |---|---|---|
//! | 0 | any | free |
//! | identity | any | somebody is just entering |
//! | identity and `READY` | `WAITING` | waits since `ticket` |
//! | identity and `READY` | `NOTIFIED` | was notified by the notification `ticket` |
//! | identity and `READY` | `LEFT` | gave up without the lock, and is just leaving |
//!
//! Waiters and notifications draw tickets from one counter. A notifier marks those with the lowest
//! tickets and wakes each, and never waits for any. A place
//! whose process is dead is freed by whoever comes upon it. If that one was notified and had not
//! yet returned, the notification goes to the longest waiter among those that waited then.

use super::atomics::{
    AtomicU32, AtomicU64, Deadline, Ordering, Woken, is_dead, own_identity, shared_struct, wait,
    wake,
};
use super::lock::{NAP_LONGEST, RawLock, Taken};
use super::rlock::RawRLock;

/// Beside the identity, in bits that it does not use: the place is complete.
const READY: u64 = 1 << 28;

const WAITING: u32 = 0;
const NOTIFIED: u32 = 1;
const LEFT: u32 = 2;

shared_struct! {
    /// A place for one waiter. All zeros is a free one.
    pub(crate) struct Waiter {
        who: AtomicU64,
        ticket: AtomicU64,
        state: AtomicU32,
        reserved: AtomicU32,
    }
}

shared_struct! {
    /// A condition in shared memory, but for the places of its waiters.
    pub(crate) struct RawCondition {
        /// The next ticket.
        next: AtomicU64,
    }
}

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

/// How a wait ended. The lock is held again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waited {
    /// Whether somebody notified.
    pub(crate) notified: bool,
    /// How the lock was taken again.
    pub(crate) lock: Taken,
}

/// What a condition needs of its lock.
pub(crate) trait Monitor {
    /// Whether this thread (or process) holds it.
    fn is_own(&self) -> bool;
    /// Releases it wholly; how often it was held is for [`resume`](Self::resume).
    fn suspend(&self) -> u64;
    /// Takes it again, however long that takes.
    fn resume(&self, depth: u64) -> Taken;
    /// Whether somebody died with it and nobody has made good for that.
    fn is_orphaned(&self) -> bool;
}

impl Monitor for RawLock {
    fn is_own(&self) -> bool {
        self.is_own()
    }

    fn suspend(&self) -> u64 {
        // Somebody may have released it for the caller.
        let _ = self.unlock();
        1
    }

    fn resume(&self, _depth: u64) -> Taken {
        loop {
            if let Ok(taken) = self.lock(Deadline::NEVER) {
                return taken;
            }
        }
    }

    fn is_orphaned(&self) -> bool {
        self.is_orphaned()
    }
}

impl Monitor for RawRLock {
    fn is_own(&self) -> bool {
        self.is_own()
    }

    fn suspend(&self) -> u64 {
        self.suspend().unwrap_or(1)
    }

    fn resume(&self, depth: u64) -> Taken {
        loop {
            if let Ok(taken) = self.resume(depth, Deadline::NEVER) {
                return taken;
            }
        }
    }

    fn is_orphaned(&self) -> bool {
        self.word().is_orphaned()
    }
}

impl Waiter {
    fn is_waiting(&self) -> bool {
        self.who.load(Ordering::Acquire) & READY != 0
            && self.state.load(Ordering::Relaxed) == WAITING
    }

    /// The word on which the waiter sleeps, and what it is until it is notified.
    pub(crate) fn sleeper(&self) -> (&AtomicU32, u32) {
        (&self.state, WAITING)
    }

    /// Whether the waiter, who asks this itself, was notified.
    pub(crate) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) != WAITING
    }

    /// Leaves the place; tells whether the waiter was notified. Called by who holds the lock, so
    /// nobody notifies it meanwhile: what stands there is final.
    pub(crate) fn leave(&self) -> bool {
        let notified = self.is_notified();
        self.who.store(0, Ordering::Release);
        notified
    }

    /// Frees the place of somebody dead; `false` if others were faster.
    fn bury(&self, who: u64) -> bool {
        self.who.compare_exchange(who, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl RawCondition {
    /// Waits until notified or until the deadline, without the lock meanwhile. Called by who holds
    /// the lock.
    ///
    /// Somebody who dies with the lock may have been about to notify. So a waiter whose nap ends
    /// takes a lock in that state and returns, until somebody has made good for the death.
    pub(crate) fn wait(
        &self,
        waiters: &[Waiter],
        monitor: &dyn Monitor,
        deadline: Deadline,
    ) -> Result<Waited, Crowded> {
        let place = &waiters[self.enter(waiters)?];
        let depth = monitor.suspend();
        let lock = loop {
            if place.is_notified() {
                break monitor.resume(depth);
            }
            let Some(time) = deadline.nap(NAP_LONGEST) else { break monitor.resume(depth) };
            if wait(&place.state, WAITING, time) != Woken::TimedOut {
                continue;
            }
            self.hand_on(waiters);
            if monitor.is_orphaned() {
                match monitor.resume(depth) {
                    Taken::OwnerDied => break Taken::OwnerDied,
                    // Somebody else has put it in order meanwhile.
                    Taken::Clean => monitor.suspend(),
                };
            }
        };
        Ok(Waited { notified: place.leave(), lock })
    }

    /// Takes a place to wait at and gives its number. Called by who holds the lock.
    pub(crate) fn enter(&self, waiters: &[Waiter]) -> Result<usize, Crowded> {
        let own = own_identity();
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let start = (ticket % waiters.len().max(1) as u64) as usize;
        let free = |at: &usize| {
            let who = &waiters[*at].who;
            who.compare_exchange(0, own, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let look = || (start..waiters.len()).chain(0..start).find(free);
        let at = match look() {
            Some(at) => at,
            None => {
                self.bury_all(waiters);
                look().ok_or(Crowded)?
            }
        };
        let place = &waiters[at];
        place.ticket.store(ticket, Ordering::Relaxed);
        place.state.store(WAITING, Ordering::Relaxed);
        place.who.store(own | READY, Ordering::Release);
        Ok(at)
    }

    /// Leaves a place without the lock, as somebody who dies would. A notification that was meant
    /// for this waiter goes to another one that waited then.
    pub(crate) fn abandon(&self, waiters: &[Waiter], place: &Waiter) {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        if place.state.compare_exchange(WAITING, LEFT, relaxed, acquire).is_ok() {
            // No notifier can mean it any more.
            place.who.store(0, Ordering::Release);
            return;
        }
        let before = place.ticket.load(Ordering::Relaxed);
        place.who.store(0, Ordering::Release);
        self.notify_one(waiters, before);
    }

    /// Frees the places of all who are dead.
    #[cold]
    fn bury_all(&self, waiters: &[Waiter]) {
        self.hand_on(waiters);
        for place in waiters {
            let who = place.who.load(Ordering::Relaxed);
            if who != 0 && is_dead(who) {
                place.bury(who);
            }
        }
    }

    /// Gives notifications of those that died with one to others.
    pub(crate) fn hand_on(&self, waiters: &[Waiter]) {
        for place in waiters {
            let who = place.who.load(Ordering::Acquire);
            let notified = who & READY != 0 && place.state.load(Ordering::Acquire) == NOTIFIED;
            if notified && is_dead(who) {
                let before = place.ticket.load(Ordering::Relaxed);
                if place.bury(who) {
                    self.notify_one(waiters, before);
                }
            }
        }
    }

    /// Notifies the longest waiters, so many or all there are; tells how many. Called by who holds
    /// the lock.
    pub(crate) fn notify(&self, waiters: &[Waiter], count: usize) -> usize {
        // A ticket of its own: whoever enters later is not meant, and whose ticket is replaced by
        // this one is meant by the next notification, should this notifier die.
        let before = self.next.fetch_add(1, Ordering::Relaxed);
        (0..count.min(waiters.len())).take_while(|_| self.notify_one(waiters, before)).count()
    }

    /// Notifies the longest waiter that is alive, of those with a ticket below `before`.
    fn notify_one(&self, waiters: &[Waiter], before: u64) -> bool {
        // Each time round, somebody is notified, buried or was so by others meanwhile.
        loop {
            let waiting = waiters.iter().filter(|place| place.is_waiting());
            let ticket = |place: &&Waiter| place.ticket.load(Ordering::Relaxed);
            let eligible = waiting.filter(|place| ticket(place) < before);
            let Some(place) = eligible.min_by_key(ticket) else { return false };
            if give(place, before) {
                return true;
            }
        }
    }

    /// How many wait and were not notified yet.
    pub(crate) fn waiting(&self, waiters: &[Waiter]) -> usize {
        waiters.iter().filter(|place| place.is_waiting()).count()
    }
}

/// Notifies one waiter; `false` if it is dead, or was notified by somebody else.
fn give(place: &Waiter, before: u64) -> bool {
    let who = place.who.load(Ordering::Relaxed);
    place.ticket.store(before, Ordering::Relaxed);
    let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
    if place.state.compare_exchange(WAITING, NOTIFIED, release, relaxed).is_err() {
        return false;
    }
    // Whoever is woken was asleep, so it was alive: only of others it must be asked.
    if wake(&place.state, 1) == 0 && is_dead(who) {
        place.bury(who);
        return false;
    }
    true
}
