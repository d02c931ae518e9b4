//! `mpctl status`: the daemon in a few words, its templates in a table.

use super::error::CtlError;
use super::screen::Screen;
use super::table::{Column, Mood, Value, numbers, optional, plain, render, words};
use super::{connect, units};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::report::{StatusReport, TemplateRow, TemplateState};
use std::fmt::Write;
use std::path::Path;

const COLUMNS: [Column; 14] = [
    words("TEMPLATE", 0),
    words("STATE", 0),
    numbers("PID", 3),
    numbers("GEN", 6),
    numbers("SPARES", 1),
    numbers("WORKERS", 1),
    numbers("QUEUED", 2),
    numbers("STARTS", 2),
    numbers("HIT", 4),
    numbers("PRIVATE", 2),
    numbers("RSS", 5),
    numbers("FORK", 3),
    numbers("AGE", 4),
    words("ID", 7),
];

/// `mpctl status`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    match connect::ask(&mut connection, &Request::Status)? {
        Reply::Status(report) => screen.show(&report, || text(&report, screen)),
        other => Err(CtlError::unexpected(&other)),
    }
}

fn text(report: &StatusReport, screen: &Screen) -> String {
    let mut text = String::new();
    for line in headline(report) {
        text += &screen.cut(&line);
        text.push('\n');
    }
    if report.templates.is_empty() {
        return text;
    }
    text.push('\n');
    let rows = report.templates.iter().map(row).collect();
    text += &render(screen, &COLUMNS, rows);
    for template in &report.templates {
        if let Some(error) = &template.error {
            let _ = writeln!(text, "{}", screen.cut(&format!("{}: {error}", template.name)));
        }
    }
    text
}

fn headline(report: &StatusReport) -> [String; 3] {
    let stopping = if report.stopping { ", STOPPING" } else { "" };
    let StatusReport { version, pid, generation, socket, .. } = report;
    let up = units::age(report.uptime_ms);
    [
        format!("mpserverd {version}, pid {pid}, up {up}, generation {generation}{stopping}"),
        format!("{socket}, {}", units::count(report.clients, "client")),
        format!(
            "{} of {} workers run, {} queued; {} so far, {} spare hits, {} refused",
            report.workers,
            report.workers_max,
            report.queued,
            units::count(report.starts, "start"),
            units::percent(report.spare_hits, report.starts),
            report.refused
        ),
    ]
}

/// What a template does, and whether that is good.
pub(super) fn state(state: TemplateState) -> Value {
    match state {
        TemplateState::Loading => ("loading".to_owned(), Mood::Passing),
        TemplateState::Ready => ("ready".to_owned(), Mood::Good),
        TemplateState::Retiring => ("retiring".to_owned(), Mood::Passing),
        TemplateState::Failed => ("failed".to_owned(), Mood::Bad),
    }
}

fn row(template: &TemplateRow) -> Vec<Value> {
    let measured = template.memory.rss_kib > 0;
    let measure = |text: String| optional(measured.then_some(text));
    vec![
        plain(&template.name),
        state(template.state),
        optional(template.pid),
        plain(template.generation),
        plain(format!("{}/{}", template.spares, template.spares_wanted)),
        plain(template.workers),
        plain(template.queued),
        plain(template.starts),
        plain(units::percent(template.spare_hits, template.starts)),
        measure(units::memory(template.memory.private_kib)),
        measure(units::memory(template.memory.rss_kib)),
        measure(units::micros(template.memory.fork_us)),
        plain(units::age(template.age_ms)),
        plain(template.template),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::ids::TemplateId;
    use mpserverd_proto::template::Memory;
    use unicode_width::UnicodeWidthStr;

    fn template(name: &str, state: TemplateState, error: Option<&str>) -> TemplateRow {
        TemplateRow {
            template: TemplateId(3),
            name: name.to_owned(),
            state,
            pid: Some(4_194_304),
            generation: 2,
            spares: 2,
            spares_wanted: 4,
            workers: 1,
            queued: 0,
            starts: 90,
            spare_hits: 60,
            memory: Memory { rss_kib: 8192, private_kib: 4608, huge_kib: 0, fork_us: 85 },
            age_ms: 125_000,
            error: error.map(str::to_owned),
        }
    }

    fn report() -> StatusReport {
        StatusReport {
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_ms: 3_600_000,
            socket: "/run/user/1000/mpserverd/mpserverd.sock".to_owned(),
            generation: 2,
            stopping: false,
            clients: 1,
            workers: 1,
            workers_max: 4096,
            queued: 0,
            starts: 90,
            spare_hits: 60,
            ends: 89,
            refused: 0,
            templates: vec![
                template("default", TemplateState::Ready, None),
                template(&"very-long-name-".repeat(9), TemplateState::Failed, Some("no such file")),
            ],
        }
    }

    #[test]
    fn everything_is_there_where_there_is_room() {
        let screen = Screen { width: Some(300), colours: false, json: false };
        let text = text(&report(), &screen);
        for part in [
            "mpserverd 0.1.0, pid 4711, up 1h00m, generation 2\n",
            "mpserverd.sock, 1 client\n",
            "1 of 4096 workers run, 0 queued; 90 starts so far, 66% spare hits, 0 refused\n",
            "2/4",
            "66%",
            "4.5M",
            "85µs",
            "2m05s",
            "t3",
            ": no such file\n",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn it_fits() {
        for width in [40, 80, 200] {
            let screen = Screen { width: Some(width), colours: false, json: false };
            let text = text(&report(), &screen);
            let widest = text.lines().map(UnicodeWidthStr::width).max();
            assert!(widest <= Some(usize::from(width)), "{width}:\n{text}");
            assert!(text.contains("ready") && text.contains("default"), "{text}");
        }
    }

    #[test]
    fn json_has_stable_names() {
        let value = serde_json::to_value(report()).expect("json");
        assert_eq!(value["templates"][0]["state"], "ready");
        assert_eq!(value["templates"][0]["memory"]["private_kib"], 4608);
        assert_eq!(value["templates"][0]["template"], 3);
        assert_eq!(value["workers_max"], 4096);
    }
}
