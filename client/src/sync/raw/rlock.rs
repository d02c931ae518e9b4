//! The recursive lock: a lock word, whose thread it is and how often it took it.
//!
//! The owner's thread stands in one word that no other thread of any process ever writes the same
//! way, so a thread that finds itself there owns the lock, whatever a dead owner left behind. It is
//! written after the lock is taken and cleared before it is released: an owner that dies anywhere
//! in between leaves a lock whose next owner begins to count from one.

use super::atomics::{AtomicU64, Deadline, Ordering, own_thread, shared_struct};
use super::lock::{RawLock, Taken, TimedOut};

/// The lock is not this thread's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOwner;

shared_struct! {
    /// A recursive lock in shared memory. All zeros is a free one.
    pub(crate) struct RawRLock {
        lock: RawLock,
        /// The thread that holds it; 0 for none, or for one that is just taking or leaving it.
        owner: AtomicU64,
        /// How often it holds it. Means something to the owner only. 64 bits do not overflow.
        depth: AtomicU64,
    }
}

impl RawRLock {
    /// Whether this thread holds it.
    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        // Nobody else writes what this thread compares with: no ordering is needed.
        self.is_of(own_thread())
    }

    /// Whether that thread holds it, or whatever else the word stands for.
    #[inline]
    pub(crate) fn is_of(&self, who: u64) -> bool {
        self.owner.load(Ordering::Relaxed) == who
    }

    /// Takes it once more, if this thread has it already.
    #[inline]
    fn again(&self) -> Option<Taken> {
        self.again_as(own_thread())
    }

    /// The same for another owner than this thread.
    #[inline]
    pub(crate) fn again_as(&self, who: u64) -> Option<Taken> {
        self.is_of(who).then(|| {
            self.depth.store(self.depth() + 1, Ordering::Relaxed);
            self.lock.taken()
        })
    }

    #[inline]
    fn enter(&self, taken: Taken, depth: u64) -> Taken {
        self.enter_as(own_thread(), taken, depth)
    }

    /// Said by who has taken the [lock word](Self::word), in the name of its owner.
    #[inline]
    pub(crate) fn enter_as(&self, who: u64, taken: Taken, depth: u64) -> Taken {
        self.depth.store(depth, Ordering::Relaxed);
        self.owner.store(who, Ordering::Relaxed);
        taken
    }

    fn depth(&self) -> u64 {
        self.depth.load(Ordering::Relaxed)
    }

    /// Takes it if that needs no waiting.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Taken> {
        self.again().or_else(|| Some(self.enter(self.lock.try_lock()?, 1)))
    }

    /// Takes it, waiting until the deadline.
    #[inline]
    pub(crate) fn lock(&self, deadline: Deadline) -> Result<Taken, TimedOut> {
        match self.again() {
            Some(taken) => Ok(taken),
            None => Ok(self.enter(self.lock.lock(deadline)?, 1)),
        }
    }

    /// Undoes one taking.
    #[inline]
    pub(crate) fn unlock(&self) -> Result<(), NotOwner> {
        self.unlock_as(own_thread())
    }

    /// The same for another owner than this thread.
    #[inline]
    pub(crate) fn unlock_as(&self, who: u64) -> Result<(), NotOwner> {
        if !self.is_of(who) {
            return Err(NotOwner);
        }
        match self.depth() {
            0 | 1 => self.leave(),
            deeper => self.depth.store(deeper - 1, Ordering::Relaxed),
        }
        Ok(())
    }

    #[inline]
    fn leave(&self) {
        self.owner.store(0, Ordering::Relaxed);
        // It is held: by this thread, until now.
        let _ = self.lock.unlock();
    }

    /// Undoes all takings of this thread; tells how many there were, for [`resume`](Self::resume).
    pub(crate) fn suspend(&self) -> Result<u64, NotOwner> {
        self.suspend_as(own_thread())
    }

    /// The same for another owner than this thread.
    pub(crate) fn suspend_as(&self, who: u64) -> Result<u64, NotOwner> {
        if !self.is_of(who) {
            return Err(NotOwner);
        }
        let depth = self.depth();
        self.leave();
        Ok(depth)
    }

    /// Takes it as often as it was before [`suspend`](Self::suspend).
    pub(crate) fn resume(&self, depth: u64, deadline: Deadline) -> Result<Taken, TimedOut> {
        Ok(self.enter(self.lock.lock(deadline)?, depth.max(1)))
    }

    /// The lock word.
    pub(crate) fn word(&self) -> &RawLock {
        &self.lock
    }
}
