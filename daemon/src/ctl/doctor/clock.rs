//! Where time comes from, and the date.

use super::files::Files;
use super::finding::{Finding, Thing};
use std::time::{Duration, SystemTime};

const SOURCE: Thing = Thing("clock.source", "source of time");
const DATE: Thing = Thing("clock.date", "date");

/// Sources that are read without a system call.
const FAST: [&str; 6] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "timebase",
    "riscv_clocksource",
];
/// The first moment of 2024: no machine that this runs on is older.
const EARLIEST: Duration = Duration::from_secs(1_704_067_200);

/// The machine's clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    source: Option<String>,
    /// Time since 1970; `None` before that.
    date: Option<Duration>,
}

impl Facts {
    /// Reads them.
    pub(super) fn gather(files: &Files) -> Self {
        let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let date = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { source: files.read(path), date: date.ok() }
    }

    /// What that means.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let source = match self.source.as_deref() {
            Some(name) if FAST.contains(&name) => SOURCE.ok(name),
            Some(name) => SOURCE.note(
                name,
                "each look at the clock is a system call: waits with a deadline cost a \
                 microsecond more",
                "clocksource=tsc on the kernel's command line, if the processor's is stable",
            ),
            None => SOURCE.ok("of the kernel's choice"),
        };
        let date = match self.date {
            Some(date) if date >= EARLIEST => DATE.ok("plausible"),
            _ => DATE.warn(
                "before 2024",
                "times in the log are wrong; deadlines and limits are not: they use a clock that \
                 never jumps",
                "set the clock, or start a time service",
            ),
        };
        vec![source, date]
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::faked;
    use super::super::finding::{State, states};
    use super::*;

    #[test]
    fn each_trouble_is_told() {
        use State::{Note, Ok, Warn};
        let now = Some(EARLIEST * 2);
        for (source, date, expected) in [
            (Some("tsc"), now, [Ok, Ok]),
            (None, now, [Ok, Ok]),
            (Some("hpet"), now, [Note, Ok]),
            (Some("kvm-clock"), Some(Duration::ZERO), [Ok, Warn]),
            (Some("tsc"), None, [Ok, Warn]),
        ] {
            let facts = Facts { source: source.map(str::to_owned), date };
            let found = states(&facts.judge()).into_iter().map(|(_, state)| state);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{facts:?}");
        }
    }

    #[test]
    fn the_source_is_read() {
        let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let (_folder, files) = faked(&[(path, "tsc\n")]);
        assert_eq!(Facts::gather(&files).source.as_deref(), Some("tsc"));
    }
}
