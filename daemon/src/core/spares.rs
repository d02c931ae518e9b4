//! How many spares a pool wants, and how many are to be forked now. Numbers only: what exists is
//! told in a [`Stock`], and who is waiting is not known here.

use super::event::Time;
use super::settings::Settings;
use mpserverd_proto::limits::SPARES_PER_ROUND_MAX;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A refill waits at most this many times the refill delay, however steady the load.
const REFILL_DELAYS_MAX: u32 = 8;

const ROUND_MAX: u32 = SPARES_PER_ROUND_MAX as u32;

/// What a pool has just now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stock {
    /// Spares that wait.
    pub(super) idle: u32,
    /// Spares that were asked for and did not come yet.
    pub(super) in_flight: u32,
    /// Requests that wait and may be served.
    pub(super) waiting: u32,
}

impl Stock {
    fn have(self) -> u32 {
        self.idle + self.in_flight
    }

    /// Spares that stay when all who wait are served.
    pub(super) fn free(self) -> u32 {
        self.have().saturating_sub(self.waiting)
    }
}

/// The marks of one pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Marks {
    /// Spares to keep: doubles with shortages, decays without.
    target: u32,
    /// Forks in flight for requests that wait: doubles 1, 2, 4 … while a shortage lasts.
    quantum: u32,
    /// The target has grown since spares last came, so one burst doubles it once a round.
    grown: bool,
    /// A refill is under way and goes on until the target is reached.
    filling: bool,
    /// Since when spares have been missing while the refill was put off.
    unfilled_since: Option<Time>,
}

impl Marks {
    /// Marks of a pool without history.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            target: settings.spares_min,
            quantum: 0,
            grown: false,
            filling: false,
            unfilled_since: None,
        }
    }

    /// Spares to keep.
    pub(super) fn target(&self) -> u32 {
        self.target
    }

    /// A request found no spare.
    pub(super) fn shortage(&mut self, settings: &Settings) {
        self.quantum = (self.quantum * 2).clamp(1, ROUND_MAX);
        if !self.grown {
            let max = settings.spares_max.max(settings.spares_min);
            self.target = self.target.saturating_mul(2).max(1).min(max);
            self.grown = true;
        }
    }

    /// A round of spares came.
    pub(super) fn arrived(&mut self) {
        self.grown = false;
    }

    /// Fill up to the target, starting now.
    pub(super) fn fill(&mut self) {
        self.filling = true;
        self.unfilled_since = None;
    }

    /// How many to fork now.
    pub(super) fn order(&mut self, stock: Stock) -> u16 {
        let missing = stock.waiting.saturating_sub(stock.have());
        if stock.free() >= self.target && missing == 0 {
            self.filling = false;
            self.unfilled_since = None;
            self.quantum = 0;
        } else if missing == 0 && stock.free() < self.target / 4 {
            self.fill();
        }
        let (want, bound) = if self.filling {
            (self.target.saturating_add(stock.waiting).saturating_sub(stock.have()), ROUND_MAX)
        } else {
            (missing, self.quantum.max(1))
        };
        let count = want.min(bound.saturating_sub(stock.in_flight));
        u16::try_from(count).unwrap_or(SPARES_PER_ROUND_MAX)
    }

    /// How long a refill is to be put off, when one is needed that is not under way.
    pub(super) fn refill_in(
        &mut self,
        stock: Stock,
        now: Time,
        settings: &Settings,
    ) -> Option<Duration> {
        if self.filling || stock.free() >= self.target {
            return None;
        }
        let since = *self.unfilled_since.get_or_insert(now);
        let latest = settings.refill_delay.saturating_mul(REFILL_DELAYS_MAX);
        Some(settings.refill_delay.min(latest.saturating_sub(now.since(since))))
    }

    /// There has been no shortage for a while.
    pub(super) fn decay(&mut self, settings: &Settings) {
        self.target = (self.target / 2).max(settings.spares_min);
    }

    /// Whether they can have come about with these settings, for the check of a book from elsewhere.
    pub(super) fn are_sound(&self, settings: &Settings) -> bool {
        self.quantum <= ROUND_MAX
            && self.target <= settings.spares_max.max(settings.spares_min).max(1)
    }

    /// The bounds have changed.
    pub(super) fn bound(&mut self, settings: &Settings) {
        let max = settings.spares_max.max(settings.spares_min);
        self.target = self.target.clamp(settings.spares_min, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(idle: u32, in_flight: u32, waiting: u32) -> Stock {
        Stock { idle, in_flight, waiting }
    }

    fn marks() -> (Marks, Settings) {
        let settings = Settings { spares_min: 2, spares_max: 16, ..Settings::default() };
        (Marks::new(&settings), settings)
    }

    #[test]
    fn a_burst_doubles_the_round_and_once_a_round_the_target() {
        let (mut marks, settings) = marks();
        let mut in_flight = 0;
        let mut asked = Vec::new();
        for waiting in 1..=4 {
            marks.shortage(&settings);
            let count = marks.order(stock(0, in_flight, waiting));
            in_flight += u32::from(count);
            asked.push(count);
        }
        assert_eq!((asked, marks.target()), (vec![1, 1, 1, 1], 4));
        marks.arrived();
        marks.shortage(&settings);
        assert_eq!(marks.target(), 8);
        assert_eq!(marks.order(stock(0, 0, 100)), 16, "bounded by the quantum");
        marks.shortage(&settings);
        assert_eq!(marks.order(stock(0, 0, 100)), 32, "bounded by the round");
    }

    #[test]
    fn what_is_in_flight_is_not_asked_for_again() {
        let (mut marks, settings) = marks();
        marks.shortage(&settings);
        marks.shortage(&settings);
        assert_eq!(marks.order(stock(0, 2, 2)), 4, "below the low mark: fill up");
        assert_eq!(marks.order(stock(0, 6, 2)), 0);
    }

    #[test]
    fn a_refill_slides_with_the_load_but_not_for_ever() {
        let (mut marks, settings) = marks();
        let delay = settings.refill_delay;
        assert_eq!(marks.order(stock(1, 0, 0)), 0, "off the path");
        let at = |n: u32| Time(delay * n);
        assert_eq!(marks.refill_in(stock(1, 0, 0), at(10), &settings), Some(delay));
        assert_eq!(marks.refill_in(stock(1, 0, 0), at(17), &settings), Some(delay));
        assert_eq!(marks.refill_in(stock(1, 0, 0), at(18), &settings), Some(Duration::ZERO));
        marks.fill();
        assert_eq!(marks.order(stock(1, 0, 0)), 1);
        assert_eq!(marks.order(stock(1, 1, 0)), 0);
        assert_eq!(marks.refill_in(stock(1, 1, 0), at(20), &settings), None);
    }

    #[test]
    fn decay_halves_down_to_the_minimum() {
        let (mut marks, settings) = marks();
        for _ in 0..9 {
            marks.shortage(&settings);
            marks.arrived();
        }
        let mut seen = vec![marks.target()];
        for _ in 0..4 {
            marks.decay(&settings);
            seen.push(marks.target());
        }
        assert_eq!(seen, [16, 8, 4, 2, 2]);
    }

    #[test]
    fn the_low_mark_is_a_quarter_of_the_target() {
        let (mut marks, settings) = marks();
        for _ in 0..3 {
            marks.shortage(&settings);
            marks.arrived();
        }
        assert_eq!(marks.target(), 16);
        assert_eq!(marks.order(stock(4, 0, 0)), 0);
        assert_eq!(marks.order(stock(3, 0, 0)), 13);
    }
}
