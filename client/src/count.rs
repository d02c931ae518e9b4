//! How many CPUs there are, and how many of them this process may use.

use std::num::NonZero;

/// CPUs of the machine that are online, whether this process may use them or not
/// (`multiprocessing.cpu_count`). At least 1.
#[must_use]
pub fn cpu_count() -> usize {
    #[cfg(target_os = "linux")]
    {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        if let Some(count) = count_ranges(online.trim()) {
            return count;
        }
    }
    available_cpus()
}

/// CPUs that this process may use: its affinity mask, and the CPU quota of its control group
/// rounded up (`cpu.max`, `cpu.cfs_quota_us`). At least 1; the default size of pools.
#[must_use]
pub fn available_cpus() -> usize {
    // std looks at the affinity and at both versions of control groups.
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// `0-3,8` is five.
#[cfg(target_os = "linux")]
fn count_ranges(text: &str) -> Option<usize> {
    let mut count = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(count)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(count_ranges("0-3,8"), Some(5));
        assert_eq!(count_ranges("0"), Some(1));
        assert_eq!(count_ranges(""), None);
        assert!(cpu_count() >= available_cpus());
    }
}
