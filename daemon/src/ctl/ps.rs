//! `mpctl ps`: the workers, as the daemon and the kernel see them.

use super::error::CtlError;
use super::proc::{self, Seen};
use super::screen::Screen;
use super::table::{Column, Mood, Value, numbers, optional, plain, render, words};
use super::{connect, units};
use crate::cli::mpctl::Ps;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::report::{ProcessRow, ProcessesReport};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

const COLUMNS: [Column; 11] = [
    words("ID", 1),
    numbers("PID", 0),
    words("NAME", 0),
    words("TEMPLATE", 2),
    words("STATE", 0),
    numbers("AGE", 1),
    numbers("CPU", 2),
    numbers("RSS", 3),
    numbers("ANON", 3),
    numbers("CLIENT", 4),
    numbers("GEN", 5),
];

/// A row of the report, with what the kernel says.
#[derive(Debug, Serialize)]
struct Worker<'a> {
    #[serde(flatten)]
    row: &'a ProcessRow,
    /// `null` if it is gone by now, or not visible from here.
    process: Option<Seen>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    workers: Vec<Worker<'a>>,
    left_out: u64,
}

/// `mpctl ps`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen, options: &Ps) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    match connect::ask(&mut connection, &Request::Processes)? {
        Reply::Processes(report) => {
            let report = enrich(&report, options.all, proc::look);
            screen.show(&report, || text(&report, screen))
        }
        other => Err(CtlError::unexpected(&other)),
    }
}

fn enrich(report: &ProcessesReport, all: bool, look: impl Fn(u32) -> Option<Seen>) -> Report<'_> {
    let wanted = report.rows.iter().filter(|row| all || !row.spare);
    let workers = wanted.map(|row| Worker { row, process: look(row.pid) }).collect();
    Report { workers, left_out: report.left_out }
}

fn text(report: &Report<'_>, screen: &Screen) -> String {
    let mut text = render(screen, &COLUMNS, report.workers.iter().map(cells).collect());
    if report.left_out > 0 {
        let _ = writeln!(text, "… and {} more", report.left_out);
    }
    text
}

fn cells(worker: &Worker<'_>) -> Vec<Value> {
    let Worker { row, process } = worker;
    let seen = process.as_ref();
    vec![
        plain(row.worker),
        plain(row.pid),
        optional(seen.map(|seen| &seen.name)),
        plain(&row.template_name),
        state(row, seen),
        plain(units::age(row.age_ms)),
        optional(seen.map(|seen| units::micros(seen.cpu_ms * 1000))),
        optional(seen.map(|seen| units::memory(seen.rss_kib))),
        optional(seen.map(|seen| units::memory(seen.anonymous_kib))),
        optional(row.client_pid),
        plain(row.generation),
    ]
}

fn state(row: &ProcessRow, seen: Option<&Seen>) -> Value {
    let (word, mood) = match seen.map(|seen| seen.state) {
        _ if row.spare => ("spare", Mood::Plain),
        Some('R') => ("running", Mood::Good),
        Some('S' | 'I') => ("sleeping", Mood::Plain),
        Some('D') => ("in the kernel", Mood::Passing),
        Some('T' | 't') => ("stopped", Mood::Passing),
        Some('Z' | 'X') => ("ended", Mood::Bad),
        Some(_) | None => ("-", Mood::Plain),
    };
    (word.to_owned(), mood)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::ids::{TemplateId, WorkerId};
    use unicode_width::UnicodeWidthStr;

    fn report() -> ProcessesReport {
        let row = |worker: u64, spare| ProcessRow {
            worker: WorkerId(worker),
            pid: 100 + worker as u32,
            template: TemplateId(1),
            template_name: "thumbs ".repeat(10),
            spare,
            age_ms: 61_000,
            client_pid: (!spare).then_some(7),
            generation: 1,
        };
        ProcessesReport { rows: vec![row(1, false), row(2, true)], left_out: 3 }
    }

    fn seen(pid: u32) -> Option<Seen> {
        let name = "Process-1:2".to_owned();
        let found = Seen { name, state: 'R', cpu_ms: 1500, rss_kib: 4096, anonymous_kib: 10 };
        (pid == 101).then_some(found)
    }

    #[test]
    fn spares_only_if_asked_for() {
        let report = report();
        assert_eq!(enrich(&report, false, seen).workers.len(), 1);
        assert_eq!(enrich(&report, true, seen).workers.len(), 2);
    }

    #[test]
    fn it_fits() {
        let report = report();
        for width in [80, 200] {
            let screen = Screen { width: Some(width), colours: false, json: false };
            let text = text(&enrich(&report, true, seen), &screen);
            assert!(text.lines().all(|line| line.width() <= usize::from(width)), "{text}");
            for part in ["Process-1:2", "running", "spare", "1m01s", "… and 3 more"] {
                assert!(text.contains(part), "{part}:\n{text}");
            }
        }
    }

    #[test]
    fn json_has_stable_names() {
        let report = report();
        let value = serde_json::to_value(enrich(&report, true, seen)).expect("json");
        assert_eq!(value["workers"][0]["process"]["cpu_ms"], 1500);
        assert_eq!(value["workers"][0]["pid"], 101);
        assert_eq!(value["workers"][1]["process"], serde_json::Value::Null);
        assert_eq!(value["left_out"], 3);
    }
}
