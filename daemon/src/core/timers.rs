//! Deadlines: an ordered set in which each timer stands at most once. No clock.
//!
//! A cancelled timer is really gone, not skipped later, so a daemon at rest has no deadline.

use super::event::{SessionId, Time};
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The shortest delay: a timer that is armed while others fire is never due at once, so that no
/// setting can make the loop spin.
const DELAY_MIN: Duration = Duration::from_micros(100);

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Timer {
    /// A waiting request gives up.
    Request(SessionId, RequestId),
    /// A template says hello, is ready, or has left; which one its phase tells.
    Template(TemplateId),
    /// A template answers what it was asked to fork.
    Fork(TemplateId),
    /// A released spare has ended.
    Worker(WorkerId),
    /// A worker's task runs long.
    Slow(WorkerId),
    /// Spares that were handed over are replaced.
    Refill(PoolId),
    /// After a failed fork, the next try.
    ForkRetry(PoolId),
    /// The number of spares falls.
    Decay(PoolId),
    /// After a failed template, the next build.
    Retry(PoolId),
    /// An unused template is dropped.
    Idle(PoolId),
    /// A limit of a worker: a deadline, a measurement, or the end of its grace.
    Limit(WorkerId),
    /// A rate of starts allows another one.
    Starts,
    /// The next step of a stop.
    Stop,
    /// What clients hold of a retired template without having given it a job is called off.
    Leases(TemplateId),
}

/// All armed timers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Timer, Time>", into = "BTreeMap<Timer, Time>")]
pub(super) struct Timers {
    order: BTreeSet<(Time, Timer)>,
    at: BTreeMap<Timer, Time>,
}

impl From<BTreeMap<Timer, Time>> for Timers {
    fn from(at: BTreeMap<Timer, Time>) -> Self {
        Self { order: at.iter().map(|(timer, at)| (*at, *timer)).collect(), at }
    }
}

impl From<Timers> for BTreeMap<Timer, Time> {
    fn from(timers: Timers) -> Self {
        timers.at
    }
}

impl Timers {
    /// Arms a timer, or moves it. A delay beyond all time disarms it.
    pub(super) fn set(&mut self, timer: Timer, now: Time, delay: Duration) {
        self.cancel(timer);
        if let Some(at) = now.after(delay.max(DELAY_MIN)) {
            self.order.insert((at, timer));
            self.at.insert(timer, at);
        }
    }

    /// Disarms a timer.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Whether a timer is armed.
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    /// When a timer is due, if it is armed.
    pub(super) fn at(&self, timer: Timer) -> Option<Time> {
        self.at.get(&timer).copied()
    }

    /// The nearest deadline.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// When the last one is due, for the check of a book from elsewhere.
    pub(super) fn last(&self) -> Option<Time> {
        self.order.last().map(|(at, _)| *at)
    }

    /// All armed timers, for the audit.
    pub(super) fn armed(&self) -> impl Iterator<Item = Timer> {
        self.at.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_timer_stands_once_and_moves() {
        let mut timers = Timers::default();
        timers.set(Timer::Stop, Time(ms(0)), ms(5));
        timers.set(Timer::Stop, Time(ms(0)), ms(9));
        assert_eq!(timers.next(), Some(Time(ms(9))));
        assert_eq!(timers.pop_due(Time(ms(8))), None);
        assert_eq!(timers.pop_due(Time(ms(9))), Some(Timer::Stop));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn never_is_no_deadline_and_zero_is_not_now() {
        let mut timers = Timers::default();
        timers.set(Timer::Stop, Time(ms(1)), Duration::MAX);
        assert_eq!(timers.next(), None);
        timers.set(Timer::Stop, Time(ms(1)), Duration::ZERO);
        assert_eq!(timers.pop_due(Time(ms(1))), None);
        timers.cancel(Timer::Stop);
        assert_eq!(timers.next(), None);
    }
}
