//! What a worker writes, as lines: the last ones for its certificate.

use mpserverd_proto::death::{STDERR_LINE_BYTES_MAX, STDERR_LINES_MAX};
use mpserverd_proto::text::{beginning, without_orders};
use std::collections::VecDeque;

/// Bytes of a line at most; the rest of a longer one is not looked at.
pub(super) const LINE_BYTES_MAX: usize = 1024;

/// Lines of one worker.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A line that has not ended yet.
    pub(super) begun: Vec<u8>,
    pub(super) kept: VecDeque<String>,
}

impl Lines {
    /// Takes what was written; gives every line that has ended to `each`.
    pub(super) fn take(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.begin(&bytes[..end]);
            self.finish(each);
            bytes = &bytes[end + 1..];
        }
        self.begin(bytes);
    }

    fn begin(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.begun.len().min(LINE_BYTES_MAX);
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The line that was begun has ended, if there is any.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(&str)) {
        let begun = std::mem::take(&mut self.begun);
        let line = String::from_utf8_lossy(&begun);
        let line = without_orders(line.trim_end());
        if line.is_empty() {
            return;
        }
        each(&line);
        if self.kept.len() == STDERR_LINES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(beginning(&line, STDERR_LINE_BYTES_MAX).to_owned());
    }
}

/// The last lines of these bytes.
pub(in crate::server) fn last_lines(bytes: &[u8]) -> Vec<String> {
    let mut lines = Lines::default();
    lines.take(bytes, &mut |_| {});
    lines.finish(&mut |_| {});
    lines.kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(parts: &[&[u8]]) -> (Vec<String>, Lines) {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for part in parts {
            lines.take(part, &mut |line| seen.push(line.to_owned()));
        }
        (seen, lines)
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let (seen, mut lines) = all(&[b"on", b"e\ntw", b"o\r\n\n  \nthree"]);
        assert_eq!(seen, ["one", "two"]);
        let mut last = Vec::new();
        lines.finish(&mut |line| last.push(line.to_owned()));
        lines.finish(&mut |line| last.push(line.to_owned()));
        assert_eq!(last, ["three"]);
        assert_eq!(lines.kept, ["one", "two", "three"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "ü".repeat(5000) + "\n";
        let (seen, lines) = all(&[long.as_bytes(), b"next\n"]);
        assert_eq!((seen[0].len() <= LINE_BYTES_MAX + 2, seen[1].as_str()), (true, "next"));
        assert!(lines.kept[0].len() <= STDERR_LINE_BYTES_MAX && lines.kept[0].starts_with('ü'));
        let many: String = (0..100).map(|number| format!("{number}\n")).collect();
        let last = last_lines(many.as_bytes());
        assert_eq!(
            (last.len(), last[0].as_str(), last[19].as_str()),
            (STDERR_LINES_MAX, "80", "99")
        );
    }

    #[test]
    fn bytes_that_are_no_text_and_orders_to_terminals_are_harmless() {
        let (seen, _) = all(&[b"\xff\x00\x1b[2J\tx\n"]);
        assert_eq!(seen, ["\u{fffd}??[2J\tx"]);
    }
}
