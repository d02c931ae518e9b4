//! A delay that doubles with every failure, between two bounds. Knows nothing of what failed.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The delay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The delay after one more failure.
    pub(super) fn next(&mut self, min: Duration, max: Duration) -> Duration {
        let delay = self.last.map_or(min, |last| last.saturating_mul(2)).clamp(min, max.max(min));
        self.last = Some(delay);
        delay
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_bound() {
        let (min, max) = (Duration::from_millis(100), Duration::from_millis(700));
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..5).map(|_| backoff.next(min, max).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 700, 700]);
        backoff.reset();
        assert_eq!(backoff.next(min, max), min);
    }

    #[test]
    fn contradicting_bounds_do_not_panic() {
        let delay = Backoff::default().next(Duration::from_secs(9), Duration::from_secs(1));
        assert_eq!(delay, Duration::from_secs(9));
    }
}
