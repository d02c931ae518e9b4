//! Tables, ratios, goals.

pub use crate::columns::columns;

/// Who and what.
pub type Column = [&'static str; 2];

/// How what is measured is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How long one takes: less is better.
    Time,
    /// How many there are in a second: more is better.
    Rate,
    /// Bytes a second, of operations on so many: more is better.
    Bandwidth(u64),
    /// The same, and how many there are in a second.
    Items(u64),
    /// KiB: less is better.
    Memory,
    /// So many times as much: more is better.
    Gain,
}

impl Unit {
    /// Whether what is measured is better if it is less, once it is shown.
    fn less_is_better(self) -> bool {
        matches!(self, Self::Time | Self::Memory)
    }

    /// Whether what is measured is nanoseconds of one operation, and its inverse what is shown.
    fn is_inverse(self) -> bool {
        matches!(self, Self::Rate | Self::Bandwidth(_) | Self::Items(_))
    }

    fn show(self, value: f64) -> String {
        match self {
            _ if value.is_infinite() => "never".to_owned(),
            Self::Time => scaled(value, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")]),
            Self::Rate => scaled(1e9 / value, &[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")]),
            Self::Bandwidth(bytes) | Self::Items(bytes) => {
                scaled(bytes as f64 / value * 1e9, &[(1e9, "GB/s"), (1e6, "MB/s")])
            }
            Self::Memory => scaled(value, &[(1024.0, "MiB"), (1.0, "KiB")]),
            Self::Gain => format!("{value:.2} ×"),
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

/// What was measured of an operation.
#[derive(Debug)]
pub struct Row {
    /// By which goals know it.
    pub id: String,
    /// For people.
    pub name: String,
    /// What the numbers are.
    pub unit: Unit,
    /// One number of each round, by column; ours is the first. Nanoseconds of one operation, or
    /// what the unit says; infinite for what never happens.
    pub cells: Vec<(Column, Vec<f64>)>,
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

    /// Half the distance of the quartiles, of their middle.
    fn spread(&self, column: Column) -> Option<String> {
        let (low, high) = (self.quartile(column, 1)?, self.quartile(column, 3)?);
        let spread = (high - low) / (high + low) * 100.0;
        spread.is_finite().then(|| format!("±{spread:.0} %"))
    }

    /// Ours divided by another one's, in the unit of the row.
    fn ratio(&self, ours: Column, other: &Self, column: Column) -> Option<f64> {
        let ratio = self.median(ours)? / other.median(column)?;
        let ratio = if self.unit.is_inverse() { 1.0 / ratio } else { ratio };
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    }
}

fn better(rows: &[Row]) -> &'static str {
    let less = rows.iter().filter(|row| row.unit.less_is_better()).count();
    match less {
        0 => "more is better",
        all if all == rows.len() => "less is better",
        _ => "of times and memory less is better, of the rest more",
    }
}

/// Rows as a table: of each the median, the quartiles, and ours divided by the others.
#[must_use]
pub fn table(heading: &str, note: &str, rows: &[Row]) -> String {
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
        lines.push(line(&row.name, &|column| row.median(column).map(|value| unit.show(value))));
        lines.push(line("  quartiles", &|column| row.spread(column)));
        if matches!(unit, Unit::Items(_)) {
            let rate = |column| row.median(column).map(|time| Unit::Rate.show(time));
            lines.push(line("  items", &rate));
        }
        if let Some((ours, _)) = row.cells.first() {
            lines.push(line("  ours / it", &|column| {
                row.ratio(*ours, row, column).map(|ratio| format!("{ratio:.2}"))
            }));
        }
    }
    format!("{heading} ({})\n{note}\n\n{}", better(rows), columns(&lines))
}

/// What must be reached by what is measured as a column of a row.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The row.
    pub id: &'static str,
    /// Ours.
    pub column: Column,
    /// The limit.
    pub limit: Limit,
}

/// How much must be reached.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// At most so many times another one.
    AtMost(f64, Column),
    /// At most so many times another one of another row, operation by operation.
    AtMostOf(f64, &'static str, Column),
    /// At least so many times another one.
    AtLeast(f64, Column),
    /// So many a second.
    Rate(f64),
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which it was.
    pub rows: Vec<Row>,
}

impl Report {
    fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// Each goal with what was measured; nothing if none of their rows was.
    #[must_use]
    pub fn goals(&self, goals: &[Goal]) -> String {
        let heading = ["", "", "measured", "goal", ""].map(str::to_owned).to_vec();
        let mut lines = vec![heading];
        for goal in goals {
            let Some(row) = self.row(goal.id) else { continue };
            let (measured, wanted, met) = self.judged(row, goal);
            let verdict = match met {
                None => "not measured",
                Some(true) => "met",
                Some(false) => "missed",
            };
            let measured = measured.unwrap_or_else(|| "-".to_owned());
            let ours = goal.column.join(", ");
            lines.push([goal.id, &ours, &measured, &wanted, verdict].map(str::to_owned).to_vec());
        }
        if lines.len() == 1 { String::new() } else { format!("Goals\n\n{}", columns(&lines)) }
    }

    /// What was measured, what was wanted, and whether that is met.
    fn judged(&self, row: &Row, goal: &Goal) -> (Option<String>, String, Option<bool>) {
        let shown = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.2}"));
        match goal.limit {
            Limit::AtMost(limit, other) => {
                let ratio = row.ratio(goal.column, row, other);
                let wanted = format!("≤ {limit} × {}", other.join(", "));
                (shown(ratio), wanted, ratio.map(|ratio| ratio <= limit))
            }
            Limit::AtMostOf(limit, id, column) => {
                let other = self.row(id).and_then(|row| row.median(column));
                let ratio = row.median(goal.column).zip(other).map(|(ours, other)| ours / other);
                let wanted = format!("≤ {limit} × {} of {id}", column.join(", "));
                (shown(ratio), wanted, ratio.map(|ratio| ratio <= limit))
            }
            Limit::AtLeast(limit, other) => {
                let ratio = row.ratio(goal.column, row, other);
                let wanted = format!("≥ {limit} × {}", other.join(", "));
                (shown(ratio), wanted, ratio.map(|ratio| ratio >= limit))
            }
            Limit::Rate(rate) => {
                let time = row.median(goal.column);
                let shown = time.map(|time| row.unit.show(time));
                let wanted = format!("≥ {}", row.unit.show(1e9 / rate));
                (shown, wanted, time.map(|time| 1e9 / time >= rate))
            }
        }
    }
}
