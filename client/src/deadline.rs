//! Until when to wait, and for how long that was.

use crate::error::TimeoutError;
use std::time::{Duration, Instant};

/// Until when to wait. A time beyond what the clock can express is for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    given: Duration,
}

impl Deadline {
    /// For ever.
    pub(crate) const NEVER: Self = Self { at: None, given: Duration::MAX };

    /// Now: nothing is waited for.
    #[cfg(target_os = "linux")]
    pub(crate) fn now() -> Self {
        Self::within(Duration::ZERO)
    }

    /// So long from now, or for ever.
    #[inline]
    pub(crate) fn of(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::NEVER, Self::within)
    }

    /// So long from now.
    #[inline]
    pub(crate) fn within(timeout: Duration) -> Self {
        Self { at: Instant::now().checked_add(timeout), given: timeout }
    }

    /// The same, but not before so long from now.
    pub(crate) fn at_least(self, time: Duration) -> Self {
        Self { at: self.at.map(|at| at.max(Instant::now() + time)), ..self }
    }

    /// Whether there is no end to it.
    #[inline]
    pub(crate) fn is_never(&self) -> bool {
        self.at.is_none()
    }

    /// How much is left, if there is an end to it.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// How long one may sleep now: not longer than `nap`; `None` when the time has passed.
    pub(crate) fn nap(self, nap: Duration) -> Option<Duration> {
        let Some(left) = self.left() else { return Some(nap) };
        (!left.is_zero()).then(|| left.min(nap))
    }

    /// What to say when it has passed.
    pub(crate) fn error(&self) -> TimeoutError {
        TimeoutError(self.given)
    }

    /// The time that was given.
    pub(crate) fn given(&self) -> Duration {
        self.given
    }
}
