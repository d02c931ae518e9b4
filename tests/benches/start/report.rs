//! Percentiles, tables and goals.

use super::driver::Sample;
use mpserverd_tests::columns::columns as table;
use std::collections::BTreeMap;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    RawEmpty,
    RawSame,
    PythonFork,
    PythonForkserver,
    PythonSpawn,
    Spawn,
    NoSpare,
    Single,
    Steady,
    /// The smallest template, measured beside a large one.
    SteadySmallest,
}

/// The columns, in order.
const COLUMNS: [Kind; 9] = [
    Kind::RawEmpty,
    Kind::RawSame,
    Kind::PythonFork,
    Kind::PythonForkserver,
    Kind::PythonSpawn,
    Kind::Spawn,
    Kind::NoSpare,
    Kind::Single,
    Kind::Steady,
];

impl Kind {
    fn heading(self) -> [&'static str; 2] {
        match self {
            Self::RawEmpty => ["raw fork", "empty"],
            Self::RawSame => ["raw fork", "same size"],
            Self::PythonFork => ["CPython", "fork"],
            Self::PythonForkserver => ["CPython", "forkserver"],
            Self::PythonSpawn => ["CPython", "spawn"],
            Self::Spawn => ["ours", "spawn"],
            Self::NoSpare => ["ours", "no spare"],
            Self::Single => ["ours", "single"],
            Self::Steady => ["ours", "steady"],
            Self::SteadySmallest => ["ours", "smallest"],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.heading()[1]
    }

    pub(crate) fn is_python(self) -> bool {
        matches!(self, Self::PythonFork | Self::PythonForkserver | Self::PythonSpawn)
    }
}

/// Memory of who belongs to a template, KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) spare_kib: Option<u64>,
    pub(crate) worker_kib: Option<u64>,
    pub(crate) daemon_kib: Option<u64>,
    pub(crate) template_kib: Option<u64>,
}

/// Starts a second, with so many clients; one number a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) clients: usize,
    pub(crate) per_second: BTreeMap<Kind, Vec<f64>>,
}

impl Rates {
    /// The median round.
    fn of(&self, kind: Kind) -> Option<f64> {
        let mut rounds = self.per_second.get(&kind)?.clone();
        rounds.sort_unstable_by(f64::total_cmp);
        rounds.get(rounds.len() / 2).copied()
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) sizes: Vec<u64>,
    pub(crate) samples: BTreeMap<(u64, Kind), Vec<Sample>>,
    /// The empty raw fork's median in each phase, in nanoseconds.
    pub(crate) drift: Vec<Option<u64>>,
    /// Of each size.
    pub(crate) memory: Vec<Memory>,
    pub(crate) rates: Vec<Rates>,
}

impl Report {
    fn first(&self, size: u64, kind: Kind, percent: usize) -> Option<u64> {
        percentile(self.samples.get(&(size, kind))?.iter().map(|sample| sample.first), percent)
    }

    fn total(&self, size: u64, kind: Kind, percent: usize) -> Option<u64> {
        percentile(self.samples.get(&(size, kind))?.iter().map(|sample| sample.total), percent)
    }
}

/// The smallest value that so many percent do not exceed.
pub(crate) fn percentile(values: impl Iterator<Item = u64>, percent: usize) -> Option<u64> {
    let mut values = values.collect::<Vec<_>>();
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

pub(crate) fn show_bytes(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

fn show_time(nanos: Option<u64>) -> String {
    match nanos.map(|nanos| nanos as f64 / 1e9) {
        None => "-".to_owned(),
        Some(seconds) if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

/// Everything, as tables.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    text += "From just before the start to the first instruction of the task\n\n";
    text += &times(report, &Report::first);
    text += "From just before the start to the end of the join\n\n";
    text += &times(report, &Report::total);
    text += &format!(
        "An empty raw fork, p50 in each phase: {}\n\n",
        report.drift.iter().map(|drift| show_time(*drift)).collect::<Vec<_>>().join(", ")
    );
    text += "Starts and joins a second, clients one beside the other, at the smallest size\n\n";
    text += &rates(report);
    text += "Memory\n\n";
    text += &memory(report);
    text +=
        "How many times longer others take to the first instruction (p50) than ours, steady\n\n";
    text += &ratios(report);
    text += "Goals\n\n";
    text += &table(&goals(report));
    text
}

type Time<'a> = &'a dyn Fn(&Report, u64, Kind, usize) -> Option<u64>;

fn times(report: &Report, time: Time<'_>) -> String {
    let heading = |line: usize| {
        std::iter::once(String::new()).chain(COLUMNS.map(|kind| kind.heading()[line].to_owned()))
    };
    let mut rows = vec![heading(0).collect(), heading(1).collect()];
    for &size in &report.sizes {
        for percent in [50, 90, 99] {
            let cells = COLUMNS.map(|kind| show_time(time(report, size, kind, percent)));
            let name = format!("{}, p{percent}", show_bytes(size));
            rows.push(std::iter::once(name).chain(cells).collect());
        }
        let count = |kind| report.samples.get(&(size, kind)).map_or(0, Vec::len).to_string();
        rows.push(std::iter::once("  starts".to_owned()).chain(COLUMNS.map(count)).collect());
    }
    table(&rows)
}

fn rates(report: &Report) -> String {
    let kinds = [Kind::RawEmpty, Kind::RawSame, Kind::PythonForkserver, Kind::Steady];
    let mut rows = Vec::new();
    for line in 0..2 {
        let heading = kinds.map(|kind| kind.heading()[line].to_owned());
        rows.push(std::iter::once(String::new()).chain(heading).collect());
    }
    for rates in &report.rates {
        let cells =
            kinds.map(|kind| rates.of(kind).map_or("-".into(), |rate| format!("{rate:.0}")));
        rows.push(std::iter::once(format!("{} clients", rates.clients)).chain(cells).collect());
    }
    table(&rows)
}

fn memory(report: &Report) -> String {
    let heading = std::iter::once(String::new()).chain(report.sizes.iter().map(|s| show_bytes(*s)));
    let mut rows = vec![heading.collect::<Vec<_>>()];
    let mut row = |name: &str, of: &dyn Fn(&Memory) -> Option<u64>| {
        let cells = report.memory.iter().map(|memory| match of(memory) {
            Some(kib) => format!("{kib} KiB"),
            None => "-".to_owned(),
        });
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("private, a parked spare", &|memory| memory.spare_kib);
    row("private, a worker that runs", &|memory| memory.worker_kib);
    row("resident, the template", &|memory| memory.template_kib);
    row("resident, the daemon", &|memory| memory.daemon_kib);
    table(&rows)
}

fn ratio(above: Option<u64>, below: Option<u64>) -> Option<f64> {
    Some(above? as f64 / below.filter(|below| *below > 0)? as f64)
}

fn ratios(report: &Report) -> String {
    let heading = std::iter::once(String::new()).chain(report.sizes.iter().map(|s| show_bytes(*s)));
    let mut rows = vec![heading.collect::<Vec<_>>()];
    for kind in COLUMNS.into_iter().filter(|kind| *kind != Kind::Steady) {
        let cells = report.sizes.iter().map(|&size| {
            let of = |kind| report.first(size, kind, 50);
            ratio(of(kind), of(Kind::Steady)).map_or("-".into(), |ratio| format!("{ratio:.1}"))
        });
        let name = kind.heading().join(", ");
        rows.push(std::iter::once(name).chain(cells).collect());
    }
    table(&rows)
}

/// Each goal with what was measured.
fn goals(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![["", "measured", "goal", ""].map(str::to_owned).to_vec()];
    let mut row = |name: String, measured: Option<f64>, at_most: bool, goal: f64, unit: &str| {
        let verdict = match measured {
            None => "not measured",
            Some(value) if (value <= goal) == at_most || value == goal => "met",
            Some(_) => "missed",
        };
        let digits = if unit.is_empty() { 2 } else { 0 };
        rows.push(vec![
            name,
            measured.map_or("-".into(), |value| format!("{value:.digits$}{unit}")),
            format!("{} {goal}{unit}", if at_most { "≤" } else { "≥" }),
            verdict.to_owned(),
        ]);
    };
    for (kind, name) in [(Kind::Steady, "steady"), (Kind::Single, "single")] {
        for &size in &report.sizes {
            let of = |kind| report.first(size, kind, 50);
            let measured = ratio(of(kind), of(Kind::RawEmpty));
            let name = format!("first instruction, {name}, {}, p50 / empty fork", show_bytes(size));
            row(name, measured, true, 1.0, "");
        }
    }
    if let [smallest, .., largest] = report.sizes[..] {
        let of = |kind| report.first(largest, kind, 99);
        let name =
            format!("first instruction, p99, {} / {}", show_bytes(largest), show_bytes(smallest));
        row(name, ratio(of(Kind::Steady), of(Kind::SteadySmallest)), true, 2.0, "");
    }
    for rates in &report.rates {
        for (kind, name) in [(Kind::RawSame, "raw, same size"), (Kind::RawEmpty, "raw, empty")] {
            let measured = rates.of(Kind::Steady).zip(rates.of(kind)).map(|(a, b)| a / b);
            let name = format!("starts a second, {} clients / {name}", rates.clients);
            row(name, measured, false, 0.7, "");
        }
    }
    let measured = report.sizes.iter().zip(&report.memory).rfind(|(size, _)| **size <= 1 << 30);
    if let Some((size, memory)) = measured {
        let name = format!("private memory of a parked spare, {}", show_bytes(*size));
        row(name, memory.spare_kib.map(|kib| kib as f64), true, 300.0, " KiB");
    }
    rows
}
