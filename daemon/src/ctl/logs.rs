//! `mpctl logs`: what the daemon remembers of its log, and what it writes from then on.

use super::error::CtlError;
use super::screen::Screen;
use super::{connect, units};
use crate::cli::EXIT_SYSTEM;
use crate::cli::mpctl::Logs;
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::record::{LogLevel, LogRecord, LogReport};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long the daemon keeps a request for records that are not there yet; then it is asked again.
const WAIT: Duration = Duration::from_secs(60);
/// What it may take beyond that, before it is given up.
const MARGIN: Duration = Duration::from_secs(10);
/// Records of one answer.
const BATCH: u32 = 256;

/// `mpctl logs`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen, options: &Logs) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    let level = options.level;
    // Of no lines at all the answer still says where to go on.
    let first = Request::Logs { after: None, limit: options.lines.max(1), level, wait_ms: 0 };
    let mut report = ask(&mut connection, &first)?;
    if options.lines == 0 {
        report.records.clear();
    }
    let mut out = io::stdout().lock();
    loop {
        if !print(&mut out, screen, &report)? {
            // Nobody reads any more.
            return Ok(0);
        }
        if !options.follow {
            return Ok(0);
        }
        let wait_ms = u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX);
        let next = Request::Logs { after: Some(report.after), limit: BATCH, level, wait_ms };
        report = ask(&mut connection, &next)?;
    }
}

fn ask(connection: &mut Connection, request: &Request) -> Result<LogReport, CtlError> {
    match connect::ask_within(connection, request, WAIT + MARGIN)? {
        Reply::Logs(report) => Ok(report),
        other => Err(CtlError::unexpected(&other)),
    }
}

/// Prints records; false if nobody reads.
fn print(out: &mut impl Write, screen: &Screen, report: &LogReport) -> Result<bool, CtlError> {
    if report.lost > 0 {
        let lost = units::count(report.lost, "record");
        let _ = writeln!(io::stderr(), "mpctl: {lost} lost: written faster than they were read");
    }
    let mut text = String::new();
    for record in &report.records {
        text += &if screen.json { json(record)? } else { line(record, screen.colours) };
        text.push('\n');
    }
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let mut told = CtlError::system(format!("standard output: {error}"));
            told.code = EXIT_SYSTEM;
            Err(told)
        }
    }
}

fn json(record: &LogRecord) -> Result<String, CtlError> {
    let fields: serde_json::Map<_, _> =
        record.fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let object = serde_json::json!({
        "number": record.number,
        "at_ms": record.at_ms,
        "level": record.level,
        "target": record.target,
        "message": record.message,
        "fields": fields,
    });
    serde_json::to_string(&object).map_err(|error| CtlError::system(error.to_string()))
}

/// A line for people, as the daemon's own text log has it.
fn line(record: &LogRecord, colours: bool) -> String {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(record.at_ms));
    let at = at.unwrap_or(SystemTime::UNIX_EPOCH);
    let level = record.level.word().to_uppercase();
    let colour = match record.level {
        LogLevel::Error => "\x1b[31m",
        LogLevel::Warn => "\x1b[33m",
        LogLevel::Info => "\x1b[32m",
        LogLevel::Debug => "\x1b[34m",
        LogLevel::Trace => "\x1b[35m",
    };
    let (on, off) = if colours { (colour, "\x1b[0m") } else { ("", "") };
    let flat = |text: &str| text.replace('\n', " | ").replace(char::is_control, "\u{fffd}");
    let mut line = format!(
        "{} {on}{level:>5}{off} {}: {}",
        humantime::format_rfc3339_millis(at),
        flat(&record.target),
        flat(&record.message),
    );
    for (name, value) in &record.fields {
        line += &format!(" {}={}", flat(name), flat(value));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LogRecord {
        LogRecord {
            number: 7,
            at_ms: 1_700_000_000_123,
            level: LogLevel::Warn,
            target: "mpserverd::core".into(),
            message: "it\nended \x1b[31m".into(),
            fields: vec![("worker".into(), "w7".into()), ("code".into(), "-9".into())],
        }
    }

    #[test]
    fn a_record_is_one_line_without_commands_for_the_terminal() {
        let plain = "2023-11-14T22:13:20.123Z  WARN mpserverd::core: it | ended \u{fffd}[31m \
                     worker=w7 code=-9";
        assert_eq!(line(&record(), false), plain);
        assert!(line(&record(), true).contains("\x1b[33m WARN\x1b[0m"));
    }

    #[test]
    fn json_is_one_line_with_fields_by_name() {
        let text = json(&record()).expect("json");
        assert!(!text.contains('\n'), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!((&value["level"], &value["fields"]["worker"]), (&"warn".into(), &"w7".into()));
    }

    #[test]
    fn nobody_reading_is_an_end_not_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let screen = Screen { width: None, colours: false, json: false };
        let report = LogReport { records: vec![record()], after: 7, lost: 0 };
        assert_eq!(print(&mut Closed, &screen, &report), Ok(false));
        let mut kept = Vec::new();
        assert_eq!(print(&mut kept, &screen, &report), Ok(true));
        assert_eq!(kept.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
