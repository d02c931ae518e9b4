//! How a pool ends: in order, or at once. Neither ever waits for a task that does not end.

use super::Engine;
use super::call::Fate;
use super::state::{Life, Slot, State};
use super::worker::Phase;
use crate::error::TimeoutError;
use crate::pool::error::PoolError;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Engine {
    /// Takes no more tasks.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if matches!(state.life, Life::Open) {
            state.life = Life::Closed;
            state.attention = true;
        }
    }

    /// Ends everything at once.
    pub(crate) fn terminate(&self) {
        self.lock().stop(&Fate::Terminated, Instant::now());
    }

    /// Waits until no worker is left and all callbacks are run.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`]; [`PoolError::Timeout`].
    pub(crate) fn join(&self, timeout: Option<Duration>) -> Result<(), PoolError> {
        let begun = Instant::now();
        let deadline = timeout.and_then(|timeout| begun.checked_add(timeout));
        loop {
            let state = self.lock();
            match state.life {
                Life::Open => return Err(PoolError::StillOpen),
                Life::Over { .. } => break,
                Life::Closed | Life::Leaving | Life::Stopping { .. } => {}
            }
            if !state.sleep(deadline) {
                return Err(TimeoutError(begun.elapsed()).into());
            }
        }
        if !self.callbacks.is_here() && !self.callbacks.wait(deadline) {
            return Err(TimeoutError(begun.elapsed()).into());
        }
        self.join_threads();
        Ok(())
    }

    /// A map begins, which may go on after a close.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub(crate) fn open_map(&self) -> Result<OpenMap<'_>, PoolError> {
        let mut state = self.lock();
        state.admit(true)?;
        state.open_maps += 1;
        Ok(OpenMap(self))
    }
}

/// A map under way.
pub(crate) struct OpenMap<'a>(&'a Engine);

impl Drop for OpenMap<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open_maps -= 1;
        state.attention |= !matches!(state.life, Life::Open);
    }
}

impl State {
    /// Everything that is queued or runs meets this fate; workers are asked to end, and killed
    /// after the grace.
    pub(super) fn stop(&mut self, fate: &Fate, now: Instant) {
        if matches!(self.life, Life::Stopping { .. } | Life::Over { .. }) {
            return;
        }
        let kill_at = now + self.grace;
        self.life = Life::Stopping { fate: fate.clone(), kill_at };
        for order in std::mem::take(&mut self.orders) {
            self.slots[order.number] = Slot::Free;
        }
        let mut calls = Vec::new();
        for number in self.numbers() {
            // What it has not begun it must not begin.
            self.recall(number, 0);
            let Some(worker) = self.worker(number) else { continue };
            calls.extend(worker.sent.iter().map(|sent| Arc::clone(&sent.call)));
            // Those before it are answered, if there are any.
            if let Some(last) = worker.sent.back() {
                worker.channel.ask_to_stop(last.frame);
            }
            if worker.phase == Phase::Starting {
                worker.kill();
            } else {
                worker.leave(kill_at);
            }
        }
        calls.extend(std::mem::take(&mut self.pending).into_iter().map(|chunk| chunk.call));
        for call in calls {
            self.close(&call, fate.clone());
        }
        self.seated.clear();
        self.idle.clear();
        self.attention = true;
        self.changed = true;
    }

    /// Goes on with the end, if that is under way; tells whether it is over.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        if matches!(self.life, Life::Closed) && !self.is_busy() {
            self.life = Life::Leaving;
            self.changed = true;
            for order in std::mem::take(&mut self.orders) {
                self.slots[order.number] = Slot::Free;
            }
            for number in self.numbers() {
                let Some(worker) = self.worker(number) else { continue };
                match worker.phase {
                    Phase::Starting => worker.kill(),
                    _ => worker.leave(now + super::recycle::LEAVE_PATIENCE),
                }
            }
        }
        let fate = match &self.life {
            Life::Open | Life::Closed => return false,
            Life::Leaving => None,
            Life::Stopping { fate, kill_at } => {
                let (fate, kill_at) = (fate.clone(), *kill_at);
                if kill_at > now {
                    self.look_at(kill_at);
                }
                Some(fate)
            }
            Life::Over { .. } => return true,
        };
        // One that is being started will be ended by who starts it.
        if self.slots.iter().any(|slot| !matches!(slot, Slot::Free)) {
            return false;
        }
        self.life = Life::Over { fate };
        self.changed = true;
        true
    }
}
