//! `mpctl ps`: the workers, as the daemon and the kernel see them.

use super::error::CtlError;
use super::proc::{self, Owned, Seen};
use super::screen::Screen;
use super::table::{Column, Mood, Value, numbers, optional, plain, render, words};
use super::{connect, units};
use crate::cli::mpctl::{Ps, SortKey};
use mpserverd_proto::report::{ProcessFilter, ProcessRow};
use serde::Serialize;
use std::cmp::{Ordering, Reverse};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time for measuring memory, all workers together; those that come later are not measured.
const MEASURING: Duration = Duration::from_millis(250);

const COLUMNS: [Column; 15] = [
    words("ID", 1),
    numbers("PID", 0),
    words("NAME", 2),
    words("TASK", 0),
    words("TEMPLATE", 2),
    numbers("UID", 2),
    words("STATE", 0),
    numbers("AGE", 1),
    numbers("CPU", 2),
    numbers("PRIVATE", 3),
    numbers("RSS", 3),
    numbers("ANON", 6),
    numbers("CLIENT", 4),
    numbers("GEN", 5),
    words("TRACE", 7),
];

/// A row of the report, with what the kernel says.
#[derive(Debug, Serialize)]
struct Worker {
    #[serde(flatten)]
    row: ProcessRow,
    /// `null` if it is gone by now, or not visible from here.
    process: Option<Seen>,
    /// `null` where this user may not look, or there was no time to.
    memory: Option<Owned>,
}

#[derive(Debug, Serialize)]
struct Report {
    workers: Vec<Worker>,
    /// Workers of the daemon, spares included, whatever was asked for.
    total: u64,
}

/// `mpctl ps`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen, options: &Ps) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    let filter = ProcessFilter {
        spares: options.all,
        uid: options.uid,
        template: options.template.clone(),
        task: options.task.clone(),
        client: options.client,
    };
    let limit = options.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    // In their natural order the first ones are known without the rest.
    let natural = options.sort == SortKey::Id && !options.reverse;
    let most = if natural { limit } else { usize::MAX };
    let found = connect::processes(&mut connection, &filter, most)?;
    let until = Instant::now() + MEASURING;
    let measure = |pid| if Instant::now() < until { proc::memory(pid) } else { None };
    let mut workers = enrich(found.rows, proc::look, measure);
    sort(&mut workers, options.sort, options.reverse);
    let more = found.cut || workers.len() > limit;
    workers.truncate(limit);
    let report = Report { workers, total: found.total };
    let like = if filter == ProcessFilter::default() { "" } else { " like that" };
    screen.show(&report, || text(&report, more, like, screen))
}

fn enrich(
    rows: Vec<ProcessRow>,
    look: impl Fn(u32) -> Option<Seen>,
    measure: impl Fn(u32) -> Option<Owned>,
) -> Vec<Worker> {
    let worker = |row: ProcessRow| {
        let (process, memory) = (look(row.pid), measure(row.pid));
        Worker { row, process, memory }
    };
    rows.into_iter().map(worker).collect()
}

/// Sorts: numbers and times with the largest first, all else as people expect it.
fn sort(workers: &mut [Worker], key: SortKey, reverse: bool) {
    let cpu = |worker: &Worker| worker.process.as_ref().map(|seen| seen.cpu_ms);
    let order = |a: &Worker, b: &Worker| -> Ordering {
        match key {
            SortKey::Id => a.row.worker.cmp(&b.row.worker),
            SortKey::Pid => a.row.pid.cmp(&b.row.pid),
            SortKey::Uid => a.row.uid.cmp(&b.row.uid),
            // Those without come last.
            SortKey::Task => {
                (a.row.task.is_none(), &a.row.task).cmp(&(b.row.task.is_none(), &b.row.task))
            }
            SortKey::Template => a.row.template_name.cmp(&b.row.template_name),
            SortKey::Client => a.row.client_pid.cmp(&b.row.client_pid),
            SortKey::Age => Reverse(a.row.age_ms).cmp(&Reverse(b.row.age_ms)),
            SortKey::Cpu => Reverse(cpu(a)).cmp(&Reverse(cpu(b))),
            SortKey::Memory => Reverse(a.memory.map(|own| own.private_kib))
                .cmp(&Reverse(b.memory.map(|own| own.private_kib))),
            SortKey::Shared => Reverse(a.memory.map(|own| own.shared_kib))
                .cmp(&Reverse(b.memory.map(|own| own.shared_kib))),
        }
    };
    workers.sort_by(|a, b| if reverse { order(b, a) } else { order(a, b) });
}

fn text(report: &Report, more: bool, like: &str, screen: &Screen) -> String {
    let mut text = render(screen, &COLUMNS, report.workers.iter().map(cells).collect());
    if report.workers.is_empty() {
        let spares = "spares included: `--all` lists them";
        let _ = writeln!(text, "no workers{like}; there are {} in all, {spares}", report.total);
    }
    if more {
        let _ = writeln!(text, "… and more; there are {} in all", report.total);
    }
    text
}

fn cells(worker: &Worker) -> Vec<Value> {
    let Worker { row, process, memory } = worker;
    let seen = process.as_ref();
    vec![
        plain(row.worker),
        plain(row.pid),
        optional(seen.map(|seen| &seen.name)),
        optional(row.task.as_ref()),
        plain(&row.template_name),
        plain(row.uid),
        state(row, seen),
        plain(units::age(row.age_ms)),
        optional(seen.map(|seen| units::cpu(seen.cpu_ms))),
        optional(memory.map(|own| units::memory(own.private_kib))),
        optional(seen.map(|seen| units::memory(seen.rss_kib))),
        optional(seen.map(|seen| units::memory(seen.anonymous_kib))),
        optional(row.client_pid),
        plain(row.generation),
        optional(row.trace),
    ]
}

/// What a worker does, and whether that is good.
pub(super) fn state(row: &ProcessRow, seen: Option<&Seen>) -> Value {
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

    fn row(worker: u64, spare: bool) -> ProcessRow {
        ProcessRow {
            worker: WorkerId(worker),
            pid: 100 + worker as u32,
            template: TemplateId(1),
            template_name: "thumbs ".repeat(10),
            spare,
            age_ms: 61_000 + worker,
            client_pid: (!spare).then_some(7),
            generation: 1,
            uid: 1000,
            task: (worker == 1).then(|| "thumbs::resize".to_owned()),
            trace: None,
        }
    }

    fn seen(pid: u32) -> Option<Seen> {
        let name = "Process-1:2".to_owned();
        let found = Seen { name, state: 'R', cpu_ms: 1500, rss_kib: 4096, anonymous_kib: 10 };
        (pid == 101).then_some(found)
    }

    fn measured(pid: u32) -> Option<Owned> {
        (pid == 101).then_some(Owned { private_kib: 280, shared_kib: 700 })
    }

    fn report() -> Report {
        let workers = enrich(vec![row(1, false), row(2, true), row(3, false)], seen, measured);
        Report { workers, total: 9 }
    }

    #[test]
    fn it_fits() {
        let report = report();
        for width in [80, 200] {
            let screen = Screen { width: Some(width), colours: false, json: false };
            let text = text(&report, true, "", &screen);
            assert!(text.lines().all(|line| line.width() <= usize::from(width)), "{text}");
            for part in ["thumbs::resize", "running", "spare", "1m01s", "… and more; there are 9"]
            {
                assert!(text.contains(part), "{part}:\n{text}");
            }
        }
    }

    #[test]
    fn it_is_sorted_as_people_expect() {
        let mut workers = report().workers;
        let mut order = |key, reverse| {
            sort(&mut workers, key, reverse);
            workers.iter().map(|worker| worker.row.worker.0).collect::<Vec<_>>()
        };
        assert_eq!(order(SortKey::Age, false), [3, 2, 1], "the oldest first");
        assert_eq!(order(SortKey::Id, true), [3, 2, 1]);
        assert_eq!(order(SortKey::Id, false), [1, 2, 3]);
        assert_eq!(order(SortKey::Memory, false)[0], 1, "the largest first, unknown ones last");
        assert_eq!(order(SortKey::Task, false)[0], 1, "those without a task last");
        assert_eq!(order(SortKey::Cpu, true)[2], 1);
    }
}
