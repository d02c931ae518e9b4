//! Frames, as they were looked at and found good: `snapshots/`. To look at new ones, delete a file
//! and run the test with `WRITE_SNAPSHOTS=1`.

use super::model::{Mode, Model, Target};
use super::sample::{Rates, Row, Sample};
use super::{text, view};
use crate::cli::mpctl::SortKey;
use crate::cli::parsers::SignalNumber;
use crate::ctl::proc::Owned;
use mpserverd_proto::ids::{TemplateId, WorkerId};
use mpserverd_proto::report::{ProcessRow, StatusReport, TemplateRow, TemplateState};
use mpserverd_proto::template::Memory;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

fn template(number: u64) -> TemplateRow {
    TemplateRow {
        template: TemplateId(number),
        name: if number == 1 { "default".into() } else { format!("images-{number}") },
        state: if number == 3 { TemplateState::Failed } else { TemplateState::Ready },
        pid: Some(3000 + number as u32),
        generation: 2,
        spares: 2,
        spares_wanted: 4,
        workers: u32::from(number == 2) * 3,
        queued: u64::from(number == 3),
        starts: 90,
        spare_hits: 60,
        memory: Memory { rss_kib: 8192, private_kib: 4608, huge_kib: 0, fork_us: 85 },
        age_ms: 125_000,
        error: None,
    }
}

pub(super) fn status(templates: u64) -> StatusReport {
    StatusReport {
        version: "0.1.0".into(),
        pid: 2900,
        uptime_ms: 3_600_000,
        socket: "/run/mpserverd/mpserverd.sock".into(),
        generation: 2,
        clients: 3,
        workers: 3,
        workers_max: 4096,
        queued: 1,
        starts: 1234,
        spare_hits: 1200,
        ends: 1231,
        refused: 2,
        templates: (1..=templates).map(template).collect(),
        ..StatusReport::default()
    }
}

pub(super) fn row(number: u64, task: Option<&str>) -> ProcessRow {
    ProcessRow {
        worker: WorkerId(number),
        pid: 4000 + number as u32,
        template: TemplateId(2),
        template_name: "images-2".into(),
        age_ms: 61_000 * number,
        client_pid: Some(777),
        generation: 2,
        uid: 1000,
        task: task.map(str::to_owned),
        ..ProcessRow::default()
    }
}

pub(super) fn row_with(number: u64, pid: u32) -> Row {
    let row = ProcessRow { pid, ..row(number, None) };
    Row { row, name: None, state: Some('S'), cpu_percent: None, memory: None }
}

/// Three workers of one template.
pub(super) fn model() -> Model {
    let own = |private_kib| Some(Owned { private_kib, shared_kib: 81_920 });
    let known = |row, name: &str, state, cpu, memory| Row {
        row,
        name: Some(name.to_owned()),
        state: Some(state),
        cpu_percent: Some(cpu),
        memory,
    };
    let workers = vec![
        known(row(1, Some("thumbs::resize")), "Process-1:1", 'R', 97.4, own(900)),
        known(row(2, Some("thumbs::shrink")), "Process-1:2", 'S', 0.0, own(1_200_000)),
        known(row(3, None), "nightly \x1b[31mreport", 'T', 3.5, None),
    ];
    let rates =
        Rates { starts_per_second: 12.3, ends_per_second: 1250.0, spare_hit_percent: Some(98.4) };
    let template_rates = HashMap::from([(TemplateId(2), 12.3)]);
    let status = status(3);
    let sample = Sample { status, rates: Some(rates), template_rates, workers, total: 9 };
    let mut model = Model::new(SortKey::Cpu, String::new(), Duration::from_secs(1));
    model.take(Ok(sample));
    model
}

/// A frame on a terminal of this size.
fn draw(model: &mut Model, width: u16, height: u16) -> (String, Terminal<TestBackend>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("terminal");
    let drawn = terminal.draw(|frame| view::draw(model, frame.area(), frame.buffer_mut(), true));
    drawn.expect("a frame");
    (text::lines(terminal.backend().buffer()), terminal)
}

fn compare(name: &str, frame: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ctl/top/snapshots");
    let path = folder.join(name).with_extension("txt");
    if std::env::var_os("WRITE_SNAPSHOTS").is_some() && !path.exists() {
        std::fs::write(&path, frame).expect("snapshot");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(frame, expected, "{name}:\n{frame}");
}

#[test]
fn frames_look_as_they_did() {
    for (width, height) in [(80, 24), (120, 40), (40, 10)] {
        let (frame, _) = draw(&mut model(), width, height);
        assert!(frame.lines().all(|line| line.width() <= usize::from(width)), "{frame}");
        compare(&format!("browse-{width}x{height}"), &frame);
    }
    let mut help = model();
    help.mode = Mode::Help;
    compare("help-80x24", &draw(&mut help, 80, 24).0);
    let mut kill = model();
    let target = Target { worker: WorkerId(1), pid: 4001, what: "thumbs::resize".into() };
    kill.selected = Some(WorkerId(1));
    kill.mode = Mode::Confirm(target, SignalNumber(9));
    compare("confirm-80x24", &draw(&mut kill, 80, 24).0);
}

#[test]
fn one_frame_without_a_terminal() {
    compare("once-120", &text::frame(&mut model(), 120));
}

#[test]
fn a_screen_that_is_too_small_says_so() {
    let (frame, _) = draw(&mut model(), 30, 8);
    assert_eq!(frame, "mpctl top needs 40x10, this\nterminal has 30x8\n");
    for (width, height) in [(1, 1), (40, 9), (39, 10)] {
        draw(&mut model(), width, height);
    }
}

#[test]
fn no_size_is_too_odd() {
    for workers in [0, 1, 50] {
        for templates in [0, 1, 30] {
            let mut model = model();
            let sample = model.sample.as_mut().expect("a sample");
            sample.workers = (1..=workers).map(|n| row_with(n, n as u32)).collect();
            sample.status = status(templates);
            for width in (1..140).step_by(7) {
                for height in 1..45 {
                    draw(&mut model, width, height);
                }
            }
        }
    }
}

#[test]
fn colours_only_where_they_are_welcome() {
    let colours = |model: &mut Model| {
        let (_, terminal) = draw(model, 80, 24);
        let cells = terminal.backend().buffer().content().to_vec();
        cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert_eq!(colours(&mut model()), 0);
    let mut colourful = model();
    colourful.colours = true;
    assert!(colours(&mut colourful) > 0);
}

#[test]
fn before_the_first_look_and_without_a_daemon() {
    let mut model = Model::new(SortKey::Cpu, String::new(), Duration::from_secs(1));
    assert!(draw(&mut model, 80, 24).0.starts_with("looking …"));
    model.take(Err("no mpserverd answers".into()));
    assert!(draw(&mut model, 80, 24).0.ends_with("no mpserverd answers\n"));
}
