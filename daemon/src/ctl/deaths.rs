//! `mpctl deaths`: why workers ended, the latest last.

use super::error::CtlError;
use super::screen::Screen;
use super::table::{Column, Mood, Value, numbers, optional, plain, render, words};
use super::{connect, units};
use crate::cli::mpctl::Deaths;
use crate::cli::pages;
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request, WorkerRef};
use mpserverd_proto::death::{Cause, Certificate, Death, DeathsQuery, DeathsReport};
use mpserverd_proto::status::ExitRecord;
use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How often `--follow` asks.
const PERIOD: Duration = Duration::from_millis(500);

const COLUMNS: [Column; 10] = [
    numbers("ENDED", 2),
    words("ID", 0),
    numbers("PID", 3),
    words("TASK", 0),
    words("CAUSE", 0),
    words("END", 1),
    numbers("LIVED", 4),
    words("TEMPLATE", 5),
    numbers("CLIENT", 6),
    numbers("GEN", 7),
];

/// A certificate for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    number: u64,
    worker: u64,
    pid: u32,
    uid: u32,
    template: u64,
    template_name: &'a str,
    generation: u32,
    task: Option<&'a str>,
    trace: Option<String>,
    client_pid: Option<u32>,
    ended_ms: u64,
    lived_ms: u64,
    code: i32,
    core_dumped: bool,
    /// One word.
    cause: &'static str,
    /// Who, if it was an operator.
    operator: Option<serde_json::Value>,
    user_us: u64,
    system_us: u64,
    peak_rss_kib: u64,
    peak_private_kib: Option<u64>,
    stderr: &'a [String],
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    deaths: Vec<Row<'a>>,
    left_out: u64,
    forgotten: u64,
}

fn row(death: &Death) -> Row<'_> {
    let Death { number, certificate: c } = death;
    let operator = match c.cause {
        Cause::Operator { uid, pid } => Some(json!({ "uid": uid, "pid": pid })),
        _ => None,
    };
    Row {
        number: *number,
        worker: c.worker.0,
        pid: c.pid,
        uid: c.uid,
        template: c.template.0,
        template_name: &c.template_name,
        generation: c.generation,
        task: c.task.as_deref(),
        trace: c.trace.map(|trace| trace.to_string()),
        client_pid: c.client_pid,
        ended_ms: c.ended_ms,
        lived_ms: c.lived_ms,
        code: c.record.code,
        core_dumped: c.record.core,
        cause: c.cause.key(),
        operator,
        user_us: c.record.usage.user_us,
        system_us: c.record.usage.system_us,
        peak_rss_kib: c.record.usage.peak_rss_kib,
        peak_private_kib: c.peak_private_kib,
        stderr: &c.stderr,
    }
}

/// `mpctl deaths`.
pub(super) fn main(
    socket: Option<&Path>,
    screen: &Screen,
    options: &Deaths,
) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    let worker = options.worker.map(|worker| find(&mut connection, worker)).transpose()?;
    let worker = worker.as_ref().map(|death| death.certificate.worker);
    let cause = options.cause.clone();
    let query = DeathsQuery { after: 0, limit: options.limit, worker, cause };
    if options.follow {
        return follow(&mut connection, screen, query);
    }
    let report = ask(&mut connection, query)?;
    let deaths = report.rows.iter().map(row).collect();
    let document = Report { deaths, left_out: report.left_out, forgotten: report.forgotten };
    let now = epoch_ms();
    screen.show(&document, || match (worker, report.rows.as_slice()) {
        (Some(_), [death]) => details(&death.certificate, now),
        _ => text(&report, screen, now),
    })
}

fn ask(connection: &mut Connection, query: DeathsQuery) -> Result<DeathsReport, CtlError> {
    match connect::ask(connection, &Request::Deaths(query))? {
        Reply::Deaths(report) => Ok(report),
        other => Err(CtlError::unexpected(&other)),
    }
}

/// The latest death of that worker, or of one with that pid.
fn find(connection: &mut Connection, worker: WorkerRef) -> Result<Death, CtlError> {
    let id = match worker {
        WorkerRef::Id(id) => Some(id),
        WorkerRef::Pid(_) => None,
    };
    let query = DeathsQuery { after: 0, limit: u32::MAX, worker: id, cause: None };
    let is_meant = |death: &Death| match worker {
        WorkerRef::Id(id) => death.certificate.worker == id,
        WorkerRef::Pid(pid) => death.certificate.pid == pid,
    };
    ask(connection, query)?.rows.into_iter().rfind(is_meant).ok_or_else(|| {
        let name = match worker {
            WorkerRef::Id(id) => id.to_string(),
            WorkerRef::Pid(pid) => format!("pid {pid}"),
        };
        CtlError::system(format!(
            "there is no certificate of {name}: it lives, it was another user's, or too many have \
             died since (`deaths_kept`)"
        ))
    })
}

/// One line for each death as it comes, until somebody interrupts.
fn follow(
    connection: &mut Connection,
    screen: &Screen,
    mut query: DeathsQuery,
) -> Result<u8, CtlError> {
    loop {
        let report = ask(connection, query.clone())?;
        let mut lines = String::new();
        for death in &report.rows {
            if screen.json {
                let line = serde_json::to_string(&row(death));
                lines += &line.map_err(|error| CtlError::system(error.to_string()))?;
            } else {
                lines += &screen.cut(&headline(&death.certificate));
            }
            lines.push('\n');
        }
        // Nobody reads any more, or the system refused, which it has said itself.
        if pages::print(lines.as_bytes()) != std::process::ExitCode::SUCCESS {
            return Ok(crate::cli::EXIT_SYSTEM);
        }
        query.after = report.last;
        query.limit = u32::MAX;
        std::thread::sleep(PERIOD);
    }
}

fn epoch_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

fn text(report: &DeathsReport, screen: &Screen, now: u64) -> String {
    let rows = report.rows.iter().map(|death| cells(&death.certificate, now)).collect();
    let mut text = render(screen, &COLUMNS, rows);
    if report.left_out > 0 {
        let _ = writeln!(text, "… and {} before them (see --limit)", report.left_out);
    }
    text
}

fn cells(c: &Certificate, now: u64) -> Vec<Value> {
    let mood = match c.cause {
        Cause::Itself if c.record.code == 0 => Mood::Plain,
        Cause::Operator { .. } | Cause::Client | Cause::ClientGone | Cause::DaemonStop => {
            Mood::Passing
        }
        _ => Mood::Bad,
    };
    vec![
        plain(units::age(now.saturating_sub(c.ended_ms))),
        plain(c.worker),
        plain(c.pid),
        optional(c.task.as_ref()),
        (c.cause.key().to_owned(), mood),
        plain(end(&c.record)),
        plain(units::age(c.lived_ms)),
        plain(&c.template_name),
        optional(c.client_pid),
        plain(c.generation),
    ]
}

/// How a process ended, in a word or two.
fn end(record: &ExitRecord) -> String {
    match record.signal() {
        None => format!("exit {}", record.code),
        Some(signal) => match Signal::try_from(signal) {
            Ok(name) => name.as_str().to_owned(),
            Err(_) => format!("signal {signal}"),
        },
    }
}

fn headline(c: &Certificate) -> String {
    let how = match c.record.signal() {
        None => format!("exited with code {}", c.record.code),
        Some(signal) => format!("was killed by signal {signal} ({})", end(&c.record)),
    };
    let why = c.cause.in_words().map(|words| format!(": {words}")).unwrap_or_default();
    let task = c.task.as_ref().map(|task| format!(" in {task}")).unwrap_or_default();
    format!("{} (pid {}) {how}{task}{why}", c.worker, c.pid)
}

/// All that is known of one death.
fn details(c: &Certificate, now: u64) -> String {
    let mut text = headline(c) + "\n";
    let mut line = |name: &str, value: String| {
        let value = value.replace(char::is_control, "\u{fffd}");
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    line("cause", c.cause.to_string());
    line("task", or_none(c.task.clone()));
    line("trace", or_none(c.trace.map(|trace| trace.to_string())));
    let (template, generation) = (c.template, c.generation);
    line("template", format!("{} ({template}), generation {generation}", c.template_name));
    let client = or_none(c.client_pid.map(|pid| pid.to_string()));
    line("user", format!("{}, client {client}", c.uid));
    let ended = units::age(now.saturating_sub(c.ended_ms));
    line("lived", format!("{}, ended {ended} ago", units::age(c.lived_ms)));
    let usage = c.record.usage;
    let private = or_none(c.peak_private_kib.map(units::memory));
    line(
        "used",
        format!(
            "{} user, {} system; peak memory {private} private, {} resident (that of its template \
             included); {} page faults",
            units::micros(usage.user_us),
            units::micros(usage.system_us),
            units::memory(usage.peak_rss_kib),
            usage.minor_faults
        ),
    );
    if c.record.core {
        line("core", "dumped".to_owned());
    }
    match c.stderr.as_slice() {
        [] => {
            let text = "went where its client sent it, not through the daemon (`catch_stderr`)";
            line("stderr", text.to_owned());
        }
        lines => lines.iter().for_each(|written| line("stderr", written.clone())),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::ids::{TemplateId, WorkerId};
    use mpserverd_proto::status::{Reporter, Usage};
    use mpserverd_proto::trace::TraceId;
    use unicode_width::UnicodeWidthStr;

    fn certificate(cause: Cause, code: i32) -> Certificate {
        let (usage, reporter) = (Usage::default(), Reporter::Template);
        Certificate {
            worker: WorkerId(1_811_212_345_678_901),
            pid: 4711,
            uid: 1000,
            template: TemplateId(3),
            template_name: "thumbs ".repeat(10),
            generation: 2,
            task: Some("thumbs::resize".into()),
            trace: Some(TraceId(7)),
            client_pid: Some(12),
            ended_ms: 5_000,
            lived_ms: 61_000,
            record: ExitRecord { code, core: false, usage, reporter, out_of_cpu: false },
            cause,
            peak_private_kib: Some(2048),
            stderr: Vec::new(),
        }
    }

    fn report() -> DeathsReport {
        let killed = certificate(Cause::Operator { uid: 0, pid: 99 }, -9);
        let rows = vec![
            Death { number: 4, certificate: killed },
            Death { number: 5, certificate: certificate(Cause::Itself, 3) },
        ];
        DeathsReport { rows, left_out: 2, last: 5, forgotten: 1 }
    }

    #[test]
    fn the_table_fits() {
        for width in [80, 200] {
            let screen = Screen { width: Some(width), colours: false, json: false };
            let text = text(&report(), &screen, 8_000);
            assert!(text.lines().all(|line| line.width() <= usize::from(width)), "{text}");
            for part in ["operator", "SIGKILL", "exit 3", "thumbs::resize", "… and 2 before"] {
                assert!(text.contains(part), "{part}:\n{text}");
            }
        }
    }

    #[test]
    fn details_tell_the_whole_story() {
        let mut certificate = certificate(Cause::Operator { uid: 0, pid: 99 }, -9);
        let text = details(&certificate, 8_000);
        for part in [
            "was killed by signal 9 (SIGKILL) in thumbs::resize: an operator (uid 0, pid 99)",
            "00000000000000000000000000000007",
            "generation 2",
            "ended 3s ago",
            "2.0M private",
            "where its client sent it",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        certificate.stderr = vec!["it \x1b[31mhurts".into()];
        let text = details(&certificate, 8_000);
        assert!(text.contains("it \u{fffd}[31mhurts") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn json_has_stable_names() {
        let report = report();
        let value = serde_json::to_value(row(&report.rows[0])).expect("json");
        assert_eq!((&value["cause"], &value["code"]), (&json!("operator"), &json!(-9)));
        assert_eq!(value["operator"], json!({ "uid": 0, "pid": 99 }));
        assert_eq!(value["trace"], "00000000000000000000000000000007");
        assert_eq!(value["stderr"], json!([]));
    }
}
