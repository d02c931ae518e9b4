//! The last records of the log, for `mpctl logs`. Bounded in number and in bytes: the oldest go
//! first. Nobody who reads can delay who writes for longer than a copy takes.

use super::fields::Fields;
use mpserverd_proto::limits::{LOG_BYTES_MAX, LOG_RECORD_BYTES_MAX, LOG_RECORDS_MAX};
use mpserverd_proto::record::{LogLevel, LogRecord, LogReport};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The records of this process: its log is one, as its subscriber is.
pub(crate) static RING: Ring = Ring::new();

/// Records, the oldest first.
#[derive(Debug)]
pub(crate) struct Ring(Mutex<Records>);

#[derive(Debug)]
struct Records {
    records: VecDeque<LogRecord>,
    bytes: usize,
    /// Number of the newest that there ever was; 0 before the first.
    newest: u64,
}

impl Ring {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Records { records: VecDeque::new(), bytes: 0, newest: 0 }))
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Whoever panicked with it had not begun to change it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the newest record.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only a server is asked"))]
    pub(crate) fn newest(&self) -> u64 {
        self.records().newest
    }

    /// Adds a record, under the next number.
    fn push(&self, mut record: LogRecord) {
        let mut ring = self.records();
        ring.newest += 1;
        record.number = ring.newest;
        ring.bytes += record.size();
        ring.records.push_back(record);
        while ring.records.len() > LOG_RECORDS_MAX || ring.bytes > LOG_BYTES_MAX {
            let Some(oldest) = ring.records.pop_front() else { return };
            ring.bytes -= oldest.size();
        }
    }

    /// Records after a number, the oldest first; without a number the last ones.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only a server is asked"))]
    pub(crate) fn read(&self, after: Option<u64>, limit: u32, level: LogLevel) -> LogReport {
        let ring = self.records();
        let limit = (limit as usize).clamp(1, LOG_RECORDS_MAX);
        let wanted = |record: &&LogRecord| record.level <= level;
        let Some(after) = after else {
            let newest_first = ring.records.iter().rev().filter(wanted).take(limit).cloned();
            let mut records: Vec<_> = newest_first.collect();
            records.reverse();
            return LogReport { records, after: ring.newest, lost: 0 };
        };
        // A number of an earlier daemon means nothing here.
        let after = after.min(ring.newest);
        let oldest = ring.newest - ring.records.len() as u64 + 1;
        let lost = oldest.saturating_sub(after + 1);
        let known = usize::try_from((after + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        let mut report = LogReport { records: Vec::new(), after: after + lost, lost };
        for record in ring.records.iter().skip(known) {
            if report.records.len() == limit {
                break;
            }
            report.after = record.number;
            report.records.extend(Some(record).filter(wanted).cloned());
        }
        report
    }
}

/// Puts every event into a ring.
pub(super) struct Recorder(pub(super) &'static Ring);

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Fields { message, fields, .. } = Fields::of(event, LOG_RECORD_BYTES_MAX);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        self.0.push(LogRecord {
            number: 0,
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            level: level(*event.metadata().level()),
            target: event.metadata().target().to_owned(),
            message,
            fields: fields.collect(),
        });
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn record(level: LogLevel, message: &str) -> LogRecord {
        let (target, fields) = (String::new(), Vec::new());
        LogRecord { number: 0, at_ms: 0, level, target, message: message.to_owned(), fields }
    }

    fn numbers(report: &LogReport) -> Vec<u64> {
        report.records.iter().map(|record| record.number).collect()
    }

    #[test]
    fn whoever_asks_for_what_follows_misses_nothing() {
        let ring = Ring::new();
        assert_eq!(ring.read(None, 5, LogLevel::Trace), LogReport::default());
        for number in 0..10 {
            let level = if number % 2 == 0 { LogLevel::Info } else { LogLevel::Debug };
            ring.push(record(level, "x"));
        }
        let last = ring.read(None, 3, LogLevel::Info);
        assert_eq!((numbers(&last), last.after, last.lost), (vec![5, 7, 9], 10, 0));
        let first = ring.read(Some(0), 2, LogLevel::Info);
        assert_eq!((numbers(&first), first.after), (vec![1, 3], 3));
        let rest = ring.read(Some(first.after), 99, LogLevel::Info);
        assert_eq!((numbers(&rest), rest.after, rest.lost), (vec![5, 7, 9], 10, 0));
        let none = ring.read(Some(10), 99, LogLevel::Trace);
        assert_eq!((numbers(&none), none.after), (vec![], 10));
        assert_eq!(ring.read(Some(u64::MAX), 9, LogLevel::Trace).after, 10);
    }

    #[test]
    fn what_is_gone_is_counted() {
        let ring = Ring::new();
        for _ in 0..LOG_RECORDS_MAX + 50 {
            ring.push(record(LogLevel::Info, "x"));
        }
        let report = ring.read(Some(20), 1, LogLevel::Info);
        assert_eq!((numbers(&report), report.lost), (vec![51], 30));
        let report = ring.read(Some(20), 1, LogLevel::Error);
        assert_eq!((report.records.len(), report.lost), (0, 30));
        assert_eq!(report.after, ring.newest());
    }

    #[test]
    fn the_ring_is_bounded_in_bytes() {
        let ring = Ring::new();
        for _ in 0..500 {
            ring.push(record(LogLevel::Info, &"x".repeat(LOG_RECORD_BYTES_MAX)));
        }
        let records = ring.records();
        let bytes: usize = records.records.iter().map(LogRecord::size).sum();
        assert_eq!(bytes, records.bytes);
        assert!(bytes <= LOG_BYTES_MAX && bytes > LOG_BYTES_MAX / 2, "{bytes}");
    }

    #[test]
    fn events_are_recorded_with_their_fields_and_cut() {
        static OWN: Ring = Ring::new();
        let subscriber = tracing_subscriber::registry().with(Recorder(&OWN));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(worker = "w7", pid = 70, why = ?Some("x"), "it {}", "ended");
            tracing::info!(long = "ü".repeat(LOG_RECORD_BYTES_MAX), after = "y", "cut");
        });
        let report = OWN.read(None, 9, LogLevel::Trace);
        let [ended, cut] = report.records.as_slice() else { panic!("{report:?}") };
        assert_eq!((ended.level, ended.message.as_str()), (LogLevel::Warn, "it ended"));
        assert_eq!(ended.target, "mpserverd::logging::ring::tests");
        let told: Vec<_> = ended.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(told, [("worker", "w7"), ("pid", "70"), ("why", "Some(\"x\")")]);
        assert!(ended.at_ms > 1_600_000_000_000);
        assert!(cut.size() < LOG_RECORD_BYTES_MAX + 256, "{}", cut.size());
        assert!(cut.fields[0].1.ends_with('…'));
    }
}
