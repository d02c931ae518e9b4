//! The most private memory that a worker had, looked at when its task is over, for its certificate.
//!
//! What it has at its end the kernel counts page by page, some sixteen milliseconds a GiB that it
//! shares with its template or has for itself. So the kernel is asked only where that is a small part
//! of what the task took, and never by a start in a hurry. What it had more before shows in the peak
//! of its resident memory, but only where that is above the peak of its template, with which it was
//! born.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What counting takes: by itself, and for each MiB of resident memory.
const BASE: Duration = Duration::from_micros(50);
const PER_MIB: Duration = Duration::from_micros(20);
/// It may take one part in so many of the task's time.
const SHARE: u32 = 50;
/// A page, KiB; larger ones only make the guess too small where there is much time.
const PAGE_KIB: u64 = 4;

/// The peak that workers are born with, KiB: that of their template.
static BORN_WITH: AtomicU64 = AtomicU64::new(u64::MAX);

/// Looks at the peak of this template, before it forks.
pub(super) fn of_template() {
    BORN_WITH.store(peak_resident_kib().unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// The most private memory so far, KiB, unless counting would take too long after a task that took
/// this time.
pub(super) fn private_kib(task_took: Duration) -> Option<u64> {
    if task_took < BASE * SHARE {
        return None;
    }
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident = statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?;
    let mib = u32::try_from((resident * PAGE_KIB) >> 10).unwrap_or(u32::MAX);
    let estimate = PER_MIB.saturating_mul(mib).saturating_add(BASE);
    if task_took < estimate.saturating_mul(SHARE) {
        return None;
    }
    let now = super::template::memory(Duration::ZERO)?;
    let peak = peak_resident_kib().filter(|peak| *peak > BORN_WITH.load(Ordering::Relaxed));
    let more_before = peak.map_or(0, |peak| peak.saturating_sub(now.rss_kib));
    Some(now.private_kib + more_before)
}

fn peak_resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_task_is_not_worth_it() {
        assert_eq!(private_kib(Duration::from_millis(1)), None);
        let kib = private_kib(Duration::from_secs(3600)).expect("there was time");
        assert!(kib > 100, "{kib}");
    }
}
