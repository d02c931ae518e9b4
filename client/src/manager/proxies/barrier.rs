//! `BarrierProxy`.

use crate::manager::client::Late;
use crate::manager::error::ManagerError;
use crate::manager::handle::Answered;
use crate::manager::proxy::proxy;
use crate::manager::wire::{BarrierOp, Body, Op};
use crate::sync::BrokenBarrier;
use std::time::Duration;

proxy! {
    /// A barrier in a manager's server, as `SyncManager.Barrier`.
    ///
    /// If a process that waits dies, all others learn it at once, with its pid.
    BarrierProxy
}

/// Breaks the barrier unless the action has returned.
struct Acting<'a> {
    proxy: &'a BarrierProxy,
    returned: bool,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        if !self.returned {
            let _ = self.proxy.ask(BarrierOp::Acted { well: false });
        }
    }
}

impl BarrierProxy {
    fn ask(&self, op: BarrierOp) -> Result<Answered, ManagerError> {
        self.handle.ask(Self::NAME, Op::Barrier(op))
    }

    /// Waits for the others; gives a number below that of the parties, another one to each.
    ///
    /// # Errors
    /// [`ManagerError`], `Barrier` among others.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<usize, ManagerError> {
        self.pass(timeout, None::<fn()>)
    }

    /// The same with an action, which the last one to arrive runs, here, before all go on.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// If the action does; the barrier is broken then.
    pub fn wait_with(
        &self,
        timeout: Option<Duration>,
        action: impl FnOnce(),
    ) -> Result<usize, ManagerError> {
        self.pass(timeout, Some(action))
    }

    fn pass(
        &self,
        timeout: Option<Duration>,
        action: Option<impl FnOnce()>,
    ) -> Result<usize, ManagerError> {
        let op = Op::Barrier(BarrierOp::Wait { action: action.is_some() });
        let answered = match self.handle.ask_waiting(Self::NAME, op, timeout, Late::Nothing) {
            Err(ManagerError::Timeout(_)) => return Err(BrokenBarrier::TimedOut.into()),
            answered => answered?,
        };
        let (Body::Act, Some(action)) = (answered.body()?, action) else {
            return answered.count();
        };
        let mut acting = Acting { proxy: self, returned: false };
        action();
        acting.returned = true;
        self.ask(BarrierOp::Acted { well: true })?.count()
    }

    /// Breaks it: all who wait, and whoever comes, get an error.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn abort(&self) -> Result<(), ManagerError> {
        self.ask(BarrierOp::Abort)?.done()
    }

    /// Makes it as good as new; those who wait get an error.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn reset(&self) -> Result<(), ManagerError> {
        self.ask(BarrierOp::Reset)?.done()
    }

    fn status(&self) -> Result<(usize, usize, bool), ManagerError> {
        match self.ask(BarrierOp::Status)?.body()? {
            Body::Barrier { parties, waiting, broken } => {
                Ok((parties as usize, waiting as usize, broken))
            }
            _ => Err(ManagerError::Protocol(format!("{}: an odd answer", Self::NAME))),
        }
    }

    /// How many have to come.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn parties(&self) -> Result<usize, ManagerError> {
        Ok(self.status()?.0)
    }

    /// How many wait.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn n_waiting(&self) -> Result<usize, ManagerError> {
        Ok(self.status()?.1)
    }

    /// Whether it is broken.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn broken(&self) -> Result<bool, ManagerError> {
        Ok(self.status()?.2)
    }
}
