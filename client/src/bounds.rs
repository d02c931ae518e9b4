//! Limits that a program asks for its workers.
//!
//! What must never be in here: how they are held. That is the daemon's business; without one, what
//! the process itself can be told to keep is told to it, and the rest is refused.

use crate::error::StartError;
use crate::process::{Options, Resource};
use mpserverd_proto::bounds::{Bound, Bounds};
use std::time::Duration;

/// From being asked to end to being killed, unless told otherwise; as the daemon's `kill_after`.
const GRACE: Duration = Duration::from_secs(2);
/// How much later than the daemon's own limit a process ends itself.
const MARGIN: Duration = Duration::from_secs(1);

/// Limits of one process, for [`ProcessBuilder::limits`](crate::ProcessBuilder::limits).
///
/// The daemon holds a worker to them, whatever the worker does, together with those of its own
/// configuration: of each kind the tighter one counts, and one that is looser than configured is
/// refused by name ([`Refusal::LimitLoosened`](crate::Refusal::LimitLoosened)). Time and
/// memory are those of the process and its descendants; at a limit all of them are ended.
///
/// Without a daemon (`fork`, `spawn`, or the fallback to it) open files, sizes of files and time on
/// the CPU are limits of the process itself, time on the wall is its
/// [`deadline`](crate::ProcessBuilder::deadline), and a start with any other limit fails with
/// [`StartError::Invalid`](crate::StartError::Invalid).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    bounds: Bounds,
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Limits {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, bound: Bound, value: i64) -> Self {
        self.bounds.set(bound, value);
        self
    }

    /// Private memory, bytes: what it shares with its template does not count. Beyond, it is
    /// killed.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        self.with(Bound::Memory, number(bytes))
    }

    /// Private memory from which on it is slowed down and memory is taken back, bytes. Needs the
    /// memory controller.
    #[must_use]
    pub fn memory_high(self, bytes: u64) -> Self {
        self.with(Bound::MemoryHigh, number(bytes))
    }

    /// Its share of the CPU when others want it too, 1 to 10000; 100 is usual. Needs the cpu
    /// controller.
    #[must_use]
    pub fn cpu_weight(self, weight: u32) -> Self {
        self.with(Bound::CpuWeight, weight.into())
    }

    /// How much CPU it gets at most, percent of one CPU. Needs the cpu controller.
    #[must_use]
    pub fn cpu_quota(self, percent: u32) -> Self {
        self.with(Bound::CpuQuota, percent.into())
    }

    /// Processes and threads, its own two included.
    #[must_use]
    pub fn pids(self, count: u32) -> Self {
        self.with(Bound::Pids, count.into())
    }

    /// Open descriptors.
    #[must_use]
    pub fn open_files(self, count: u64) -> Self {
        self.with(Bound::Fds, number(count))
    }

    /// Size of a file that it writes, bytes.
    #[must_use]
    pub fn file_size(self, bytes: u64) -> Self {
        self.with(Bound::FileSize, number(bytes))
    }

    /// Time on the wall, from the hand-over on. It is sent `SIGTERM` then, and killed after the
    /// [`kill_grace`](Self::kill_grace).
    #[must_use]
    pub fn wall_time(self, limit: Duration) -> Self {
        self.with(Bound::WallTime, milliseconds(limit))
    }

    /// Time on the CPU. It is sent `SIGXCPU` then, and killed after the
    /// [`kill_grace`](Self::kill_grace).
    #[must_use]
    pub fn cpu_time(self, limit: Duration) -> Self {
        self.with(Bound::CpuTime, milliseconds(limit))
    }

    /// How long it may take to end by itself when its time is over; the daemon's `kill_after`
    /// otherwise.
    #[must_use]
    pub fn kill_grace(self, grace: Duration) -> Self {
        self.with(Bound::KillGrace, milliseconds(grace))
    }

    /// What the daemon is asked for, with what else the options say of the same things.
    pub(crate) fn asked(options: &Options) -> Bounds {
        let mut bounds = options.limits.bounds;
        for (resource, _, hard) in &options.rlimits {
            let bound = match resource {
                Resource::OpenFiles => Bound::Fds,
                Resource::FileSize => Bound::FileSize,
                _ => continue,
            };
            bounds.tighten(bound, number(*hard).max(*bound.range().start()));
        }
        if let Some(nice) = options.nice {
            bounds.tighten(Bound::Nice, nice.into());
        }
        bounds
    }

    /// Adds to the options what the process keeps by itself. The daemon comes first where there is
    /// one, and is none while it is being restarted.
    pub(crate) fn add_to(self, options: &mut Options, with_daemon: bool) {
        let of = |bound| self.bounds.get(bound).and_then(|value| u64::try_from(value).ok());
        let grace = of(Bound::KillGrace).map_or(GRACE, Duration::from_millis);
        if let Some(cpu) = of(Bound::CpuTime) {
            let hard = Duration::from_millis(cpu).saturating_add(grace).as_secs();
            let soft = cpu.div_ceil(1000);
            options.rlimits.push((Resource::Cpu, soft, hard.saturating_add(1).max(soft)));
        }
        for (bound, resource) in
            [(Bound::Fds, Resource::OpenFiles), (Bound::FileSize, Resource::FileSize)]
        {
            options.rlimits.extend(of(bound).map(|value| (resource, value, value)));
        }
        if let Some(wall) = of(Bound::WallTime).map(Duration::from_millis) {
            let later = if with_daemon { grace.saturating_add(MARGIN) } else { Duration::ZERO };
            let deadline = wall.saturating_add(later);
            if options.deadline.is_none_or(|own| own > deadline) {
                options.deadline = Some(deadline);
                options.grace = if with_daemon { Duration::ZERO } else { grace };
            }
        }
    }

    /// Whether a process without a daemon can be held to them.
    pub(crate) fn without_daemon(&self) -> Result<(), StartError> {
        let held = [Bound::Fds, Bound::FileSize, Bound::WallTime, Bound::CpuTime, Bound::KillGrace];
        match self.bounds.iter().find(|(bound, _)| !held.contains(bound)) {
            Some((bound, _)) => Err(StartError::Invalid(format!(
                "the limit `{bound}` can be held by a daemon only"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_keeps_by_itself_is_told_to_it() {
        let second = Duration::from_secs(1);
        let limits = Limits::new().open_files(64).cpu_time(second * 3 / 2).wall_time(second);
        let mut options = Options::default();
        limits.add_to(&mut options, false);
        assert_eq!(options.rlimits, [(Resource::Cpu, 2, 4), (Resource::OpenFiles, 64, 64)]);
        assert_eq!((options.deadline, options.grace), (Some(second), GRACE));
        let mut options = Options { deadline: Some(second / 2), ..Options::default() };
        limits.add_to(&mut options, true);
        assert_eq!(options.deadline, Some(second / 2), "the tighter one");
    }

    #[test]
    fn what_the_options_say_of_the_same_is_asked_for_too() {
        let options = Options {
            limits: Limits::new().open_files(64).memory(1 << 30),
            rlimits: vec![(Resource::OpenFiles, 8, 8), (Resource::Core, 0, 0)],
            nice: Some(3),
            ..Options::default()
        };
        let asked = Limits::asked(&options);
        let values = [Bound::Fds, Bound::Nice, Bound::Memory].map(|bound| asked.get(bound));
        assert_eq!(values, [Some(16), Some(3), Some(1 << 30)]);
        assert!(Limits::asked(&Options::default()).is_empty());
    }

    #[test]
    fn what_only_a_daemon_can_hold_is_said() {
        let own = Limits::new().open_files(64).cpu_time(Duration::from_millis(1500));
        assert!(own.without_daemon().is_ok());
        let error = own.memory(1 << 20).without_daemon().expect_err("memory").to_string();
        assert!(error.contains("`memory`"), "{error}");
    }
}
