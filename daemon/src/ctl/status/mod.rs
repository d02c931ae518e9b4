//! `mpctl status`: the daemon in a few words, its templates and what of its limits is used in
//! tables. What it says of reloads, upgrades, limits and penalties stands in `notes.rs`.

mod notes;
#[cfg(test)]
mod tests;

use super::error::CtlError;
use super::screen::Screen;
use super::table::{Column, Mood, Value, numbers, optional, plain, render, words};
use super::{connect, units};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::quota::QuotaRow;
use mpserverd_proto::report::{StatusReport, TemplateRow, TemplateState};
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

/// Limits of many workers together.
const QUOTAS: [Column; 5] =
    [words("LIMIT", 0), words("OF", 0), numbers("USED", 0), numbers("MAX", 0), words("SET IN", 1)];

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
    for line in notes::lines(report) {
        text += &screen.wrap("", &line);
    }
    if !report.templates.is_empty() {
        text.push('\n');
        text += &render(screen, &COLUMNS, report.templates.iter().map(row).collect());
    }
    for template in &report.templates {
        if let Some(error) = &template.error {
            text += &screen.wrap(&format!("{}: ", template.name), error);
        }
    }
    if !report.quotas.is_empty() {
        text.push('\n');
        text += &render(screen, &QUOTAS, report.quotas.iter().map(quota).collect());
    }
    text
}

fn headline(report: &StatusReport) -> [String; 3] {
    let stopping = if report.stopping { ", STOPPING" } else { "" };
    let StatusReport { version, pid, generation, socket, .. } = report;
    let up = units::age(report.uptime_ms);
    let hits = match report.starts {
        0 => String::new(),
        starts => format!(", {} spare hits", units::percent(report.spare_hits, starts)),
    };
    [
        format!("mpserverd {version}, pid {pid}, up {up}, generation {generation}{stopping}"),
        format!("{socket}, {}", units::count(report.clients, "client")),
        format!(
            "{} of {} workers run, {} queued; {} so far{hits}, {} refused",
            report.workers,
            report.workers_max,
            report.queued,
            units::count(report.starts, "start"),
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

fn quota(row: &QuotaRow) -> Vec<Value> {
    let mood = match row.used {
        used if used >= row.max => Mood::Bad,
        used if used.saturating_mul(10) >= row.max.saturating_mul(9) => Mood::Passing,
        _ => Mood::Plain,
    };
    vec![
        plain(&row.limit),
        plain(&row.scope),
        (row.used.to_string(), mood),
        plain(row.max),
        plain(&row.set_in),
    ]
}
