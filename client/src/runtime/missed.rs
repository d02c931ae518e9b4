//! Deaths that no daemon has heard of, for the next one: what its certificates need.
//!
//! A daemon that dies may not have read what it was told last, so those of its last moments are
//! told once more. The next one knows which it has heard of.

use mpserverd_proto::template::{Ended, Lessee, Missed};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Deaths that are kept, the last ones.
const KEPT_MAX: usize = 256;
/// What was told this long before the daemon was found gone may not have been read.
const UNREAD: Duration = Duration::from_secs(1);

/// The last deaths.
#[derive(Debug, Default)]
pub(super) struct Obituaries {
    kept: VecDeque<(Instant, Missed)>,
    /// How many were forgotten since the daemon is gone.
    forgotten: u64,
}

/// Who died, beside what every daemon is told.
#[derive(Debug)]
pub(super) struct Deceased {
    pub(super) ended: Ended,
    pub(super) pid: u32,
    pub(super) lessee: Option<Lessee>,
    /// What it wrote last while there was no daemon.
    pub(super) stderr: Vec<u8>,
}

impl Obituaries {
    /// Notes a death of just now; with a daemon, for the case that it is about to die.
    pub(super) fn note(&mut self, deceased: Deceased, has_daemon: bool) {
        let now = Instant::now();
        if has_daemon {
            while self.kept.front().is_some_and(|(at, _)| now.duration_since(*at) > UNREAD) {
                self.kept.pop_front();
            }
        }
        let Deceased { ended: Ended { worker, record, last }, pid, lessee, stderr } = deceased;
        let ended_ms = super::worker::epoch_ms();
        let missed = Missed { worker, pid, record, last, ended_ms, lessee, stderr };
        self.kept.push_back((now, missed));
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
            self.forgotten += u64::from(!has_daemon);
        }
    }

    /// What the next daemon is to be told, of one that was found gone then; and how many more
    /// there were.
    pub(super) fn take(&mut self, gone_since: Instant) -> (Vec<Missed>, u64) {
        let kept = std::mem::take(&mut self.kept).into_iter();
        let is_news = |at: &Instant| *at + UNREAD >= gone_since;
        let missed = kept.filter(|(at, _)| is_news(at)).map(|(_, missed)| missed).collect();
        (missed, std::mem::take(&mut self.forgotten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::ids::WorkerId;
    use mpserverd_proto::status::{ExitRecord, Reporter, Usage};

    fn deceased(number: u64) -> Deceased {
        let (usage, reporter) = (Usage::default(), Reporter::Template);
        let record = ExitRecord { code: 0, core: false, usage, reporter, out_of_cpu: false };
        let ended = Ended { worker: WorkerId(number), record, last: None };
        Deceased { ended, pid: 1, lessee: None, stderr: Vec::new() }
    }

    #[test]
    fn the_last_ones_are_kept_and_the_others_counted() {
        let mut obituaries = Obituaries::default();
        (0..10).for_each(|number| obituaries.note(deceased(number), true));
        (10..310).for_each(|number| obituaries.note(deceased(number), false));
        let (missed, forgotten) = obituaries.take(Instant::now());
        let numbers: Vec<_> = missed.iter().map(|missed| missed.worker.0).collect();
        assert_eq!(numbers, (54..310).collect::<Vec<_>>());
        assert_eq!(forgotten, 54);
        assert_eq!(obituaries.take(Instant::now()).0.len(), 0);
    }

    #[test]
    fn what_a_daemon_has_surely_read_is_not_told_again() {
        let mut obituaries = Obituaries::default();
        obituaries.note(deceased(1), true);
        let later = Instant::now() + UNREAD + Duration::from_millis(1);
        assert!(obituaries.take(later).0.is_empty());
        obituaries.note(deceased(2), true);
        assert_eq!(obituaries.take(Instant::now()).0.len(), 1);
    }
}
