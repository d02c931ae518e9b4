//! `EventProxy`.

use crate::manager::client::Late;
use crate::manager::error::ManagerError;
use crate::manager::proxy::proxy;
use crate::manager::wire::{EventOp, Op};
use std::time::Duration;

proxy! {
    /// An event in a manager's server, as `SyncManager.Event`.
    EventProxy
}

impl EventProxy {
    /// Whether it is set.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        self.handle.ask(Self::NAME, Op::Event(EventOp::IsSet))?.yes()
    }

    /// Sets it, and wakes all who wait.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn set(&self) -> Result<(), ManagerError> {
        self.handle.ask(Self::NAME, Op::Event(EventOp::Set))?.done()
    }

    /// Clears it.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.handle.ask(Self::NAME, Op::Event(EventOp::Clear))?.done()
    }

    /// Waits until it is set; whether it was in time.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, ManagerError> {
        let op = Op::Event(EventOp::Wait);
        match self.handle.ask_waiting(Self::NAME, op, timeout, Late::Nothing) {
            Err(ManagerError::Timeout(_)) => Ok(false),
            answered => answered?.yes(),
        }
    }
}
