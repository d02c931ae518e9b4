//! Huge pages, overcommitment, and what is free.

use super::files::Files;
use super::finding::{Finding, Thing};
use crate::ctl::units;

const HUGE: Thing = Thing("memory.huge_pages", "huge pages");
const OVERCOMMIT: Thing = Thing("memory.overcommit", "overcommitment");
const FREE: Thing = Thing("memory.available", "free memory");

/// Less than this, and templates do not load.
const LITTLE_KIB: u64 = 64 << 10;
/// Below one part in so many, the next burst of workers meets the OOM killer.
const SHARE: u64 = 20;

/// What the machine's memory is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `always`, `madvise` or `never`.
    huge: Option<String>,
    overcommit: Option<u64>,
    total_kib: Option<u64>,
    available_kib: Option<u64>,
}

impl Facts {
    /// Reads it.
    pub(super) fn gather(files: &Files) -> Self {
        let meminfo = files.read("/proc/meminfo").unwrap_or_default();
        let huge = files.read("/sys/kernel/mm/transparent_hugepage/enabled");
        Self {
            huge: huge.as_deref().and_then(chosen).map(str::to_owned),
            overcommit: files.number("/proc/sys/vm/overcommit_memory"),
            total_kib: kib(&meminfo, "MemTotal:"),
            available_kib: kib(&meminfo, "MemAvailable:"),
        }
    }

    /// What that means.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let huge = match self.huge.as_deref() {
            Some(mode @ ("always" | "madvise")) => HUGE.ok(mode),
            mode => HUGE.warn(
                mode.unwrap_or("not in this kernel"),
                "forking a template with 1 GiB of memory takes 13 to 31 ms instead of 0.5, and \
                 its worker's end as long again; starts with a spare are as fast as ever",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            ),
        };
        let overcommit = match self.overcommit {
            Some(mode @ (0 | 1)) => OVERCOMMIT.ok(format!("vm.overcommit_memory is {mode}")),
            Some(mode) => OVERCOMMIT.warn(
                format!("vm.overcommit_memory is {mode}"),
                "each worker reserves as much memory as its template has, shared or not: forks \
                 fail long before memory is used up",
                "sysctl vm.overcommit_memory=0, or enough swap",
            ),
            None => OVERCOMMIT.note("unknown", "forks may fail early", "mount /proc"),
        };
        vec![huge, overcommit, self.judge_free()]
    }

    fn judge_free(&self) -> Finding {
        let (Some(total), Some(available)) = (self.total_kib, self.available_kib) else {
            return FREE.note("unknown", "nobody can say whether it suffices", "mount /proc");
        };
        let found = format!("{} of {}", units::memory(available), units::memory(total));
        let remedy = "stop what needs it (`mpctl ps` for workers), or limit workers (max_workers)";
        if available < LITTLE_KIB {
            FREE.fail(found, "templates do not load, and the OOM killer chooses who dies", remedy)
        } else if available < total / SHARE {
            FREE.warn(found, "the next workers may meet the OOM killer", remedy)
        } else {
            FREE.ok(found)
        }
    }
}

/// The word in brackets.
fn chosen(modes: &str) -> Option<&str> {
    modes.split_once('[')?.1.split_once(']').map(|(mode, _)| mode)
}

fn kib(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::files::faked;
    use super::super::finding::{State, states};
    use super::*;

    fn good() -> Facts {
        let (total_kib, available_kib) = (Some(8 << 20), Some(4 << 20));
        Facts { huge: Some("madvise".into()), overcommit: Some(0), total_kib, available_kib }
    }

    #[test]
    fn each_trouble_is_told() {
        use State::{Fail, Note, Ok, Warn};
        for (facts, expected) in [
            (good(), [Ok, Ok, Ok]),
            (Facts { huge: Some("never".into()), ..good() }, [Warn, Ok, Ok]),
            (Facts { huge: None, ..good() }, [Warn, Ok, Ok]),
            (Facts { overcommit: Some(2), ..good() }, [Ok, Warn, Ok]),
            (Facts { overcommit: None, ..good() }, [Ok, Note, Ok]),
            (Facts { available_kib: Some(1000), ..good() }, [Ok, Ok, Fail]),
            (Facts { available_kib: Some(200 << 10), ..good() }, [Ok, Ok, Warn]),
            (Facts { available_kib: None, ..good() }, [Ok, Ok, Note]),
        ] {
            let found = states(&facts.judge()).into_iter().map(|(_, state)| state);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{facts:?}");
        }
    }

    #[test]
    fn the_kernel_is_read() {
        let (_folder, files) = faked(&[
            ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("/proc/sys/vm/overcommit_memory", "0\n"),
            ("/proc/meminfo", "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable:  4194304 kB\n"),
        ]);
        assert_eq!(Facts::gather(&files), good());
        let nothing = Facts::gather(&faked(&[]).1);
        assert_eq!((nothing.huge, nothing.total_kib), (None, None));
        assert_eq!(chosen("always madvise"), None);
    }
}
