//! `Event`: a flag to wait for.

use super::raw::atomics::{Deadline, shared_struct};
use super::raw::event::RawEvent;
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use serde::{Deserialize, Serialize};
use std::time::Duration;

mod awaited;

shared_struct! {
    /// An event as it lies in memory.
    pub(crate) struct EventState {
        raw: RawEvent,
    }
}

impl Object for EventState {
    const KIND: u32 = 6;
    const NAME: &'static str = "Event";
}

/// A flag that processes set, clear and wait for, as `multiprocessing.Event`. Clones are the same
/// event, here and in every process that a clone travels to.
///
/// Nobody owns it and no operation holds anything, so a death leaves it as it was. Everything but
/// [`wait`](Self::wait) may be called in a signal handler, whatever the signal interrupted. No
/// operation makes a system call unless somebody sleeps or is about to.
///
/// ```
/// use mpserverd_client as mp;
/// use std::time::Duration;
///
/// let event = mp::Event::new()?;
/// assert!(!event.wait(Some(Duration::from_millis(1))));
/// event.set();
/// assert!(event.wait(None));
/// event.clear();
/// assert!(!event.is_set());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event(Shareable<EventState>);

impl Event {
    /// A new event, not set.
    ///
    /// # Errors
    /// [`ShareError`] when the system has no memory or descriptor for it.
    pub fn new() -> Result<Self, ShareError> {
        Shareable::new(|_| ()).map(Self)
    }

    /// Whether it is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.raw.is_set()
    }

    /// Sets it and wakes all who wait for it. Safe in a signal handler.
    #[inline]
    pub fn set(&self) {
        self.0.raw.set();
    }

    /// Clears it: who waits from now on waits for the next [`set`](Self::set).
    #[inline]
    pub fn clear(&self) {
        self.0.raw.clear();
    }

    /// Waits until it is set, for ever without a timeout; tells whether it was.
    ///
    /// A waiter that was there when it was set returns `true`, even if it has been cleared since
    /// (`multiprocessing` may say `False` then).
    #[inline]
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.is_set() || self.0.raw.wait(Deadline::of(timeout))
    }

    /// Whether both are the same event.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }
}
