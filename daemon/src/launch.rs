//! How a daemon that starts in the background tells whoever started it that it is ready, or why
//! not.

use crate::cli::EXIT_SYSTEM;
use std::io::{PipeReader, PipeWriter, Read, Write};

/// Bytes of a reason that are passed on.
const REASON_BYTES_MAX: usize = 4096;

/// The daemon's side. Dropped without a word, it means that the daemon died.
#[derive(Debug, Default)]
pub struct Launch {
    parent: Option<PipeWriter>,
}

impl Launch {
    /// Nobody waits: the daemon runs in the foreground.
    pub fn foreground() -> Self {
        Self::default()
    }

    /// Somebody waits at the other end.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only Unix can detach"))]
    pub(crate) fn with_parent(parent: PipeWriter) -> Self {
        Self { parent: Some(parent) }
    }

    /// Whether somebody waits. Until then standard error is theirs to report.
    pub fn is_awaited(&self) -> bool {
        self.parent.is_some()
    }

    /// The daemon serves: the command that started it returns 0. Later calls do nothing.
    pub fn ready(&mut self) {
        self.tell(0, "");
    }

    /// The daemon gives up: the command that started it prints the reason and returns the code.
    pub fn failed(&mut self, code: u8, reason: &str) {
        self.tell(code, reason);
    }

    fn tell(&mut self, code: u8, reason: &str) {
        let Some(mut pipe) = self.parent.take() else { return };
        let mut message = vec![code];
        message.extend(reason.bytes().take(REASON_BYTES_MAX));
        // A parent that was killed meanwhile changes nothing for the daemon.
        let _ = pipe.write_all(&message);
    }
}

/// Waits for the daemon's word: an exit code, and a reason where that is not 0.
#[cfg_attr(not(unix), allow(dead_code, reason = "only Unix can detach"))]
pub(crate) fn wait(mut pipe: PipeReader) -> (u8, String) {
    let mut code = [0];
    if pipe.read_exact(&mut code).is_err() {
        return (EXIT_SYSTEM, "the daemon ended before it was ready; see its log".to_owned());
    }
    let mut reason = Vec::new();
    if code != [0] {
        // Part of a reason is better than none.
        let _ = pipe.take(REASON_BYTES_MAX as u64).read_to_end(&mut reason);
    }
    (code[0], String::from_utf8_lossy(&reason).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(act: impl FnOnce(&mut Launch)) -> (u8, String) {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let mut launch = Launch::with_parent(writer);
        assert!(launch.is_awaited());
        act(&mut launch);
        drop(launch);
        wait(reader)
    }

    #[test]
    fn the_first_word_counts() {
        assert_eq!(told(Launch::ready), (0, String::new()));
        assert_eq!(told(|launch| launch.failed(100, "bad")), (100, "bad".to_owned()));
        let both = |launch: &mut Launch| {
            launch.ready();
            launch.failed(111, "late");
        };
        assert_eq!(told(both), (0, String::new()));
        let (code, reason) = told(|_| {});
        assert_eq!(code, EXIT_SYSTEM);
        assert!(reason.contains("before it was ready"), "{reason}");
        assert_eq!(told(|launch| launch.failed(1, &"x".repeat(9999))).1.len(), REASON_BYTES_MAX);
    }

    #[test]
    fn nobody_waits_in_the_foreground() {
        let mut launch = Launch::foreground();
        assert!(!launch.is_awaited());
        launch.ready();
        launch.failed(111, "unheard");
    }
}
