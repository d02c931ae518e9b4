//! How much may be read and logged: so much in a second, of each worker and of all together.

use std::time::{Duration, Instant};

/// A second: what the allowances are for.
pub(super) const SPAN: Duration = Duration::from_secs(1);

/// What may be used up within a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) lines: u32,
    pub(super) bytes: usize,
}

/// Of one worker.
pub(super) const ONE: Allowance = Allowance { lines: 100, bytes: 2 << 20 };
/// Of all of them.
pub(super) const ALL: Allowance = Allowance { lines: 1000, bytes: 16 << 20 };

/// What was used up of one.
#[derive(Debug)]
pub(super) struct Meter {
    of: Allowance,
    left: Allowance,
    until: Option<Instant>,
}

impl Meter {
    pub(super) const fn new(of: Allowance) -> Self {
        Self { of, left: of, until: None }
    }

    fn turn(&mut self, now: Instant) {
        if self.until.is_none_or(|until| until <= now) {
            self.left = self.of;
            self.until = Some(now + SPAN);
        }
    }

    /// Whether one line more may be logged: it is then counted.
    pub(super) fn takes_line(&mut self, now: Instant) -> bool {
        self.turn(now);
        let takes = self.left.lines > 0;
        self.left.lines = self.left.lines.saturating_sub(1);
        takes
    }

    /// Counts bytes; whether more may be read.
    pub(super) fn takes_bytes(&mut self, now: Instant, bytes: usize) -> bool {
        self.turn(now);
        self.left.bytes = self.left.bytes.saturating_sub(bytes);
        self.left.bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_lasts_a_second() {
        let mut meter = Meter::new(Allowance { lines: 2, bytes: 10 });
        let now = Instant::now();
        let lines = [0, 0, 0].map(|_| meter.takes_line(now));
        assert_eq!(lines, [true, true, false]);
        assert!(meter.takes_bytes(now, 9) && !meter.takes_bytes(now, 9));
        let later = now + SPAN;
        assert!(meter.takes_line(later) && meter.takes_bytes(later, 1));
    }
}
