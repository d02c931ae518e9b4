//! Whether the kernel has killed a process for want of memory since the last look.

use std::fs;
use std::path::PathBuf;

/// Counters of the kernel's kills for want of memory, as they were at the last look.
#[derive(Debug)]
pub(crate) struct OomWatch {
    /// `memory.events` of the control group that workers live in.
    group: Option<PathBuf>,
    seen: [u64; 2],
}

impl OomWatch {
    /// From now on.
    pub(crate) fn begin() -> Self {
        let mut watch = Self { group: own_group(), seen: [0; 2] };
        watch.seen = watch.count();
        watch
    }

    /// Whether there was one since the last look, in the control group or on the machine.
    pub(crate) fn has_struck(&mut self) -> bool {
        let now = self.count();
        let before = std::mem::replace(&mut self.seen, now);
        now.iter().zip(before).any(|(now, before)| *now > before)
    }

    fn count(&self) -> [u64; 2] {
        let read = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_default();
        let group = self.group.as_deref().map(read).unwrap_or_default();
        [oom_kills(&group), oom_kills(&read("/proc/vmstat".as_ref()))]
    }
}

/// The line `oom_kill N` of `memory.events` (`cgroup-v2`) and of `/proc/vmstat`.
fn oom_kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn own_group() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    Some(PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_line_counts() {
        assert_eq!(oom_kills("low 0\noom 5\noom_kill 3\noom_group_kill 9\n"), 3);
        assert_eq!(oom_kills("nr_free_pages 1\n"), 0);
        assert_eq!(oom_kills(""), 0);
    }
}
