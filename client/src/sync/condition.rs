//! `Condition`: waiting for what others change under a lock.

use super::error::{Acquired, OwnerDied, SyncError};
use super::lock::Lock;
use super::raw::atomics::{Deadline, shared_struct};
use super::raw::condition::{Monitor, RawCondition, Waited, Waiter};
use super::raw::lock::Taken;
use super::rlock::RLock;
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sys::mapping::Region;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

mod awaited;

pub use awaited::AsyncConditionGuard;

/// How many may wait at once.
const WAITERS: usize = 256;

shared_struct! {
    /// A condition as it lies in memory.
    pub(crate) struct ConditionState {
        raw: RawCondition,
    }
}

impl Object for ConditionState {
    const KIND: u32 = 5;
    const NAME: &'static str = "Condition";
}

/// The lock of a [`Condition`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ConditionLock {
    /// One that is not recursive.
    Lock(Lock),
    /// A recursive one.
    RLock(RLock),
}

impl From<Lock> for ConditionLock {
    fn from(lock: Lock) -> Self {
        Self::Lock(lock)
    }
}

impl From<&Lock> for ConditionLock {
    fn from(lock: &Lock) -> Self {
        Self::Lock(lock.clone())
    }
}

impl From<&RLock> for ConditionLock {
    fn from(lock: &RLock) -> Self {
        Self::RLock(lock.clone())
    }
}

impl From<RLock> for ConditionLock {
    fn from(lock: RLock) -> Self {
        Self::RLock(lock)
    }
}

/// Waits for something to change under a lock, as `multiprocessing.Condition`. Clones are the same
/// condition with the same lock, here and in every process that a clone travels to.
///
/// A notifier never waits for anybody. A waiter that dies takes no notification with it: one that
/// was meant for it goes to another that waited then. A waiter that was stopped is alive. When a
/// process dies *with the lock*, those who wait cannot know whether it would have notified them:
/// each of their waits ends within 100 ms with [`SyncError::OwnerDied`], until somebody calls
/// [`make_consistent`](Self::make_consistent). Up to 256 threads may wait at once.
///
/// ```
/// use mpserverd_client as mp;
/// use std::time::Duration;
///
/// let condition = mp::Condition::new()?;
/// let guard = condition.lock().unwrap();
/// assert!(!condition.wait(Some(Duration::from_millis(1)))?);
/// assert!(condition.wait_for(|| true, None)?);
/// condition.notify_all()?;
/// drop(guard);
/// assert!(matches!(condition.notify(1), Err(mp::SyncError::NotOwner { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Condition {
    lock: ConditionLock,
    object: Shareable<ConditionState>,
    waiters: Region,
}

/// What travels of a condition.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Condition")]
struct Parts(ConditionLock, Shareable<ConditionState>);

impl From<Condition> for Parts {
    fn from(condition: Condition) -> Self {
        Self(condition.lock, condition.object)
    }
}

impl TryFrom<Parts> for Condition {
    type Error = ShareError;

    fn try_from(Parts(lock, object): Parts) -> Result<Self, ShareError> {
        let damaged = ShareError::Damaged { object: ConditionState::NAME };
        let waiters = object.whole_tail(align_of::<Waiter>()).ok_or(damaged)?;
        Ok(Self { lock, object, waiters })
    }
}

/// The held lock of a [`Condition`]; releases it once when dropped. It stays with its thread.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct ConditionGuard<'a> {
    condition: &'a Condition,
    _not_send: PhantomData<*const ()>,
}

impl Condition {
    /// A new condition with a lock of its own, which is recursive.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptor for it.
    pub fn new() -> Result<Self, ShareError> {
        Self::with_lock(RLock::new()?)
    }

    /// A new condition of a lock that others may use too.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptor for it.
    pub fn with_lock(lock: impl Into<ConditionLock>) -> Result<Self, ShareError> {
        let bytes = WAITERS * size_of::<Waiter>();
        let object = Shareable::with_tail(bytes, align_of::<Waiter>(), |_| ())?;
        Self::try_from(Parts(lock.into(), object))
    }

    /// Its lock.
    #[must_use]
    pub fn get_lock(&self) -> &ConditionLock {
        &self.lock
    }

    fn monitor(&self) -> &dyn Monitor {
        match &self.lock {
            ConditionLock::Lock(lock) => lock.raw(),
            ConditionLock::RLock(lock) => lock.raw(),
        }
    }

    /// Takes the lock, however long that takes.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if its last owner died with it.
    pub fn lock(&self) -> Result<ConditionGuard<'_>, OwnerDied<ConditionGuard<'_>>> {
        loop {
            let acquired = self.acquire(true, None);
            if acquired.is_held() {
                let guard = ConditionGuard { condition: self, _not_send: PhantomData };
                let died = acquired == Acquired::OwnerDied;
                return if died { Err(OwnerDied(guard)) } else { Ok(guard) };
            }
        }
    }

    /// Takes the lock as its own `acquire` does.
    pub fn acquire(&self, block: bool, timeout: Option<Duration>) -> Acquired {
        match &self.lock {
            ConditionLock::Lock(lock) => lock.acquire(block, timeout),
            ConditionLock::RLock(lock) => lock.acquire(block, timeout),
        }
    }

    /// Releases the lock once.
    ///
    /// # Errors
    /// Those of the lock's own `release`.
    pub fn release(&self) -> Result<(), SyncError> {
        match &self.lock {
            ConditionLock::Lock(lock) => lock.release(),
            ConditionLock::RLock(lock) => lock.release(),
        }
    }

    /// Whether somebody holds the lock just now.
    #[must_use]
    pub fn locked(&self) -> bool {
        match &self.lock {
            ConditionLock::Lock(lock) => lock.locked(),
            ConditionLock::RLock(lock) => lock.locked(),
        }
    }

    /// Says that what the lock protects is in order again, after its owner died.
    ///
    /// # Errors
    /// [`SyncError::NotOwner`] if the lock is not held here.
    pub fn make_consistent(&self) -> Result<(), SyncError> {
        match &self.lock {
            ConditionLock::Lock(lock) => lock.make_consistent(),
            ConditionLock::RLock(lock) => lock.make_consistent(),
        }
    }

    fn check_owner(&self) -> Result<(), SyncError> {
        let not_owner = SyncError::NotOwner { object: ConditionState::NAME };
        if self.monitor().is_own() { Ok(()) } else { Err(not_owner) }
    }

    /// Waits until somebody notifies, for ever without a timeout; tells whether somebody did. The
    /// lock is released meanwhile, however often it was taken, and held as before afterwards,
    /// whatever this returns.
    ///
    /// The time is that of the wait; taking the lock again may take longer. Whoever is notified in
    /// between was notified.
    ///
    /// # Errors
    /// [`SyncError::NotOwner`] if the lock is not held here; [`SyncError::TooManyWaiters`];
    /// [`SyncError::OwnerDied`] if a process died with the lock: look at everything yourself.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, SyncError> {
        self.wait_until(Deadline::of(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<bool, SyncError> {
        self.check_owner()?;
        let waiters = self.waiters.entries();
        let waited = self.object.raw.wait(waiters, self.monitor(), deadline);
        let object = ConditionState::NAME;
        match waited.map_err(|_| SyncError::TooManyWaiters { object, limit: waiters.len() })? {
            Waited { lock: Taken::OwnerDied, .. } => Err(SyncError::OwnerDied { object }),
            Waited { notified, lock: Taken::Clean } => Ok(notified),
        }
    }

    /// Waits until the predicate holds; gives what it said last.
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait).
    pub fn wait_for(
        &self,
        mut predicate: impl FnMut() -> bool,
        timeout: Option<Duration>,
    ) -> Result<bool, SyncError> {
        let deadline = Deadline::of(timeout);
        let ends = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.check_owner()?;
        loop {
            if predicate() {
                return Ok(true);
            }
            if ends.is_some_and(|ends| Instant::now() >= ends) {
                return Ok(false);
            }
            self.wait_until(deadline)?;
        }
    }

    /// Wakes so many of those who wait, the longest first, or all if there are not so many. Gives
    /// how many.
    ///
    /// # Errors
    /// [`SyncError::NotOwner`] if the lock is not held here.
    pub fn notify(&self, count: usize) -> Result<usize, SyncError> {
        self.check_owner()?;
        Ok(self.object.raw.notify(self.waiters.entries(), count))
    }

    /// Wakes all who wait. Gives how many.
    ///
    /// # Errors
    /// [`SyncError::NotOwner`] if the lock is not held here.
    pub fn notify_all(&self) -> Result<usize, SyncError> {
        self.notify(usize::MAX)
    }

    /// How many wait just now and were not notified yet: a hint, unless the lock is held.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.object.raw.waiting(self.waiters.entries())
    }

    /// Whether both are the same condition.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.object.is(&other.object)
    }
}

impl ConditionGuard<'_> {
    /// Says that what the lock protects is in order again, after its owner died.
    pub fn make_consistent(&self) {
        // It is held: that is what the guard stands for.
        let _ = self.condition.make_consistent();
    }
}

impl Drop for ConditionGuard<'_> {
    fn drop(&mut self) {
        // Somebody may have called `release` for it already.
        let _ = self.condition.release();
    }
}
