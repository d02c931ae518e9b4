//! `LockProxy` and `RLockProxy`.

use super::methods::mutex_methods;
use crate::manager::client::Late;
use crate::manager::error::ManagerError;
use crate::manager::handle::{Answered, Handle};
use crate::manager::proxy::proxy;
use crate::manager::wire::{Body, MutexOp, Op, Taken};
use crate::sync::Acquired;
use crate::sys::identity;
use std::marker::PhantomData;
use std::time::Duration;

proxy! {
    /// A lock in a manager's server, as `SyncManager.Lock`.
    ///
    /// Its owner is a process: any thread of it, and indeed any process, may
    /// [`release`](Self::release) it. When the owner dies, or drops its last proxy of it, the next
    /// one gets the lock and is told; until somebody says that all is
    /// [consistent](Self::make_consistent), so is whoever takes it.
    LockProxy
}

proxy! {
    /// A recursive lock in a manager's server, as `SyncManager.RLock`.
    ///
    /// Its owner is a *thread*, which can take it again and has to release it as often. The death
    /// of its process frees it, as with a [`LockProxy`].
    RLockProxy
}

/// Asks a lock or condition, as this thread.
pub(super) fn ask(
    handle: &Handle,
    name: &'static str,
    op: MutexOp,
) -> Result<Answered, ManagerError> {
    handle.ask(name, Op::Mutex { thread: identity::thread_tag(), op })
}

/// Takes a lock or the lock of a condition.
pub(super) fn acquire(
    handle: &Handle,
    name: &'static str,
    block: bool,
    timeout: Option<Duration>,
) -> Result<Acquired, ManagerError> {
    let op = Op::Mutex { thread: identity::thread_tag(), op: MutexOp::Acquire { block } };
    taken(handle.ask_waiting(name, op, timeout.filter(|_| block), Late::GiveBack))
}

/// How an acquisition ended.
pub(super) fn taken(answered: Result<Answered, ManagerError>) -> Result<Acquired, ManagerError> {
    let answered = match answered {
        Err(ManagerError::Timeout(_)) => return Ok(Acquired::No),
        answered => answered?,
    };
    match answered.body()? {
        Body::Taken(taken) => Ok(taken.into()),
        _ => Err(ManagerError::Protocol("an acquisition was answered otherwise".to_owned())),
    }
}

impl From<Taken> for Acquired {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken::Yes => Self::Yes,
            Taken::OwnerDied => Self::OwnerDied,
            Taken::No => Self::No,
        }
    }
}

macro_rules! lock {
    ($name:ident, $guard:ident, $what:literal, $who:literal) => {
        #[doc = concat!("A held ", $what, "; releases it when dropped.")]
        ///
        /// It cannot go to another thread. A server that is gone cannot be told.
        #[derive(Debug)]
        #[must_use = "the lock is released when the guard is dropped"]
        pub struct $guard<'a> {
            proxy: &'a $name,
            owner_died: bool,
            _not_send: PhantomData<*const ()>,
        }

        impl $guard<'_> {
            /// Whether an owner died with it: what it protects may be half-changed.
            #[must_use]
            pub fn owner_died(&self) -> bool {
                self.owner_died
            }

            /// Says that what it protects is in order again.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn make_consistent(&mut self) -> Result<(), ManagerError> {
                self.proxy.make_consistent()?;
                self.owner_died = false;
                Ok(())
            }
        }

        impl Drop for $guard<'_> {
            fn drop(&mut self) {
                let _ = self.proxy.release();
            }
        }

        impl $name {
            /// Takes it, however long that takes.
            ///
            /// # Errors
            /// [`ManagerError`]; `Timeout` only if the proxy has one.
            pub fn lock(&self) -> Result<$guard<'_>, ManagerError> {
                let timeout = ManagerError::Timeout(crate::TimeoutError(Duration::MAX));
                self.guard(self.acquire(true, None)?).ok_or(timeout)
            }

            /// Takes it if it is free; `None` if it is not.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn try_lock(&self) -> Result<Option<$guard<'_>>, ManagerError> {
                Ok(self.guard(self.acquire(false, None)?))
            }

            /// Takes it, waiting no longer than this; `None` if the time passes first.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn lock_timeout(
                &self,
                timeout: Duration,
            ) -> Result<Option<$guard<'_>>, ManagerError> {
                Ok(self.guard(self.acquire(true, Some(timeout))?))
            }

            fn guard(&self, acquired: Acquired) -> Option<$guard<'_>> {
                let owner_died = acquired == Acquired::OwnerDied;
                let guard = || $guard { proxy: self, owner_died, _not_send: PhantomData };
                acquired.is_held().then(guard)
            }

            mutex_methods!("it", $who);
        }
    };
}

lock!(LockProxy, LockProxyGuard, "[`LockProxy`]", "whoever holds it");
lock!(RLockProxy, RLockProxyGuard, "[`RLockProxy`]", "once");
