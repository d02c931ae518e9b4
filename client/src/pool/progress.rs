//! How far a map is: counts, rate, and when it will be done.

use super::engine::Tally;
use std::fmt;
use std::time::{Duration, Instant};

/// A hook is not called more often than this, but for the last time.
const PERIOD: Duration = Duration::from_millis(100);

/// How far a map is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Inputs with an outcome, whatever it is.
    pub done: u64,
    /// Of these, those without a result.
    pub failed: u64,
    /// Of these, those whose worker was lost.
    pub lost: u64,
    /// How many inputs there are in all, if their iterator knows.
    pub total: Option<u64>,
    /// Outcomes a second, on the average of the last seconds.
    pub rate: f64,
    /// How long it will take at this rate.
    pub eta: Option<Duration>,
    /// How long it has taken.
    pub elapsed: Duration,
}

/// What is called with it.
pub(crate) type Hook<'a> = Box<dyn FnMut(Progress) + 'a>;

/// Calls a hook now and then.
pub(crate) struct Meter<'a> {
    hook: Option<Hook<'a>>,
    began: Instant,
    last: Instant,
    /// What was done by then.
    before: u64,
    rate: f64,
}

impl fmt::Debug for Meter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl<'a> Meter<'a> {
    pub(crate) fn new(hook: Option<Hook<'a>>) -> Self {
        let now = Instant::now();
        Self { hook, began: now, last: now, before: 0, rate: 0.0 }
    }

    /// How long one may sleep before the hook is to be called.
    pub(crate) fn nap(&self) -> Option<Duration> {
        self.hook.as_ref().map(|_| PERIOD.saturating_sub(self.last.elapsed()))
    }

    /// Calls the hook, if it is time or if this is the end.
    pub(crate) fn show(&mut self, tally: Tally, total: Option<u64>, is_end: bool) {
        let Some(hook) = &mut self.hook else { return };
        let now = Instant::now();
        let since = now - self.last;
        if since < PERIOD && !is_end {
            return;
        }
        let fresh = tally.settled.saturating_sub(self.before) as f64;
        if since > Duration::ZERO {
            let rate = fresh / since.as_secs_f64();
            // The first measure stands for itself; later ones change it slowly.
            let weight = if self.before == 0 { 1.0 } else { (since.as_secs_f64() / 2.0).min(1.0) };
            self.rate += (rate - self.rate) * weight;
        }
        (self.last, self.before) = (now, tally.settled);
        let elapsed = now - self.began;
        let rate = if is_end { mean(tally.settled, elapsed) } else { self.rate };
        hook(Progress {
            done: tally.settled,
            failed: tally.failed,
            lost: tally.lost,
            total,
            rate,
            eta: total.and_then(|total| eta(total.saturating_sub(tally.settled), rate)),
            elapsed,
        });
    }
}

fn mean(done: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { done as f64 / elapsed.as_secs_f64() }
}

fn eta(left: u64, rate: f64) -> Option<Duration> {
    if left == 0 {
        return Some(Duration::ZERO);
    }
    Duration::try_from_secs_f64(left as f64 / rate).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(settled: u64) -> Tally {
        Tally { submitted: settled, settled, ..Tally::default() }
    }

    #[test]
    fn the_end_is_told_even_if_it_is_early() {
        let mut seen = Vec::new();
        let mut meter = Meter::new(Some(Box::new(|progress| seen.push(progress))));
        meter.show(tally(1), Some(4), false);
        meter.show(tally(4), Some(4), true);
        drop(meter);
        assert_eq!(seen.len(), 1, "the first came before its time");
        assert_eq!((seen[0].done, seen[0].eta), (4, Some(Duration::ZERO)));
    }

    #[test]
    fn without_a_rate_nobody_knows_when() {
        assert_eq!(eta(5, 0.0), None);
        assert_eq!(eta(5, 10.0), Some(Duration::from_millis(500)));
    }
}
