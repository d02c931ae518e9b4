//! Tables, ratios, goals.

use super::operation::Unit;
pub(crate) use mpserverd_tests::columns::columns;

/// Who and what.
type Column = [&'static str; 2];

/// An operation that was measured.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// Nanoseconds of one operation in each round, by column; ours is the first.
    pub(crate) cells: Vec<(Column, Vec<f64>)>,
}

impl Row {
    fn quartile(&self, column: Column, quarters: usize) -> Option<f64> {
        let (_, samples) = self.cells.iter().find(|(known, _)| *known == column)?;
        let mut samples = samples.clone();
        samples.sort_unstable_by(f64::total_cmp);
        samples.get((samples.len().saturating_sub(1) * quarters + 2) / 4).copied()
    }

    fn median(&self, column: Column) -> Option<f64> {
        self.quartile(column, 2)
    }

    /// Ours divided by another one, in the unit of the row.
    fn ratio(&self, ours: Column, other: Column) -> Option<f64> {
        let ratio = self.median(ours)? / self.median(other)?;
        Some(if self.unit == Unit::Time { ratio } else { 1.0 / ratio })
    }
}

impl Unit {
    fn better(self) -> &'static str {
        if self == Self::Time { "less is better" } else { "more is better" }
    }

    fn show(self, nanos: f64) -> String {
        match self {
            Self::Time => scaled(nanos, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")]),
            Self::Rate => scaled(1e9 / nanos, &[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")]),
            Self::Bandwidth(bytes) | Self::Items(bytes) => {
                scaled(bytes as f64 / nanos * 1e9, &[(1e9, "GB/s"), (1e6, "MB/s")])
            }
        }
    }
}

/// Three digits of a number in the first unit that is not larger than it.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fitting = units.iter().find(|(size, _)| value >= *size).or(units.last());
    let (size, unit) = fitting.copied().unwrap_or((1.0, ""));
    let value = value / size;
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// Rows as a table: of each the median, the quartiles, and ours divided by the others.
pub(crate) fn table(heading: &str, note: &str, rows: &[Row]) -> String {
    let mut all = Vec::<Column>::new();
    for (column, _) in rows.iter().flat_map(|row| &row.cells) {
        if !all.contains(column) {
            all.push(*column);
        }
    }
    let line = |name: &str, cell: &dyn Fn(Column) -> Option<String>| {
        let cells = all.iter().map(|column| cell(*column).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let mut lines = vec![
        line("", &|[who, _]| Some(who.to_owned())),
        line("", &|[_, what]| Some(what.to_owned())),
    ];
    for row in rows {
        let unit = row.unit;
        lines.push(line(&row.name, &|column| row.median(column).map(|time| unit.show(time))));
        lines.push(line("  quartiles", &|column| {
            let (low, high) = (row.quartile(column, 1)?, row.quartile(column, 3)?);
            Some(format!("±{:.0} %", (high - low) / (high + low) * 100.0))
        }));
        if matches!(unit, Unit::Items(_)) {
            let rate = |column| row.median(column).map(|time| Unit::Rate.show(time));
            lines.push(line("  items", &rate));
        }
        if let Some((ours, _)) = row.cells.first() {
            lines.push(line("  ours / it", &|column| {
                row.ratio(*ours, column).map(|ratio| format!("{ratio:.2}"))
            }));
        }
    }
    let better = rows.first().map_or("", |row| row.unit.better());
    format!("{heading} ({better})\n{note}\n\n{}", columns(&lines))
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

/// What must be reached.
enum Goal {
    /// At most so many times another one.
    AtMost(f64, Column),
    /// At least so many times another one.
    AtLeast(f64, Column),
    /// So many a second.
    Rate(f64),
}

const ROBUST: Column = ["pthread", "robust"];
const SOCKETPAIR: Column = ["socketpair", "raw"];
/// Of the same size as the item: the strict one of the two figures.
const MEMCPY: Column = ["memcpy", "in cache"];

const GOALS: [(&str, &str, Goal); 8] = [
    ("lock", "Lock", Goal::AtMost(1.2, ROBUST)),
    ("lock", "acquire", Goal::AtMost(1.2, ROBUST)),
    ("connection", "bytes", Goal::AtMost(1.3, SOCKETPAIR)),
    ("connection", "value", Goal::AtMost(1.3, SOCKETPAIR)),
    ("queue-8-1to1", "put, get", Goal::Rate(10e6)),
    ("queue-8-1to1", "many", Goal::Rate(10e6)),
    ("queue-65536-1to1", "put, get", Goal::AtLeast(0.5, MEMCPY)),
    ("queue-1048576-1to1", "put, get", Goal::AtLeast(0.5, MEMCPY)),
];

impl Report {
    /// Each goal with what was measured.
    pub(crate) fn goals(&self) -> String {
        let heading = ["", "", "measured", "goal", ""].map(str::to_owned).to_vec();
        let mut lines = vec![heading];
        for (id, what, goal) in &GOALS {
            let Some(row) = self.rows.iter().find(|row| row.id == *id) else { continue };
            let ours = ["ours", *what];
            let (measured, wanted, met) = match *goal {
                Goal::AtMost(limit, other) => {
                    let ratio = row.ratio(ours, other);
                    let shown = ratio.map(|ratio| format!("{ratio:.2}"));
                    let wanted = format!("≤ {limit} × {}", other.join(", "));
                    (shown, wanted, ratio.map(|ratio| ratio <= limit))
                }
                Goal::AtLeast(limit, other) => {
                    let ratio = row.ratio(ours, other);
                    let shown = ratio.map(|ratio| format!("{ratio:.2}"));
                    let wanted = format!("≥ {limit} × {}", other.join(", "));
                    (shown, wanted, ratio.map(|ratio| ratio >= limit))
                }
                Goal::Rate(rate) => {
                    let time = row.median(ours);
                    let shown = time.map(|time| row.unit.show(time));
                    let wanted = format!("≥ {}", row.unit.show(1e9 / rate));
                    (shown, wanted, time.map(|time| 1e9 / time >= rate))
                }
            };
            let verdict = match met {
                None => "not measured",
                Some(true) => "met",
                Some(false) => "missed",
            };
            let measured = measured.unwrap_or_else(|| "-".to_owned());
            let cells = [id, *what, &measured, &wanted, verdict];
            lines.push(cells.map(str::to_owned).to_vec());
        }
        if lines.len() == 1 { String::new() } else { format!("Goals\n\n{}", columns(&lines)) }
    }
}
