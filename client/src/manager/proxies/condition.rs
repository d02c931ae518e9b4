//! `ConditionProxy`.

use super::lock::{acquire, ask};
use super::methods::mutex_methods;
use crate::manager::client::Late;
use crate::manager::error::ManagerError;
use crate::manager::proxy::proxy;
use crate::manager::wire::{Body, MutexOp, Op, Taken};
use crate::sync::Acquired;
use crate::sys::identity;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

proxy! {
    /// A condition in a manager's server, as `SyncManager.Condition`, with a recursive lock of its
    /// own.
    ///
    /// A waiter that dies is not notified any more and holds up nobody.
    ///
    /// ```no_run
    /// # use mpserverd_client as mp;
    /// # fn example(manager: &mp::Manager) -> Result<(), mp::ManagerError> {
    /// let (changed, level) = (manager.condition()?, manager.value(&0u32)?);
    /// let held = changed.lock()?;
    /// while level.get()? < 3 {
    ///     held.wait(None)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ConditionProxy
}

/// The held lock of a [`ConditionProxy`]; releases it when dropped.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct ConditionProxyGuard<'a> {
    proxy: &'a ConditionProxy,
    owner_died: bool,
    _not_send: PhantomData<*const ()>,
}

impl Drop for ConditionProxyGuard<'_> {
    fn drop(&mut self) {
        let _ = self.proxy.release();
    }
}

impl std::ops::Deref for ConditionProxyGuard<'_> {
    type Target = ConditionProxy;

    fn deref(&self) -> &ConditionProxy {
        self.proxy
    }
}

impl ConditionProxyGuard<'_> {
    /// Whether an owner died with the lock: what it protects may be half-changed.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}

impl ConditionProxy {
    /// Takes its lock, however long that takes.
    ///
    /// # Errors
    /// [`ManagerError`]; `Timeout` only if the proxy has one.
    pub fn lock(&self) -> Result<ConditionProxyGuard<'_>, ManagerError> {
        match self.acquire(true, None)? {
            Acquired::No => Err(ManagerError::Timeout(crate::TimeoutError(Duration::MAX))),
            acquired => {
                let owner_died = acquired == Acquired::OwnerDied;
                Ok(ConditionProxyGuard { proxy: self, owner_died, _not_send: PhantomData })
            }
        }
    }

    mutex_methods!("its lock", "once");

    /// Gives up the lock, waits to be notified, and takes the lock again; whether it was notified
    /// in time. The time is that of the notification: who has the lock then is waited for.
    ///
    /// # Errors
    /// [`ManagerError`], `Sync` among others; `OwnerDied` if somebody died with the lock meanwhile:
    /// it is held all the same.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, ManagerError> {
        let op = Op::Mutex { thread: identity::thread_tag(), op: MutexOp::Wait };
        let answered = self.handle.ask_waiting(Self::NAME, op, timeout, Late::Awaited)?;
        match answered.body()? {
            Body::Woken { taken: Taken::OwnerDied, .. } => {
                Err(crate::sync::SyncError::OwnerDied { object: Self::NAME }.into())
            }
            Body::Woken { notified, .. } => Ok(notified),
            _ => Err(ManagerError::Protocol(format!("{}: an odd answer", Self::NAME))),
        }
    }

    /// Waits until something holds, which is asked with the lock held: at first and after each
    /// notification. Whether it holds.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_for(
        &self,
        timeout: Option<Duration>,
        mut holds: impl FnMut() -> bool,
    ) -> Result<bool, ManagerError> {
        let begun = Instant::now();
        loop {
            if holds() {
                return Ok(true);
            }
            let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            self.wait(left)?;
        }
    }

    /// Wakes so many of those who wait, the longest first; how many.
    ///
    /// # Errors
    /// [`ManagerError`], `Sync` among others.
    pub fn notify(&self, count: usize) -> Result<usize, ManagerError> {
        ask(&self.handle, Self::NAME, MutexOp::Notify { count: count as u64 })?.count()
    }

    /// Wakes all who wait; how many.
    ///
    /// # Errors
    /// [`ManagerError`], `Sync` among others.
    pub fn notify_all(&self) -> Result<usize, ManagerError> {
        self.notify(usize::MAX)
    }

    /// How many wait.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn waiters(&self) -> Result<usize, ManagerError> {
        ask(&self.handle, Self::NAME, MutexOp::Waiters)?.count()
    }
}
