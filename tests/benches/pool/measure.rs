//! Tables and goals.

use super::by_ours::Method;
use super::drive::Who;
use super::operations::{self, FUTEX, OURS, Operation, PROXIES, RAYON, SOCKET_PAIR};
use mpserverd_tests::bench::driver::Driver;
use mpserverd_tests::bench::machine;
use mpserverd_tests::bench::measure::{self, Contestant, Order, Ready, Turn};
use mpserverd_tests::bench::options::Options;
use mpserverd_tests::bench::report::{self, Column, Goal, Limit, Report, Row};
use mpserverd_tests::bench::text;
use mpserverd_tests::daemon::Daemon;
use std::io::Write;

const GOALS: [Goal; 10] = [
    goal("apply p50", OURS.0, Limit::AtMost(3.0, FUTEX.0)),
    goal("map-0-1", OURS.0, Limit::Rate(1e6)),
    // What it was set by is rayon item by item; beside chunks of as many it is a strict one.
    goal("map-0-chunks", OURS.0, Limit::AtMostOf(2.0, "map-0-1", RAYON.0)),
    goal("map-0-chunks", OURS.0, Limit::AtMostOf(2.0, "map-0-chunks", RAYON.0)),
    goal("map-0-default", OURS.0, Limit::AtMostOf(2.0, "map-0-1", RAYON.0)),
    goal("call-list-get", PROXIES.0, Limit::AtMost(2.0, SOCKET_PAIR.0)),
    goal("call-list-set", PROXIES.0, Limit::AtMost(2.0, SOCKET_PAIR.0)),
    goal("call-list-append", PROXIES.0, Limit::AtMost(2.0, SOCKET_PAIR.0)),
    goal("call-dict-get", PROXIES.0, Limit::AtMost(2.0, SOCKET_PAIR.0)),
    goal("call-dict-set", PROXIES.0, Limit::AtMost(2.0, SOCKET_PAIR.0)),
];

const fn goal(id: &'static str, column: Column, limit: Limit) -> Goal {
    Goal { id, column, limit }
}

/// Slow operations have this part of the rounds, but some.
const SLOW: usize = 3;

/// Prints the names of all operations.
pub(crate) fn list() {
    for operation in operations::all() {
        println!("{:<20} {}: {}", operation.id, operation.table.heading, operation.row);
    }
}

/// Measures what was asked for, and prints it table by table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let python = mpserverd_tests::parity::python();
    println!("{}", machine::describe(python));
    let (count, turn) = (options.rounds, options.turn.as_millis());
    println!("rounds         {count} of about {turn} ms for each contestant, in turns\n");
    let wanted = operations::all().into_iter().filter(|operation| options.wants(operation.id));
    let wanted = wanted.collect::<Vec<_>>();
    let daemon = wants_daemon(&wanted, options).then(start_daemon).transpose()?;
    let servers = Servers { python, daemon: daemon.as_ref() };
    let mut report = Report::default();
    for table in wanted.chunk_by(|one, other| std::ptr::eq(one.table, other.table)) {
        let first = report.rows.len();
        for operation in table {
            eprintln!("{}", operation.id);
            report.rows.extend(rows(operation, options, servers)?);
        }
        let (heading, note) = (table[0].table.heading, table[0].table.note);
        print!("{}", report::table(heading, note, &report.rows[first..]));
        std::io::stdout().flush().map_err(text)?;
    }
    println!("load at end    {}\n", machine::load());
    print!("{}", report.goals(&GOALS));
    Ok(())
}

/// What contestants need that are not this program alone.
#[derive(Clone, Copy)]
struct Servers<'a> {
    python: Option<&'a str>,
    daemon: Option<&'a Daemon>,
}

/// Whether somebody takes part whose workers come from a daemon.
fn wants_daemon(operations: &[Operation], options: &Options) -> bool {
    let contestants = operations.iter().flat_map(|operation| operation.contestants);
    let mut wanted = contestants.filter(|(column, _)| options.wants_column(*column));
    wanted.any(|(_, who)| *who == Who::Ours(Method::ForkServer))
}

fn start_daemon() -> Result<Daemon, String> {
    mpserverd_tests::build::try_artifacts()?;
    Daemon::try_start(&["--log-level", "warn"], &[])
}

/// Measures an operation: a row for each of its figures.
fn rows(
    operation: &Operation,
    options: &Options,
    servers: Servers<'_>,
) -> Result<Vec<Row>, String> {
    let mut options = options.clone();
    if operation.case.is_slow() {
        options.rounds = (options.rounds / SLOW).max(SLOW);
    }
    let wanted = operation.contestants.iter().filter(|(column, _)| options.wants_column(*column));
    let started = wanted.map(|(column, who)| (*column, Remote::start(*who, operation, servers)));
    let samples = measure::measure(operation.id, started, operation.case.pace(), &options)?;
    let row = |(at, (name, unit)): (usize, &(&str, _))| {
        let joined = |with: &str, text: &str| match *name {
            "" => text.to_owned(),
            name => format!("{text}{with}{name}"),
        };
        let of = |figures: &Vec<Vec<f64>>| figures.iter().map(|round| round[at]).collect();
        Row {
            id: joined(" ", operation.id),
            name: joined(", ", operation.row),
            unit: *unit,
            cells: samples.iter().map(|(column, figures)| (*column, of(figures))).collect(),
        }
    };
    Ok(operation.case.figures().iter().enumerate().map(row).collect())
}

/// A program that does a case.
struct Remote {
    driver: Driver,
    figures: usize,
}

impl Remote {
    fn start(who: Who, operation: &Operation, servers: Servers<'_>) -> Ready<Self> {
        let Servers { python, daemon } = servers;
        let part = serde_json::to_string(&(who, operation.case)).map_err(text)?;
        let driver = match (who, python) {
            (Who::Python(_), None) => return Ok(None),
            (Who::Python(_), Some(python)) => Driver::python(python, "pool", &[&part], &[]),
            _ => {
                let socket = daemon.map(|daemon| daemon.socket().display().to_string());
                let environment = [("MPSERVERD_SOCKET", socket.as_deref())];
                Driver::of_this_program(&["--drive", &part], &environment)
            }
        };
        let driver = driver?.ready()?;
        Ok(Some(Self { driver, figures: operation.case.figures().len() }))
    }
}

impl Contestant for Remote {
    fn turn(&mut self, order: Order) -> Result<Turn, String> {
        let Order::Count(count) = order else { return Err("it needs a count".to_owned()) };
        self.driver.send(&count.to_string())?;
        let mut figures = self.driver.numbers()?;
        if figures.len() != self.figures + 1 {
            return Err(format!("{} numbers", figures.len()));
        }
        let time = figures.remove(0);
        Ok(Turn { time, figures })
    }
}
