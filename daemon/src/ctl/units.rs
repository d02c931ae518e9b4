//! Numbers as people read them: short, and of a known width.

use std::time::Duration;

/// Memory, out of KiB: `812K`, `4.5M`, `1.2G`.
pub(super) fn memory(kib: u64) -> String {
    let mut scaled = kib as f64;
    for unit in ["K", "M", "G"] {
        if scaled < 999.5 {
            return short(scaled, unit);
        }
        scaled /= 1024.0;
    }
    short(scaled, "T")
}

fn short(number: f64, unit: &str) -> String {
    if number < 9.95 && unit != "K" {
        format!("{number:.1}{unit}")
    } else {
        format!("{number:.0}{unit}")
    }
}

/// A short time, out of microseconds: `85µs`, `1.2ms`, `3.4s`.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}µs"),
        1_000..10_000 => format!("{:.1}ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{}ms", us / 1_000),
        1_000_000..10_000_000 => format!("{:.1}s", us as f64 / 1e6),
        _ => age(us / 1_000),
    }
}

/// Time on a CPU, which the kernel counts in milliseconds at best.
pub(super) fn cpu(ms: u64) -> String {
    if ms == 0 { "0ms".to_owned() } else { micros(ms.saturating_mul(1000)) }
}

/// A time that somebody waits for or looks back on, out of milliseconds: `3s`, `2m05s`, `4d03h`.
pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A span of time, precise to what matters.
pub(super) fn span(duration: Duration) -> String {
    micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// A share of a whole, in percent; nothing of nothing is `-`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{}%", (u128::from(part) * 100 / u128::from(whole)).min(100))
}

/// A word for how many.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_true() {
        for (kib, text) in [
            (0, "0K"),
            (999, "999K"),
            (1000, "1.0M"),
            (4608, "4.5M"),
            (10_240, "10M"),
            (1 << 20, "1.0G"),
            (1 << 40, "1024T"),
        ] {
            assert_eq!(memory(kib), text, "{kib}");
        }
        for (us, text) in [
            (85, "85µs"),
            (1_200, "1.2ms"),
            (45_999, "45ms"),
            (3_400_000, "3.4s"),
            (7_200_000_000, "2h00m"),
        ] {
            assert_eq!(micros(us), text, "{us}");
        }
        assert_eq!((cpu(0), cpu(1500)), ("0ms".to_owned(), "1.5s".to_owned()));
        for (ms, text) in [(0, "0s"), (125_000, "2m05s"), (97_200_000, "1d03h")] {
            assert_eq!(age(ms), text, "{ms}");
        }
        assert_eq!((percent(1, 0).as_str(), percent(1, 3).as_str()), ("-", "33%"));
        assert_eq!(percent(u64::MAX, u64::MAX), "100%");
        assert_eq!(
            (count(1, "worker"), count(0, "worker")),
            ("1 worker".into(), "0 workers".into())
        );
    }

    proptest::proptest! {
        #[test]
        fn never_wide(number: u64) {
            assert!(memory(number >> 12).chars().count() <= 6 || number >> 12 > 1 << 42);
            assert!(micros(number).chars().count() <= 14);
        }
    }
}
