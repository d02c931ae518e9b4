//! What is counted, for whoever draws curves of it: counters, histograms, and a snapshot of both
//! with what there is just now.
//!
//! | file | holds |
//! |---|---|
//! | `histogram.rs` | how often something took how long |
//! | `slots.rs` | counters by the name of a template, of which there may be many |
//! | `snapshot.rs` | all of it at one moment |
//!
//! What must never be in here: the names that metrics have outside, texts, or anything whose size
//! depends on what clients do.

mod histogram;
mod slots;
mod snapshot;

pub use histogram::{BUCKETS, Histogram};
pub use slots::{Counts, OTHERS, REASONS, SLOTS_MAX};
pub use snapshot::{Gauges, Row, Snapshot};

pub(super) use slots::{SlotId, Slots};

use super::Core;
use super::event::Time;
use super::workers::{Owner, Worker};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::PoolId;
use serde::{Deserialize, Serialize};
use slots::End;
use std::collections::VecDeque;
use std::time::Duration;

/// Everything that is counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measures {
    pub(super) slots: Slots,
    #[serde(with = "histogram::counters")]
    refusals: [u64; REASONS.len()],
    /// From a request for a worker to the worker; of a spare that waits, nothing.
    queue_wait: Histogram,
    /// From the wish for a spare to the spare.
    fork: Histogram,
    /// From the start of a template's process to its readiness.
    load: Histogram,
    /// From one wake-up of the loop to when it sleeps again.
    turn: Histogram,
    /// Reloads that switched, and such that changed nothing.
    reloads: (u64, u64),
    /// Upgrades likewise.
    #[serde(default)]
    upgrades: (u64, u64),
    /// Misdeeds of clients that were noted.
    #[serde(default)]
    misdeeds: u64,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            refusals: [0; REASONS.len()],
            queue_wait: Histogram::new(&histogram::WAITS),
            fork: Histogram::new(&histogram::FORKS),
            load: Histogram::new(&histogram::LOADS),
            turn: Histogram::new(&histogram::TURNS),
            reloads: (0, 0),
            upgrades: (0, 0),
            misdeeds: 0,
        }
    }
}

impl Measures {
    /// Takes up a book from elsewhere: bounds of histograms are not written down.
    pub(super) fn take_up(&mut self) {
        self.queue_wait.bind(&histogram::WAITS);
        self.fork.bind(&histogram::FORKS);
        self.load.bind(&histogram::LOADS);
        self.turn.bind(&histogram::TURNS);
    }

    /// Whether it can be counted on, for the check of a book from elsewhere.
    pub(super) fn are_sound(&self, most: u64) -> bool {
        let Self { reloads, upgrades, misdeeds, .. } = self;
        let more = [&reloads.0, &reloads.1, &upgrades.0, &upgrades.1, misdeeds];
        let counts = self.refusals.iter().chain(more);
        self.slots.are_sound(most) && counts.max().is_none_or(|count| *count <= most)
    }
}

/// When the spares were asked for that a template has not sent yet, oldest first. As many entries
/// as requests to fork are under way, which the bound of spares in flight bounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ForkTimes(VecDeque<(Time, u32)>);

impl ForkTimes {
    pub(super) fn asked(&mut self, now: Time, count: u16) {
        self.0.push_back((now, count.into()));
    }

    /// One of them is settled; tells since when it was awaited.
    fn settle(&mut self) -> Option<Time> {
        let (since, count) = self.0.front_mut()?;
        let since = *since;
        *count -= 1;
        if *count == 0 {
            self.0.pop_front();
        }
        Some(since)
    }

    /// Whether it can have come about, for the check of a book from elsewhere.
    pub(super) fn are_sound(&self) -> bool {
        self.0.iter().all(|(_, count)| *count > 0)
    }

    /// None is awaited any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Core {
    /// The loop refused something, or passes on that the core did.
    pub fn note_refusal(&mut self, refusal: &Refusal) {
        self.measures.refusals[slots::reason(refusal)] += 1;
    }

    /// The loop was busy for so long before it slept again.
    pub fn note_turn(&mut self, busy: Duration) {
        self.measures.turn.observe(busy);
    }

    pub(super) fn count_reload(&mut self, switched: bool) {
        let (done, failed) = &mut self.measures.reloads;
        *if switched { done } else { failed } += 1;
    }

    pub(super) fn count_upgrade(&mut self, done: bool) {
        let (switched, failed) = &mut self.measures.upgrades;
        *if done { switched } else { failed } += 1;
    }

    pub(super) fn count_misdeed(&mut self) {
        self.measures.misdeeds += 1;
    }

    pub(super) fn note_wait(&mut self, since: Time) {
        self.measures.queue_wait.observe(self.now.since(since));
    }

    pub(super) fn note_load(&mut self, since: Time) {
        self.measures.load.observe(self.now.since(since));
    }

    pub(super) fn counts_of(&mut self, pool: PoolId) -> Option<&mut Counts> {
        let slot = self.pools.get(&pool)?.slot;
        Some(self.measures.slots.counts(slot))
    }

    /// A template sent a spare, or cannot.
    pub(super) fn note_fork(&mut self, template: mpserverd_proto::ids::TemplateId, came: bool) {
        let Some(template) = self.templates.get_mut(&template) else { return };
        let (since, pool) = (template.forks.settle(), template.pool);
        if let Some(since) = since.filter(|_| came) {
            self.measures.fork.observe(self.now.since(since));
        }
        if let Some(counts) = self.counts_of(pool) {
            *if came { &mut counts.forks } else { &mut counts.fork_failures } += 1;
        }
    }

    pub(super) fn note_end(&mut self, worker: &Worker, code: i32) {
        let end = match (worker.owner, code) {
            (Owner::Client { .. }, 0) => End::Success,
            (Owner::Client { .. }, 1..) => End::Failure,
            (Owner::Client { .. }, _) => End::Signal,
            (Owner::Pool, _) => End::Unused,
            // Let go on purpose.
            (Owner::Nobody, _) => return,
        };
        if let Some(counts) = self.counts_of(worker.pool) {
            counts.ended(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_are_timed_from_their_own_request() {
        let at = |ms| Time(Duration::from_millis(ms));
        let mut times = ForkTimes::default();
        assert_eq!(times.settle(), None);
        times.asked(at(1), 2);
        times.asked(at(5), 1);
        assert_eq!(
            [times.settle(), times.settle(), times.settle()],
            [1, 1, 5].map(|ms| Some(at(ms)))
        );
        assert_eq!(times.settle(), None);
        times.asked(at(9), 3);
        times.clear();
        assert_eq!(times.settle(), None);
    }
}
