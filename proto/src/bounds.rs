//! Limits of workers: which there are, what values they take, and which of two is tighter.
//!
//! What must never be in here: who sets a limit, who holds it, and what happens at it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// A limit, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub enum Bound {
    /// Private memory, bytes.
    Memory,
    /// Private memory from which on the kernel slows it down and takes pages back, bytes.
    MemoryHigh,
    /// Share of the CPU when others want it too, 1 to 10000; 100 is the usual share.
    CpuWeight,
    /// CPU time for each second on the wall, percent of one CPU.
    CpuQuota,
    /// Processes and threads.
    Pids,
    /// Open descriptors.
    Fds,
    /// Size of a file that it writes, bytes.
    FileSize,
    /// Nice value, at least.
    Nice,
    /// Time on the wall from the hand-over on, milliseconds.
    WallTime,
    /// Time on the CPU, milliseconds.
    CpuTime,
    /// From being asked to end to being killed, milliseconds.
    KillGrace,
    /// Workers at once.
    Workers,
    /// Workers handed over in a second.
    Starts,
    /// Requests that wait.
    Queue,
}

/// How many bounds there are for one worker; the further ones are for many together.
const OF_WORKER: usize = 11;

/// A day and a year, milliseconds.
const DAY_MS: i64 = 86_400_000;
const YEAR_MS: i64 = 31_557_600_000;

impl Bound {
    /// All of them, those of one worker first.
    pub const ALL: [Self; 14] = [
        Self::Memory,
        Self::MemoryHigh,
        Self::CpuWeight,
        Self::CpuQuota,
        Self::Pids,
        Self::Fds,
        Self::FileSize,
        Self::Nice,
        Self::WallTime,
        Self::CpuTime,
        Self::KillGrace,
        Self::Workers,
        Self::Starts,
        Self::Queue,
    ];

    /// Those of one worker.
    #[must_use]
    pub fn of_worker() -> &'static [Self] {
        &Self::ALL[..OF_WORKER]
    }

    /// Whether it is one of a single worker.
    #[must_use]
    pub fn is_of_worker(self) -> bool {
        (self as usize) < OF_WORKER
    }

    /// Its key in the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::MemoryHigh => "memory_high",
            Self::CpuWeight => "cpu_weight",
            Self::CpuQuota => "cpu_quota",
            Self::Pids => "pids",
            Self::Fds => "fds",
            Self::FileSize => "file_size",
            Self::Nice => "nice",
            Self::WallTime => "wall_time",
            Self::CpuTime => "cpu_time",
            Self::KillGrace => "kill_grace",
            Self::Workers => "workers",
            Self::Starts => "starts_per_second",
            Self::Queue => "queue",
        }
    }

    /// Values that make sense, in its unit.
    #[must_use]
    pub fn range(self) -> RangeInclusive<i64> {
        match self {
            // Below a MiB nothing of a worker fits; above a PiB somebody confused the units.
            Self::Memory | Self::MemoryHigh => 1 << 20..=1 << 50,
            // As the kernel has it.
            Self::CpuWeight => 1..=10_000,
            // A hundredth of a CPU, and more CPUs than Linux knows.
            Self::CpuQuota => 1..=1_000_000,
            // A worker has two threads before it does anything; `PID_MAX_LIMIT`.
            Self::Pids => 2..=4_194_304,
            // What a worker has open before it does anything; `fs.nr_open` is below that.
            Self::Fds => 16..=1 << 30,
            Self::FileSize => 0..=1 << 50,
            Self::Nice => -20..=19,
            Self::WallTime | Self::CpuTime => 1..=YEAR_MS,
            Self::KillGrace => 0..=DAY_MS,
            Self::Workers => 1..=4_194_304,
            Self::Starts => 1..=1_000_000,
            Self::Queue => 0..=crate::limits::QUEUE_TOTAL_MAX as i64,
        }
    }

    /// Whether the first value allows less than the second.
    #[must_use]
    pub fn is_tighter(self, value: i64, than: i64) -> bool {
        match self {
            Self::Nice => value > than,
            _ => value < than,
        }
    }

    /// A value as the configuration has it.
    #[must_use]
    pub fn spell(self, value: i64) -> String {
        match self {
            Self::Memory | Self::MemoryHigh | Self::FileSize => spell_size(value),
            Self::WallTime | Self::CpuTime | Self::KillGrace if value % 1000 == 0 => {
                format!("{}s", value / 1000)
            }
            Self::WallTime | Self::CpuTime | Self::KillGrace => format!("{value}ms"),
            Self::CpuQuota => format!("{value}%"),
            _ => value.to_string(),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

fn spell_size(bytes: i64) -> String {
    let units = [(1i64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|(size, _)| bytes != 0 && bytes % size == 0) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

/// Limits of one worker; what is not set is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Bounds {
    values: [Option<i64>; OF_WORKER],
}

impl Bounds {
    /// The value of one, in its unit.
    #[must_use]
    pub fn get(&self, bound: Bound) -> Option<i64> {
        self.values.get(bound as usize).copied().flatten()
    }

    /// Sets one; nothing happens for a bound that is not of one worker.
    pub fn set(&mut self, bound: Bound, value: i64) {
        if let Some(place) = self.values.get_mut(bound as usize) {
            *place = Some(value);
        }
    }

    /// Sets one, unless it is tighter already.
    pub fn tighten(&mut self, bound: Bound, value: i64) {
        if self.get(bound).is_none_or(|own| bound.is_tighter(value, own)) {
            self.set(bound, value);
        }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// Those that are set.
    pub fn iter(&self) -> impl Iterator<Item = (Bound, i64)> + '_ {
        Bound::of_worker().iter().filter_map(|bound| Some((*bound, self.get(*bound)?)))
    }
}

/// What a spare limits itself by as soon as it is born, before it can hear from anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Birth {
    /// `RLIMIT_NOFILE`.
    pub fds: Option<u64>,
    /// `RLIMIT_FSIZE`, bytes.
    pub file_size: Option<u64>,
    /// `RLIMIT_CPU`, seconds: later than the daemon's own limit, should there be no daemon then.
    pub cpu_seconds: Option<u64>,
    /// Nice value, at least.
    pub nice: Option<i32>,
    /// It becomes the parent of the orphans among its descendants, so that they are found.
    pub keeps_orphans: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_stand_in_their_order_and_know_their_place() {
        for (at, bound) in Bound::ALL.iter().enumerate() {
            assert_eq!(*bound as usize, at);
            assert!(bound.range().start() <= bound.range().end());
            let mut bounds = Bounds::default();
            bounds.set(*bound, 7);
            assert_eq!(bounds.get(*bound).is_some(), bound.is_of_worker(), "{bound}");
            assert_eq!(bounds.iter().count(), usize::from(bound.is_of_worker()));
        }
    }

    #[test]
    fn tighter_is_less_but_for_the_nice_value() {
        let mut bounds = Bounds::default();
        for value in [9, 5, 7] {
            bounds.tighten(Bound::Pids, value);
            bounds.tighten(Bound::Nice, value);
        }
        assert_eq!((bounds.get(Bound::Pids), bounds.get(Bound::Nice)), (Some(5), Some(9)));
    }

    #[test]
    fn values_are_spelt_as_people_write_them() {
        for (bound, value, text) in [
            (Bound::Memory, 512 << 20, "512M"),
            (Bound::Memory, (1 << 20) + 1, "1048577"),
            (Bound::FileSize, 0, "0"),
            (Bound::WallTime, 90_000, "90s"),
            (Bound::CpuTime, 1500, "1500ms"),
            (Bound::CpuQuota, 150, "150%"),
            (Bound::Nice, -3, "-3"),
        ] {
            assert_eq!(bound.spell(value), text);
        }
    }
}
