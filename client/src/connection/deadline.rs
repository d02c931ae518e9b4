//! Until when to wait, and for how long that was.

use crate::error::TimeoutError;
use std::time::{Duration, Instant};

/// Until when to wait. A time beyond what the clock can express is for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    given: Duration,
}

impl Deadline {
    /// For ever.
    pub(super) const NEVER: Self = Self { at: None, given: Duration::MAX };

    /// Now: nothing is waited for.
    #[cfg(target_os = "linux")]
    pub(super) fn now() -> Self {
        Self::within(Duration::ZERO)
    }

    /// So long from now, or for ever.
    pub(super) fn of(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::NEVER, Self::within)
    }

    /// So long from now.
    pub(super) fn within(timeout: Duration) -> Self {
        Self { at: Instant::now().checked_add(timeout), given: timeout }
    }

    /// Whether there is no end to it.
    #[inline]
    pub(super) fn is_never(&self) -> bool {
        self.at.is_none()
    }

    /// How much is left, if there is an end to it.
    pub(super) fn left(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// What to say when it has passed.
    pub(super) fn error(&self) -> TimeoutError {
        TimeoutError(self.given)
    }

    /// The time that was given.
    pub(super) fn given(&self) -> Duration {
        self.given
    }
}
