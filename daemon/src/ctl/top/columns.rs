//! The columns of both tables, and which of them fit.

use super::model::Model;
use super::sample::Row;
use crate::cli::mpctl::SortKey;
use crate::ctl::table::Mood;
use crate::ctl::units;
use mpserverd_proto::report::{TemplateRow, TemplateState};

/// Columns of space between two.
pub(super) const GAP: u16 = 2;

/// A column of a table of `T`.
pub(super) struct Column<T: ?Sized> {
    pub(super) title: &'static str,
    /// What it is sorted by, and the letter of the title that does so.
    pub(super) sort: Option<(SortKey, char)>,
    width: u16,
    /// It takes what room is left.
    grows: bool,
    /// Columns of a higher rank go first where there is no room.
    rank: u8,
    pub(super) right: bool,
    /// Its end says more than its beginning.
    pub(super) ends: bool,
    pub(super) cell: fn(&T, &Model) -> (String, Mood),
}

const fn words<T>(
    title: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&T, &Model) -> (String, Mood),
) -> Column<T> {
    Column { title, sort: None, width, grows: false, rank, right: false, ends: false, cell }
}

const fn numbers<T>(
    title: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&T, &Model) -> (String, Mood),
) -> Column<T> {
    Column { title, sort: None, width, grows: false, rank, right: true, ends: false, cell }
}

impl<T> Column<T> {
    const fn growing(mut self) -> Self {
        self.grows = true;
        self
    }

    const fn ending(mut self) -> Self {
        self.ends = true;
        self
    }

    const fn by(mut self, key: SortKey, letter: char) -> Self {
        self.sort = Some((key, letter));
        self
    }
}

fn plain(text: impl ToString) -> (String, Mood) {
    (text.to_string(), Mood::Plain)
}

fn maybe(text: Option<impl ToString>) -> (String, Mood) {
    plain(text.map_or_else(|| "-".to_owned(), |text| text.to_string()))
}

/// A rate, as short as it makes sense.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 99.95 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// The columns of templates.
pub(super) const TEMPLATES: [Column<TemplateRow>; 11] = [
    words("TEMPLATE", 10, 0, |row: &TemplateRow, _| plain(&row.name)).growing(),
    words("STATE", 8, 0, |row, _| match row.state {
        TemplateState::Loading => ("loading".into(), Mood::Passing),
        TemplateState::Ready => ("ready".into(), Mood::Good),
        TemplateState::Retiring => ("retiring".into(), Mood::Passing),
        TemplateState::Failed => ("failed".into(), Mood::Bad),
    }),
    numbers("SPARES", 7, 1, |row, _| plain(format!("{}/{}", row.spares, row.spares_wanted))),
    numbers("WORKERS", 7, 0, |row, _| plain(row.workers)),
    numbers("QUEUED", 6, 1, |row, _| {
        (row.queued.to_string(), if row.queued > 0 { Mood::Passing } else { Mood::Plain })
    }),
    numbers("STARTS/S", 8, 2, |row, model| maybe(model.template_rate(row.template).map(rate))),
    numbers("HIT", 4, 3, |row, _| plain(units::percent(row.spare_hits, row.starts))),
    numbers("PRIVATE", 7, 4, |row, _| {
        maybe((row.memory.rss_kib > 0).then(|| units::memory(row.memory.private_kib)))
    }),
    numbers("SHARED", 7, 6, |row, _| {
        let shared = row.memory.rss_kib.saturating_sub(row.memory.private_kib);
        maybe((row.memory.rss_kib > 0).then(|| units::memory(shared)))
    }),
    numbers("GEN", 4, 7, |row, _| plain(row.generation)),
    numbers("AGE", 6, 5, |row, _| plain(units::age(row.age_ms))),
];

/// The columns of workers.
pub(super) const WORKERS: [Column<Row>; 13] = [
    numbers("PID", 7, 0, |row: &Row, _| plain(row.row.pid)).by(SortKey::Pid, 'P'),
    words("TASK", 14, 0, |row: &Row, _| plain(row.what()))
        .growing()
        .ending()
        .by(SortKey::Task, 'T'),
    words("NAME", 10, 5, |row: &Row, _| maybe(row.name.as_ref())).growing(),
    words("TEMPLATE", 10, 3, |row: &Row, _| plain(&row.row.template_name))
        .growing()
        .by(SortKey::Template, 'E'),
    numbers("UID", 6, 4, |row: &Row, _| plain(row.row.uid)).by(SortKey::Uid, 'U'),
    words("S", 1, 1, |row: &Row, _| match row.state {
        Some('R') => ("R".into(), Mood::Good),
        Some(state @ ('T' | 't' | 'D')) => (state.into(), Mood::Passing),
        Some(state @ ('Z' | 'X')) => (state.into(), Mood::Bad),
        state => maybe(state),
    }),
    numbers("AGE", 6, 2, |row: &Row, _| plain(units::age(row.row.age_ms))).by(SortKey::Age, 'A'),
    numbers("CPU%", 5, 1, |row: &Row, _| maybe(row.cpu_percent.map(|cpu| format!("{cpu:.0}"))))
        .by(SortKey::Cpu, 'C'),
    numbers("PRIVATE", 7, 1, |row: &Row, _| {
        maybe(row.memory.map(|own| units::memory(own.private_kib)))
    })
    .by(SortKey::Memory, 'V'),
    numbers("SHARED", 7, 3, |row: &Row, _| {
        maybe(row.memory.map(|own| units::memory(own.shared_kib)))
    })
    .by(SortKey::Shared, 'H'),
    numbers("CLIENT", 7, 5, |row: &Row, _| maybe(row.row.client_pid)).by(SortKey::Client, 'L'),
    numbers("GEN", 4, 6, |row: &Row, _| plain(row.row.generation)),
    words("ID", 18, 7, |row: &Row, _| plain(row.row.worker)).by(SortKey::Id, 'I'),
];

/// Which columns fit, each with its width: the least important are left out first; what room is
/// left goes to those that grow.
pub(super) fn fit<T>(columns: &[Column<T>], width: u16) -> Vec<(&Column<T>, u16)> {
    let mut shown: Vec<_> = columns.iter().map(|column| (column, column.width)).collect();
    let needed = |shown: &[(&Column<T>, u16)]| {
        let widths: u16 = shown.iter().map(|(_, width)| width).sum();
        widths + GAP * u16::try_from(shown.len().saturating_sub(1)).unwrap_or(0)
    };
    while needed(&shown) > width {
        let last = shown.iter().enumerate().max_by_key(|(at, (column, _))| (column.rank, *at));
        match last {
            Some((at, (column, _))) if column.rank > 0 => shown.remove(at),
            Some(_) | None => break,
        };
    }
    let room = width.saturating_sub(needed(&shown));
    let growing = shown.iter().filter(|(column, _)| column.grows).count();
    let share = room / u16::try_from(growing.max(1)).unwrap_or(1);
    let mut rest = room - share * u16::try_from(growing).unwrap_or(0);
    for (column, width) in &mut shown {
        if column.grows {
            // What does not divide goes to the first.
            *width += share + std::mem::take(&mut rest);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(width: u16) -> Vec<&'static str> {
        fit(&WORKERS, width).iter().map(|(column, _)| column.title).collect()
    }

    #[test]
    fn the_least_important_go_first() {
        assert_eq!(titles(200).len(), WORKERS.len());
        let at_80 = ["PID", "TASK", "TEMPLATE", "UID", "S", "AGE", "CPU%", "PRIVATE", "SHARED"];
        assert_eq!(titles(80), at_80);
        assert_eq!(titles(40), ["PID", "TASK", "S", "CPU%"]);
        assert_eq!(titles(10), ["PID", "TASK"]);
    }

    #[test]
    fn the_line_is_used_to_its_end() {
        for width in 50..250 {
            let shown = fit(&WORKERS, width);
            let gaps = GAP * (shown.len() as u16 - 1);
            assert_eq!(shown.iter().map(|(_, width)| width).sum::<u16>() + gaps, width);
        }
    }

    #[test]
    fn every_letter_stands_in_its_title_and_means_one_column() {
        let letters: Vec<_> = WORKERS.iter().filter_map(|c| Some((c.title, c.sort?.1))).collect();
        for (title, letter) in &letters {
            assert!(title.contains(*letter), "{title} {letter}");
            assert_eq!(letters.iter().filter(|(_, other)| other == letter).count(), 1);
        }
    }
}
