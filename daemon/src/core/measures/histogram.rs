//! How often something took how long: fixed buckets, so that an observation costs an addition and
//! never an allocation.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Buckets of every histogram, the last of which has no upper bound.
pub const BUCKETS: usize = 16;

/// Upper bounds of all buckets but the last, in microseconds, ascending.
pub(super) type Bounds = [u64; BUCKETS - 1];

/// From what a spare costs to what a large template costs.
pub(super) const FORKS: Bounds = [
    50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000,
    1_000_000, 5_000_000,
];
/// From a spare that is there to a queue that does not move.
pub(super) const WAITS: Bounds = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
];
/// From a small library to a model that is read from a disk.
pub(super) const LOADS: Bounds = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
/// From a message to a loop that was blocked.
pub(super) const TURNS: Bounds = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000,
];

/// Observations of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Histogram {
    #[serde(skip, default = "no_bounds")]
    bounds: &'static Bounds,
    #[serde(with = "counters")]
    counts: [u64; BUCKETS],
    sum: Duration,
}

impl Histogram {
    /// Without observations.
    #[must_use]
    pub const fn new(bounds: &'static Bounds) -> Self {
        Self { bounds, counts: [0; BUCKETS], sum: Duration::ZERO }
    }

    /// Sets the bounds of one that was read.
    pub(super) fn bind(&mut self, bounds: &'static Bounds) {
        self.bounds = bounds;
    }

    /// Counts one.
    pub fn observe(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // A time of 100.9 µs is above 100 µs: what is left of a microsecond counts.
        let above = |bound: &u64| micros > *bound || (micros == *bound && !is_whole(time));
        let bucket = self.bounds.partition_point(above);
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.sum = self.sum.saturating_add(time);
    }

    /// Upper bounds in microseconds, each with how many were at most so long.
    pub fn cumulated(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().scan(0u64, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        });
        self.bounds.iter().copied().zip(counts)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How long all of them took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// Those of a histogram that has just been read.
fn no_bounds() -> &'static Bounds {
    &TURNS
}

/// Rows of counters, as lists: a later version may have more of them.
pub(super) mod counters {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::core::measures) fn serialize<S: Serializer, const N: usize>(
        counts: &[u64; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(counts)
    }

    pub(in crate::core::measures) fn deserialize<'a, D: Deserializer<'a>, const N: usize>(
        from: D,
    ) -> Result<[u64; N], D::Error> {
        let counts = Vec::<u64>::deserialize(from)?;
        Ok(std::array::from_fn(|at| counts.get(at).copied().unwrap_or(0)))
    }
}

fn is_whole(time: Duration) -> bool {
    time.subsec_nanos().is_multiple_of(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn bounds_belong_to_their_bucket() {
        let mut histogram = Histogram::new(&FORKS);
        let nano = Duration::from_nanos(1);
        for time in [micros(0), micros(50), micros(50) + nano, micros(100), micros(101)] {
            histogram.observe(time);
        }
        let counts: Vec<_> = histogram.cumulated().take(3).collect();
        assert_eq!(counts, [(50, 2), (100, 4), (200, 5)]);
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum(), micros(301) + nano);
    }

    #[test]
    fn the_longest_time_is_counted_too() {
        let mut histogram = Histogram::new(&LOADS);
        histogram.observe(Duration::MAX);
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.cumulated().last(), Some((60_000_000, 0)));
        assert_eq!((histogram.count(), histogram.sum()), (2, Duration::MAX));
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [FORKS, WAITS, LOADS, TURNS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
