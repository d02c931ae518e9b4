//! A [`Condition`] that is awaited: waiting takes its guard and gives it back.

use super::{Condition, ConditionLock, ConditionState, Object, OwnerDied, SyncError, Taken};
use crate::reactor::{Seat, Whom, Word};
use crate::sync::awaited;
use crate::sync::raw::atomics::own_identity;
use crate::sync::raw::condition::{Monitor, Waiter};
use crate::sync::raw::lock::NAP_LONGEST;
use crate::sys::futex::Woken;
use crate::sys::identity::fresh_tag;
use crate::sys::mapping::Region;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// The held lock of a [`Condition`], for tasks: it may go to another thread. Releases the lock when
/// dropped, in the process that took it.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct AsyncConditionGuard<'a> {
    condition: &'a Condition,
    /// Whose a recursive lock is: this guard's.
    owner: u64,
    taken_by: u64,
}

/// The place of one who waits. Dropping it hands a notification on.
struct Seated<'a> {
    condition: &'a Condition,
    at: usize,
    by: u64,
}

/// The word on which it sleeps.
struct PlaceOf {
    waiters: Region,
    at: usize,
}

impl Word for PlaceOf {
    fn word(&self) -> &AtomicU32 {
        self.waiters.entries::<Waiter>()[self.at].sleeper().0
    }
}

impl Seated<'_> {
    fn place(&self) -> &Waiter {
        &self.condition.waiters.entries::<Waiter>()[self.at]
    }

    /// Leaves the place with the lock held.
    fn leave(self) {
        let _ = self.place().leave();
        std::mem::forget(self);
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        // In a fork it is a copy: the place is the parent's.
        if self.by == own_identity() {
            let waiters = self.condition.waiters.entries();
            self.condition.object.raw.abandon(waiters, self.place());
        }
    }
}

impl Condition {
    /// Takes the lock, however long that takes, without keeping a thread: the awaited
    /// [`lock`](Self::lock). A recursive lock is the guard's, as with
    /// [`RLock::lock_async`](crate::RLock::lock_async).
    ///
    /// Dropping the future leaves the lock to others.
    ///
    /// ```
    /// use mpserverd_client as mp;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let condition = mp::Condition::new()?;
    /// let waits = async {
    ///     let guard = condition.lock_async().await.unwrap();
    ///     guard.wait_async().await.1
    /// };
    /// let notifies = async {
    ///     while condition.waiters() == 0 {
    ///         tokio::task::yield_now().await;
    ///     }
    ///     condition.lock_async().await.unwrap().notify(1)
    /// };
    /// let (waited, notified) = tokio::join!(waits, notifies);
    /// waited?;
    /// assert_eq!(notified, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if its last owner died with it.
    pub async fn lock_async(
        &self,
    ) -> Result<AsyncConditionGuard<'_>, OwnerDied<AsyncConditionGuard<'_>>> {
        let (owner, taken_by) = (fresh_tag(), own_identity());
        let taken = self.take_async(owner, 1).await;
        let guard = AsyncConditionGuard { condition: self, owner, taken_by };
        match taken {
            Taken::Clean => Ok(guard),
            Taken::OwnerDied => Err(OwnerDied(guard)),
        }
    }

    async fn take_async(&self, owner: u64, depth: u64) -> Taken {
        match &self.lock {
            ConditionLock::Lock(lock) => awaited::lock(lock.handle(), |state| &state.raw).await,
            ConditionLock::RLock(lock) => {
                let taken = awaited::lock(lock.handle(), |state| state.raw.word()).await;
                lock.raw().enter_as(owner, taken, depth)
            }
        }
    }

    /// Releases the lock wholly; gives how often it was held.
    fn give(&self, owner: u64) -> u64 {
        match &self.lock {
            ConditionLock::Lock(lock) => Monitor::suspend(lock.raw()),
            ConditionLock::RLock(lock) => lock.raw().suspend_as(owner).unwrap_or(1),
        }
    }
}

impl<'a> AsyncConditionGuard<'a> {
    fn is_own(&self) -> bool {
        self.taken_by == own_identity()
    }

    /// Waits until somebody notifies: the awaited [`wait`](Condition::wait). The lock is released
    /// meanwhile and held again by the guard that comes back.
    ///
    /// Dropping the future leaves the lock released: there is no guard any more. A notification
    /// that had come goes to another one that waited then. So after a
    /// [`timeout`](crate::timeout) take the lock anew.
    ///
    /// # Errors
    /// [`SyncError::TooManyWaiters`]; [`SyncError::OwnerDied`] if a process died with the lock:
    /// look at everything yourself. The lock is held then too.
    pub async fn wait_async(self) -> (Self, Result<(), SyncError>) {
        let Self { condition, owner, taken_by } = self;
        let raw = &condition.object.raw;
        let waiters = condition.waiters.entries::<Waiter>();
        let object = ConditionState::NAME;
        if !self.is_own() {
            return (self, Err(SyncError::NotOwner { object }));
        }
        let Ok(at) = raw.enter(waiters) else {
            return (self, Err(SyncError::TooManyWaiters { object, limit: waiters.len() }));
        };
        let seated = Seated { condition, at, by: taken_by };
        std::mem::forget(self);
        let depth = condition.give(owner);
        let taken = condition.notified(&seated, owner, depth).await;
        seated.leave();
        let guard = Self { condition, owner, taken_by };
        match taken {
            Taken::Clean => (guard, Ok(())),
            Taken::OwnerDied => (guard, Err(SyncError::OwnerDied { object })),
        }
    }

    /// Waits until the predicate holds.
    ///
    /// Dropping the future leaves the lock released, or held for as long as the predicate takes.
    ///
    /// # Errors
    /// Those of [`wait_async`](Self::wait_async).
    pub async fn wait_for_async(
        self,
        mut predicate: impl FnMut() -> bool,
    ) -> (Self, Result<(), SyncError>) {
        let mut guard = self;
        while !predicate() {
            let waited = guard.wait_async().await;
            guard = waited.0;
            if waited.1.is_err() {
                return (guard, waited.1);
            }
        }
        (guard, Ok(()))
    }

    /// Wakes so many of those who wait, the longest first, or all if there are not so many. Gives
    /// how many.
    pub fn notify(&self, count: usize) -> usize {
        let condition = self.condition;
        let count = if self.is_own() { count } else { 0 };
        condition.object.raw.notify(condition.waiters.entries(), count)
    }

    /// Wakes all who wait. Gives how many.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// Says that what the lock protects is in order again, after its owner died.
    pub fn make_consistent(&self) {
        match &self.condition.lock {
            ConditionLock::Lock(lock) => lock.raw().make_consistent(),
            ConditionLock::RLock(lock) => lock.raw().word().make_consistent(),
        }
    }
}

impl Condition {
    /// Sleeps at a place until it is notified, and takes the lock again.
    async fn notified(&self, seated: &Seated<'_>, owner: u64, depth: u64) -> Taken {
        let raw = &self.object.raw;
        let waiters = self.waiters.entries::<Waiter>();
        let (_, waiting) = seated.place().sleeper();
        let mut seat = Seat::new(Whom::One);
        let word: Arc<dyn Word> =
            Arc::new(PlaceOf { waiters: self.waiters.clone(), at: seated.at });
        while !seated.place().is_notified() {
            if seat.sleep(word.clone(), waiting, NAP_LONGEST).await != Woken::TimedOut {
                continue;
            }
            raw.hand_on(waiters);
            if self.monitor().is_orphaned() {
                match self.take_async(owner, depth).await {
                    Taken::OwnerDied => return Taken::OwnerDied,
                    // Somebody else has put it in order meanwhile.
                    Taken::Clean => self.give(owner),
                };
            }
        }
        self.take_async(owner, depth).await
    }
}

impl Drop for AsyncConditionGuard<'_> {
    fn drop(&mut self) {
        // In a fork it is a copy: the lock is the parent's.
        if self.is_own() {
            match &self.condition.lock {
                ConditionLock::Lock(lock) => drop(lock.release()),
                ConditionLock::RLock(lock) => drop(lock.raw().unlock_as(self.owner)),
            }
        }
    }
}
