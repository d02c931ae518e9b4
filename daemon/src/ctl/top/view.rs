//! A model as cells of a screen.

use super::columns::{self, Column, GAP, TEMPLATES, WORKERS, rate};
use super::model::{Mode, Model};
use crate::cli::mpctl::SortKey;
use crate::ctl::screen::Screen;
use crate::ctl::table::Mood;
use crate::ctl::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// The smallest screen that shows something of use.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;
/// Lines above the tables, and a title for each table.
const HEAD: u16 = 3;

const KEYS: &str = "q quit  ? help  / filter  k kill  s spares  r reverse  SHIFT+letter sort";

const HELP: [&str; 18] = [
    "↑ ↓ PgUp PgDn Home End   select a worker",
    "k                        send it a signal: asks which, then whether",
    "/                        show only workers with a text in one of their columns",
    "Esc                      show all again, select none",
    "s                        show spares too, or no more",
    "SHIFT+letter             sort by the column with that letter underlined:",
    "                         P pid, T task, E template, U uid, A age, C CPU,",
    "                         V private, H shared, L client, I id; again: reverse",
    "< >                      sort by the column to the left or right",
    "r                        the other way round",
    "Space                    look now",
    "Ctrl-Z                   suspend",
    "q Ctrl-C                 quit",
    "",
    "PRIVATE is memory that nobody else has, SHARED what the worker shares with its",
    "template or others; `-` where this user may not look, or nobody has looked yet.",
    "CPU% is of one CPU. Spare hits: starts that a spare was waiting for.",
    "Any key goes back.",
];

/// Lines that a model takes if nothing is to be left out.
pub(super) fn height(model: &Model) -> u16 {
    let templates = model.sample.as_ref().map_or(0, |sample| sample.status.templates.len());
    let lines = usize::from(HEAD) + 3 + templates + 1 + model.rows().len();
    u16::try_from(lines).unwrap_or(u16::MAX).max(HEIGHT_MIN)
}

/// Draws everything.
pub(super) fn draw(model: &mut Model, area: Rect, screen: &mut Buffer, keys: bool) {
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        return too_small(area, screen);
    }
    let mut lines = Lines { screen, area, y: area.y, colours: model.colours };
    head(model, &mut lines);
    if matches!(model.mode, Mode::Help) {
        lines.text("", Style::new());
        for line in HELP {
            lines.text(line, Style::new());
        }
    } else {
        templates(model, &mut lines, keys);
        lines.text("", Style::new());
        workers(model, &mut lines, keys);
    }
    if keys {
        lines.y = area.bottom() - 1;
        foot(model, &mut lines);
    }
}

fn too_small(area: Rect, screen: &mut Buffer) {
    let said = format!(
        "mpctl top needs {WIDTH_MIN}x{HEIGHT_MIN}, this terminal has {}x{}",
        area.width, area.height
    );
    let mut lines = Lines { screen, area, y: area.y, colours: false };
    // In pieces, so that it can be read on the smallest.
    let narrow = Screen { width: Some(area.width), colours: false, json: false };
    for line in narrow.wrap("", &said).lines() {
        lines.text(line.trim_start(), Style::new());
    }
}

/// A screen that is written from top to bottom.
struct Lines<'a> {
    screen: &'a mut Buffer,
    area: Rect,
    y: u16,
    colours: bool,
}

impl Lines<'_> {
    fn left(&self) -> u16 {
        self.area.bottom().saturating_sub(self.y)
    }

    fn text(&mut self, text: &str, style: Style) {
        if self.left() > 0 {
            let text = cut(text, self.area.width);
            self.screen.set_string(self.area.x, self.y, text, style);
            self.y += 1;
        }
    }

    fn mood(&self, mood: Mood) -> Style {
        let colour = match mood {
            _ if !self.colours => return Style::new(),
            Mood::Plain => return Style::new(),
            Mood::Good => Color::Green,
            Mood::Passing => Color::Yellow,
            Mood::Bad => Color::Red,
        };
        Style::new().fg(colour)
    }

    fn titles<T>(&mut self, shown: &[(&Column<T>, u16)], model: &Model, sort: Option<SortKey>) {
        let mut x = self.area.x;
        for (column, width) in shown {
            let title = column.title.width() as u16;
            let at = x + if column.right { width.saturating_sub(title) } else { 0 };
            self.screen.set_string(at, self.y, cut(column.title, *width), bold());
            if column.sort.is_some_and(|(key, _)| Some(key) == sort) {
                // In the gap beside the title: no column needs room for it.
                let beside = if column.right { at.saturating_sub(1) } else { at + title };
                let mark = if model.reverse { "▲" } else { "▼" };
                if beside < self.area.right() {
                    self.screen.set_string(beside, self.y, mark, bold());
                }
            }
            if let Some((_, letter)) = column.sort
                && let Some(offset) = column.title.find(letter)
            {
                let cell = Rect { x: at + offset as u16, y: self.y, width: 1, height: 1 };
                self.screen.set_style(cell.intersection(self.area), underlined());
            }
            x += width + GAP;
        }
        self.y += 1;
    }

    fn row<T>(&mut self, shown: &[(&Column<T>, u16)], row: &T, model: &Model, selected: bool) {
        let mut x = self.area.x;
        for (column, width) in shown {
            let (text, mood) = (column.cell)(row, model);
            let text = if column.ends { cut_front(&text, *width) } else { cut(&text, *width) };
            let at = x + if column.right { width - text.width() as u16 } else { 0 };
            self.screen.set_string(at, self.y, text, self.mood(mood));
            x += width + GAP;
        }
        if selected {
            let line = Rect { y: self.y, height: 1, ..self.area };
            self.screen.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
        }
        self.y += 1;
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn underlined() -> Style {
    Style::new().add_modifier(Modifier::UNDERLINED)
}

/// Cuts what is too wide, with a sign that something is missing, and what could be a command to a
/// terminal.
fn cut(text: &str, width: u16) -> String {
    Screen { width: Some(width), colours: false, json: false }.cut(text)
}

/// The same for a path, of which the end says most: whole parts of it go from the front.
fn cut_front(text: &str, width: u16) -> String {
    if text.width() <= usize::from(width) {
        return cut(text, width);
    }
    let ends = text.match_indices("::").map(|(at, _)| &text[at..]);
    match { ends }.find(|end| end.width() < usize::from(width)) {
        Some(end) => cut(&format!("…{end}"), width),
        None => cut(text.rsplit("::").next().unwrap_or(text), width),
    }
}

/// Three lines about the daemon as a whole.
fn head(model: &Model, lines: &mut Lines<'_>) {
    let Some(sample) = &model.sample else {
        lines.text("looking …", Style::new());
        return lines.y = lines.area.y + HEAD;
    };
    let status = &sample.status;
    let serves = match (status.stopping, status.reload.running_ms, status.upgrade.running_ms) {
        (true, ..) => "STOPPING",
        (false, _, Some(_)) => "upgrading",
        (false, Some(_), None) => "reloading",
        (false, None, None) => "serving",
    };
    let up = units::age(status.uptime_ms);
    lines.text(
        &format!(
            "mpserverd {}, pid {}, up {up}, generation {}, {serves}; every {}",
            status.version,
            status.pid,
            status.generation,
            units::span(model.interval),
        ),
        bold(),
    );
    let (starts, ends, hits) = match &sample.rates {
        None => ("-".to_owned(), "-".to_owned(), String::new()),
        Some(rates) => (
            rate(rates.starts_per_second),
            rate(rates.ends_per_second),
            // Without a start there is nothing to hit.
            rates
                .spare_hit_percent
                .map_or_else(String::new, |hit| format!(", {hit:.0}% spare hits")),
        ),
    };
    lines.text(
        &format!(
            "{starts} starts/s, {ends} ends/s{hits}; {} queued, {} refused so far",
            status.queued, status.refused,
        ),
        Style::new(),
    );
    let spares: u64 = status.templates.iter().map(|row| u64::from(row.spares)).sum();
    lines.text(
        &format!(
            "{} of {} workers, {}, {}; {} so far",
            status.workers,
            status.workers_max,
            units::count(spares, "spare"),
            units::count(status.clients, "client"),
            units::count(status.starts, "start"),
        ),
        Style::new(),
    );
}

/// The table of templates: at most a third of the room, those with most workers first.
fn templates(model: &Model, lines: &mut Lines<'_>, keys: bool) {
    let Some(sample) = &model.sample else { return };
    let shown = columns::fit(&TEMPLATES, lines.area.width);
    lines.y += 1;
    lines.titles(&shown, model, None);
    let all = &sample.status.templates;
    let left = usize::from(lines.left());
    // An empty line, titles, and perhaps the keys.
    let others = model.rows().len() + 2 + usize::from(keys);
    let room = if left >= all.len() + others { all.len() } else { (left / 3).max(1) };
    let mut rows: Vec<_> = all.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.workers), row.template));
    let (fit, more) = match rows.len().checked_sub(room) {
        Some(more) if more > 0 => (room - 1, more + 1),
        Some(_) | None => (rows.len(), 0),
    };
    for row in &rows[..fit] {
        lines.row(&shown, *row, model, false);
    }
    if more > 0 {
        lines.text(&format!("… and {}", units::count(more as u64, "template")), Style::new());
    }
}

fn workers(model: &mut Model, lines: &mut Lines<'_>, keys: bool) {
    let shown = columns::fit(&WORKERS, lines.area.width);
    if lines.left() < 2 {
        return;
    }
    lines.titles(&shown, model, Some(model.sort));
    let page = usize::from(lines.left()).saturating_sub(usize::from(keys));
    model.lay_out(page);
    let rows = model.rows();
    for row in rows.iter().skip(model.top).take(page) {
        lines.row(&shown, *row, model, model.selected == Some(row.row.worker));
    }
    if rows.is_empty() && page > 0 && model.sample.is_some() {
        let why = if model.filter.is_empty() { "no workers" } else { "no workers like that" };
        lines.text(why, Style::new());
    }
}

/// The last line: a prompt, what went wrong, what was done, or the keys.
fn foot(model: &Model, lines: &mut Lines<'_>) {
    let warning = lines.mood(Mood::Bad).add_modifier(Modifier::BOLD);
    match (&model.mode, &model.problem, &model.message) {
        (Mode::Filter, ..) => lines.text(&format!("filter: {}_", model.filter), bold()),
        (Mode::Signal(target, input), ..) => {
            let asked = format!("signal for pid {} ({}) [TERM]: {input}_", target.pid, target.what);
            lines.text(&asked, bold());
        }
        (Mode::Confirm(target, signal), ..) => {
            let asked =
                format!("send signal {signal} to pid {} ({})? y/n", target.pid, target.what);
            lines.text(&asked, warning);
        }
        (_, Some(problem), _) => lines.text(problem, warning),
        (_, _, Some(message)) => lines.text(message, bold()),
        _ if !model.filter.is_empty() => {
            lines.text(&format!("filter: {}  (/ change, Esc none)", model.filter), bold());
        }
        _ => lines.text(KEYS, Style::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_the_end_is_kept() {
        for (width, shown) in [
            (30, "misbehave::tasks::sleep_ms"),
            (18, "…::tasks::sleep_ms"),
            (14, "…::sleep_ms"),
            (9, "sleep_ms"),
            (5, "slee…"),
        ] {
            assert_eq!(cut_front("misbehave::tasks::sleep_ms", width), shown, "{width}");
        }
        assert_eq!(cut_front("a long word alone", 6), "a lon…");
    }
}
