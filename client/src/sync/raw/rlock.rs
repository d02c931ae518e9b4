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
        self.owner.load(Ordering::Relaxed) == own_thread()
    }

    /// Takes it once more, if this thread has it already.
    #[inline]
    fn again(&self) -> Option<Taken> {
        self.is_own().then(|| {
            self.depth.store(self.depth() + 1, Ordering::Relaxed);
            self.lock.taken()
        })
    }

    #[inline]
    fn enter(&self, taken: Taken, depth: u64) -> Taken {
        self.depth.store(depth, Ordering::Relaxed);
        self.owner.store(own_thread(), Ordering::Relaxed);
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
        if !self.is_own() {
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
        if !self.is_own() {
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
