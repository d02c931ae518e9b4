//! `SemaphoreProxy` and `BoundedSemaphoreProxy`.

use super::lock::taken;
use crate::manager::client::Late;
use crate::manager::error::ManagerError;
use crate::manager::handle::Handle;
use crate::manager::proxy::proxy;
use crate::manager::wire::{Op, SemaphoreOp};
use crate::sync::Acquired;
use std::time::Duration;

proxy! {
    /// A semaphore in a manager's server, as `SyncManager.Semaphore`.
    ///
    /// Permits stand on the account of the process that acquired them, until anybody releases
    /// them: its own first, then those of others. If a process dies, or drops its last proxy of
    /// it, what stands on its account comes back.
    SemaphoreProxy
}

proxy! {
    /// A semaphore whose value never exceeds the first one, as `SyncManager.BoundedSemaphore`; else
    /// as a [`SemaphoreProxy`].
    BoundedSemaphoreProxy
}

/// A permit of a semaphore; given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back when dropped"]
pub struct SemaphorePermit<'a> {
    handle: &'a Handle,
    name: &'static str,
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        let _ = release(self.handle, self.name, 1);
    }
}

fn release(handle: &Handle, name: &'static str, count: u32) -> Result<(), ManagerError> {
    handle.ask(name, Op::Semaphore(SemaphoreOp::Release { count }))?.done()
}

macro_rules! semaphore {
    ($name:ident) => {
        impl $name {
            /// Takes a permit as `multiprocessing` does: waits if `block` is set, for ever without
            /// a timeout; whether it has one.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn acquire(
                &self,
                block: bool,
                timeout: Option<Duration>,
            ) -> Result<bool, ManagerError> {
                let op = Op::Semaphore(SemaphoreOp::Acquire { block });
                let timeout = timeout.filter(|_| block);
                let answered = self.handle.ask_waiting(Self::NAME, op, timeout, Late::GiveBack);
                taken(answered).map(Acquired::is_held)
            }

            /// Takes a permit that is given back when dropped.
            ///
            /// # Errors
            /// [`ManagerError`]; `Timeout` only if the proxy has one.
            pub fn permit(&self) -> Result<SemaphorePermit<'_>, ManagerError> {
                let timeout = ManagerError::Timeout(crate::TimeoutError(Duration::MAX));
                self.permit_if(self.acquire(true, None)?).ok_or(timeout)
            }

            /// The same, if there is one.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn try_permit(&self) -> Result<Option<SemaphorePermit<'_>>, ManagerError> {
                Ok(self.permit_if(self.acquire(false, None)?))
            }

            /// The same, waiting no longer than this.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn permit_timeout(
                &self,
                timeout: Duration,
            ) -> Result<Option<SemaphorePermit<'_>>, ManagerError> {
                Ok(self.permit_if(self.acquire(true, Some(timeout))?))
            }

            fn permit_if(&self, held: bool) -> Option<SemaphorePermit<'_>> {
                held.then(|| SemaphorePermit { handle: &self.handle, name: Self::NAME })
            }

            /// Gives a permit back, or one more than there were.
            ///
            /// # Errors
            /// [`ManagerError`], `Sync` among others.
            pub fn release(&self) -> Result<(), ManagerError> {
                self.release_many(1)
            }

            /// Gives several back, or none.
            ///
            /// # Errors
            /// As [`release`](Self::release).
            pub fn release_many(&self, count: u32) -> Result<(), ManagerError> {
                release(&self.handle, Self::NAME, count)
            }

            /// How many permits can be had just now.
            ///
            /// # Errors
            /// [`ManagerError`].
            pub fn get_value(&self) -> Result<usize, ManagerError> {
                self.handle.ask(Self::NAME, Op::Semaphore(SemaphoreOp::Value))?.count()
            }
        }
    };
}

semaphore!(SemaphoreProxy);
semaphore!(BoundedSemaphoreProxy);
