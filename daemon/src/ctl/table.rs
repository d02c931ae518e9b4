//! Tables without borders, as `ps` prints them: as wide as the terminal, never wider.

use super::screen::Screen;
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table,
    presets,
};

/// Columns of space between two.
const GAP: u16 = 2;

/// A column: what stands above it, and how much it matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    /// Columns of a higher rank are left out first where there is no room; rank 0 always stays.
    rank: u8,
    right: bool,
}

/// A column of words.
pub(super) const fn words(title: &'static str, rank: u8) -> Column {
    Column { title, rank, right: false }
}

/// A column of numbers.
pub(super) const fn numbers(title: &'static str, rank: u8) -> Column {
    Column { title, rank, right: true }
}

/// What a value says about the health of a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Not yet, or not for long.
    Passing,
    /// Something is wrong.
    Bad,
}

impl Mood {
    fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::Green),
            Self::Passing => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
        }
    }
}

/// A value with its mood.
pub(super) type Value = (String, Mood);

/// A plain value.
pub(super) fn plain(value: impl ToString) -> Value {
    (value.to_string(), Mood::Plain)
}

/// A value, or `-` where there is none.
pub(super) fn optional(value: Option<impl ToString>) -> Value {
    plain(value.map_or_else(|| "-".to_owned(), |value| value.to_string()))
}

/// Renders a table. Rows have a value for each column.
pub(super) fn render(screen: &Screen, columns: &[Column], rows: Vec<Vec<Value>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if screen.colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let header =
        columns.iter().map(|column| Cell::new(column.title).add_attribute(Attribute::Bold));
    table.set_header(header.collect::<Vec<_>>());
    for values in rows {
        let cells = values.into_iter().map(|(text, mood)| {
            // A name with an escape sequence in it must not reach the terminal.
            let text = text.replace(char::is_control, "\u{fffd}");
            match mood.colour() {
                Some(colour) => Cell::new(text).fg(colour),
                None => Cell::new(text),
            }
        });
        table.add_row(Row::from(cells.collect::<Vec<_>>()));
    }
    // A serial line is a terminal of no width, and would be measured again.
    let width = screen.width.unwrap_or(u16::MAX);
    table.set_width(width);
    let shown = what_fits(&table, columns, width);
    let last = shown.iter().rposition(|shown| *shown);
    for (at, column) in columns.iter().enumerate() {
        let Some(laid_out) = table.column_mut(at) else { continue };
        laid_out.set_padding((0, if Some(at) == last { 0 } else { GAP }));
        if column.right {
            laid_out.set_cell_alignment(CellAlignment::Right);
        }
        if !shown[at] {
            laid_out.set_constraint(ColumnConstraint::Hidden);
        }
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

/// Which columns are shown: the least important are left out first, until the rest fits (or only
/// rank 0 is left, whose cells are wrapped then).
fn what_fits(table: &Table, columns: &[Column], width: u16) -> Vec<bool> {
    let widths = table.column_max_content_widths();
    let mut shown = vec![true; columns.len()];
    let mut order: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].rank > 0).collect();
    order.sort_by_key(|at| (columns[*at].rank, *at));
    let fits = |shown: &[bool]| {
        let widths = widths.iter().zip(shown).filter(|(_, shown)| **shown);
        let needed: u32 = widths.map(|(width, _)| u32::from(*width) + u32::from(GAP)).sum();
        needed <= u32::from(width) + u32::from(GAP)
    };
    while !fits(&shown)
        && let Some(at) = order.pop()
    {
        shown[at] = false;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    const COLUMNS: [Column; 4] =
        [words("NAME", 0), numbers("PID", 1), words("STATE", 0), numbers("MEMORY", 2)];

    fn screen(width: Option<u16>) -> Screen {
        Screen { width, colours: false, json: false }
    }

    fn row(name: &str) -> Vec<Value> {
        vec![plain(name), plain(7), ("ready".to_owned(), Mood::Good), plain("1.0M")]
    }

    #[test]
    fn it_looks_like_ps() {
        let text = render(&screen(Some(80)), &COLUMNS, vec![row("default"), row("x")]);
        let expected = "NAME     PID  STATE  MEMORY\n\
                        default    7  ready    1.0M\n\
                        x          7  ready    1.0M\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn columns_go_by_rank() {
        let text = render(&screen(Some(20)), &COLUMNS, vec![row("default")]);
        assert_eq!(text, "NAME     PID  STATE\ndefault    7  ready\n");
        let text = render(&screen(Some(14)), &COLUMNS, vec![row("default")]);
        assert_eq!(text, "NAME     STATE\ndefault  ready\n");
    }

    #[test]
    fn colours_only_where_they_are_welcome() {
        let colourful = Screen { colours: true, ..screen(Some(80)) };
        assert!(render(&colourful, &COLUMNS, vec![row("x")]).contains("\x1b["));
        let hostile = render(&screen(None), &COLUMNS, vec![row("\x1b[31m")]);
        assert!(!hostile.contains('\x1b'), "{hostile}");
    }

    #[test]
    fn a_pipe_gets_everything() {
        let name = "long".repeat(50);
        assert!(render(&screen(None), &COLUMNS, vec![row(&name)]).contains(&name));
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_wide(names in proptest::collection::vec(".{0,120}", 0..4), wide: bool) {
            let width = if wide { 200 } else { 80 };
            let rows = names.iter().map(|name| row(name)).collect();
            let text = render(&screen(Some(width)), &COLUMNS, rows);
            for line in text.lines() {
                assert!(line.width() <= usize::from(width), "{line}");
            }
        }
    }
}
