//! Counters by the name of a template: so many names at most, all others together.
//!
//! A counter must never fall, and whoever reads it knows it by its name. So a name keeps its slot
//! while a pool of that name exists, and after that until another name needs the slot: what it
//! had counted then belongs to the others.

use mpserverd_proto::error::Refusal;
use mpserverd_proto::text::beginning;
use serde::{Deserialize, Serialize};

/// Names that have a slot of their own.
pub const SLOTS_MAX: usize = 32;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 120;

/// The name under which all others are counted.
pub const OTHERS: &str = "other";

/// How a worker that a client had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Success,
    Failure,
    Signal,
    /// A spare that ended before anybody asked for it.
    Unused,
}

/// What is counted for each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Workers handed over.
    pub starts: u64,
    /// Of them, those that a spare was waiting for.
    pub spare_hits: u64,
    /// Spares that were forked.
    pub forks: u64,
    /// Spares that could not be forked.
    pub fork_failures: u64,
    /// Template processes that were started.
    pub builds: u64,
    /// Templates that failed or died.
    pub failures: u64,
    /// Workers that ended with code 0, with another one, by a signal, and spares that ended
    /// unused.
    pub ends: [u64; 4],
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.starts += other.starts;
        self.spare_hits += other.spare_hits;
        self.forks += other.forks;
        self.fork_failures += other.fork_failures;
        self.builds += other.builds;
        self.failures += other.failures;
        for (sum, more) in self.ends.iter_mut().zip(other.ends) {
            *sum += more;
        }
    }

    pub(crate) fn ended(&mut self, end: End) {
        self.ends[end as usize] += 1;
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    name: String,
    pools: u32,
    counts: Counts,
}

/// Which slot; that of the others if there is none of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotId(usize);

/// All slots.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    others: Counts,
}

impl Slots {
    /// Whether they can be counted with, for the check of a book from elsewhere.
    pub(crate) fn are_sound(&self, most: u64) -> bool {
        let all = self.slots.iter().map(|slot| &slot.counts).chain([&self.others]);
        let sound = |counts: &Counts| {
            let Counts { starts, spare_hits, forks, fork_failures, builds, failures, ends } =
                counts;
            let single = [starts, spare_hits, forks, fork_failures, builds, failures];
            single.into_iter().chain(ends).all(|count| *count <= most)
        };
        let pools =
            |slot: &Slot| slot.pools < u32::MAX / 2 && slot.name.len() <= 2 * NAME_BYTES_MAX;
        self.slots.len() <= SLOTS_MAX && self.slots.iter().all(pools) && all.into_iter().all(sound)
    }

    /// The slot of a name, for one more pool.
    pub(crate) fn join(&mut self, name: &str) -> SlotId {
        let name = cut(name);
        if let Some(at) = self.slots.iter().position(|slot| slot.name == name) {
            self.slots[at].pools += 1;
            return SlotId(at);
        }
        let fresh = Slot { name: name.to_owned(), pools: 1, counts: Counts::default() };
        if self.slots.len() < SLOTS_MAX {
            self.slots.push(fresh);
            return SlotId(self.slots.len() - 1);
        }
        let Some(at) = self.slots.iter().position(|slot| slot.pools == 0) else {
            return SlotId(usize::MAX);
        };
        self.others.add(&self.slots[at].counts);
        self.slots[at] = fresh;
        SlotId(at)
    }

    /// A pool is forgotten.
    pub(crate) fn leave(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.pools = slot.pools.saturating_sub(1);
        }
    }

    pub(crate) fn counts(&mut self, id: SlotId) -> &mut Counts {
        match self.slots.get_mut(id.0) {
            Some(slot) => &mut slot.counts,
            None => &mut self.others,
        }
    }

    /// Where gauges of a slot stand among [`rows`](Self::rows).
    pub(crate) fn row(&self, id: SlotId) -> usize {
        id.0.min(self.slots.len())
    }

    /// Every name with its counters; the others come last.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Counts)> {
        let named = self.slots.iter().map(|slot| (slot.name.as_str(), slot.counts));
        named.chain(std::iter::once((OTHERS, self.others)))
    }

    /// Pools that each name has, for the audit.
    pub(crate) fn pools(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().map(|slot| slot.pools)
    }
}

/// A name of a bounded length. One that is called as the others are counted among them is told
/// apart.
fn cut(name: &str) -> String {
    match beginning(name, NAME_BYTES_MAX) {
        OTHERS => format!("{OTHERS}_"),
        name => name.to_owned(),
    }
}

/// Words for why something was refused, in the order of the counters, which does not change: more
/// come at the end. `other` counts what an earlier version had no word for.
pub const REASONS: [&str; 26] = [
    "not_permitted",
    "bad_request",
    "unknown_pool",
    "no_such_worker",
    "queue_full",
    "too_many_clients",
    "deadline",
    "cancelled",
    "shutting_down",
    "template_failed",
    "fork_failed",
    "reload_failed",
    "too_busy",
    "penalised",
    OTHER_REASON,
    "upgrade_failed",
    "system",
    "nothing_known",
    "limit_workers",
    "limit_starts_per_second",
    "limit_queue",
    "limit_reached",
    "limit_loosened",
    "limit_unsupported",
    "poisoned",
    "task_unnamed",
];
const OTHER_REASON: &str = "other";

/// Which of the [`REASONS`].
pub(crate) fn reason(refusal: &Refusal) -> usize {
    let find = |word: &str| REASONS.iter().position(|reason| *reason == word);
    find(refusal.word()).or_else(|| find(OTHER_REASON)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_slots_and_no_count_is_lost() {
        let mut slots = Slots::default();
        let first = slots.join("a");
        assert_eq!(slots.join("a"), first);
        slots.counts(first).starts = 7;
        let rest: Vec<_> = (1..SLOTS_MAX).map(|n| slots.join(&n.to_string())).collect();
        let beyond = slots.join("beyond");
        slots.counts(beyond).starts = 1;
        let rows: Vec<_> = slots.rows().collect();
        assert_eq!(rows.len(), SLOTS_MAX + 1);
        assert_eq!((rows[SLOTS_MAX].0, rows[SLOTS_MAX].1.starts), (OTHERS, 1));
        // Still one pool of that name: the slot stays.
        slots.leave(first);
        assert_eq!(slots.join("late").0, usize::MAX);
        slots.leave(first);
        assert_eq!(slots.join("late"), first);
        let rows: Vec<_> = slots.rows().collect();
        assert_eq!((rows[0].0, rows[0].1.starts), ("late", 0));
        assert_eq!(rows[SLOTS_MAX].1.starts, 8, "what `a` had counted is among the others");
        slots.leave(rest[3]);
        assert_eq!(slots.join("4"), rest[3], "a name that comes back goes on");
    }

    #[test]
    fn names_are_bounded_and_not_mistaken() {
        let mut slots = Slots::default();
        slots.join(&"ä".repeat(500));
        slots.join(OTHERS);
        let names: Vec<_> = slots.rows().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names[0], "ä".repeat(NAME_BYTES_MAX / 2));
        assert_eq!(names[1..], ["other_", OTHERS]);
    }

    #[test]
    fn every_refusal_has_a_counter_of_its_own() {
        let mut words: Vec<_> = Refusal::WORDS.into_iter().chain([OTHER_REASON]).collect();
        words.sort_unstable();
        let mut reasons = REASONS;
        reasons.sort_unstable();
        assert_eq!(reasons[..], words);
        for (refusal, word) in [
            (Refusal::ShuttingDown, "shutting_down"),
            (Refusal::TaskUnnamed, "task_unnamed"),
            (Refusal::System { call: String::new(), message: String::new() }, "system"),
        ] {
            assert_eq!(REASONS[reason(&refusal)], word);
        }
    }
}
