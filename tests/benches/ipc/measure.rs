//! Who is measured: all variants of an operation in turns, table by table.

use super::operation::{Member, Operation, Role, Variant};
use super::worker::Span;
use super::{connections, locks, memory, queues, signals, values};
use mpserverd_tests::bench::machine;
use mpserverd_tests::bench::measure::{self, Contestant, Order, Ready, Turn};
use mpserverd_tests::bench::options::Options;
use mpserverd_tests::bench::report::{self, Column, Goal, Limit, Report, Row};
use std::io::Write;

const ROBUST: Column = ["pthread", "robust"];
const SOCKETPAIR: Column = ["socketpair", "raw"];
/// Of the same size as the item: the strict one of the two figures.
const MEMCPY: Column = ["memcpy", "in cache"];

const GOALS: [Goal; 8] = [
    goal("lock", "Lock", Limit::AtMost(1.2, ROBUST)),
    goal("lock", "acquire", Limit::AtMost(1.2, ROBUST)),
    goal("connection", "bytes", Limit::AtMost(1.3, SOCKETPAIR)),
    goal("connection", "value", Limit::AtMost(1.3, SOCKETPAIR)),
    goal("queue-8-1to1", "put, get", Limit::Rate(10e6)),
    goal("queue-8-1to1", "many", Limit::Rate(10e6)),
    goal("queue-65536-1to1", "put, get", Limit::AtLeast(0.5, MEMCPY)),
    goal("queue-1048576-1to1", "put, get", Limit::AtLeast(0.5, MEMCPY)),
];

const fn goal(id: &'static str, what: &'static str, limit: Limit) -> Goal {
    Goal { id, column: ["ours", what], limit }
}

fn all() -> Vec<Operation> {
    let mut all = locks::operations();
    all.extend(signals::operations());
    all.extend(connections::operations());
    all.extend(queues::operations());
    all.extend(values::operations());
    all
}

/// Prints the names of all operations.
pub(crate) fn list() {
    for operation in all() {
        println!("{:<20} {}: {}", operation.id, operation.table, operation.row);
    }
    println!("{:<20} {}", memory::ID, memory::TABLE);
}

/// Measures what was asked for, and prints it table by table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let python = mpserverd_tests::parity::python();
    println!("{}", machine::describe(python));
    let (count, turn) = (options.rounds, options.turn.as_millis());
    println!("rounds         {count} of about {turn} ms for each variant, in turns\n");
    let wanted = all().into_iter().filter(|operation| options.wants(&operation.id));
    let wanted = wanted.collect::<Vec<_>>();
    let mut report = Report::default();
    for table in wanted.chunk_by(|one, other| one.table == other.table) {
        let first = report.rows.len();
        for operation in table {
            eprintln!("{}", operation.id);
            report.rows.push(measure(operation, options, python)?);
        }
        print!("{}", report::table(table[0].table, table[0].note, &report.rows[first..]));
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    if options.wants(memory::ID) {
        eprintln!("{}", memory::ID);
        print!("{}", memory::measure(python)?);
    }
    println!("load at end    {}\n", machine::load());
    print!("{}", report.goals(&GOALS));
    Ok(())
}

fn measure(operation: &Operation, options: &Options, python: Option<&str>) -> Result<Row, String> {
    let wanted = |variant: &&Variant| options.wants_column(variant.column);
    let wanted = operation.variants.iter().filter(wanted);
    let contestants = wanted.map(|variant| (variant.column, Crew::start(variant, python)));
    let samples = measure::measure(&operation.id, contestants, operation.pace, options)?;
    let only = |figures: Vec<Vec<f64>>| figures.into_iter().flatten().collect();
    let cells = samples.into_iter().map(|(column, figures)| (column, only(figures))).collect();
    Ok(Row { id: operation.id.clone(), name: operation.row.clone(), unit: operation.unit, cells })
}

/// The processes of a variant.
struct Crew(Vec<Member>);

impl Crew {
    fn start(variant: &Variant, python: Option<&str>) -> Ready<Self> {
        Ok(variant.start(python)?.map(Self))
    }

    fn share(&self, role: Role, order: Order) -> Order {
        let sharing = self.0.iter().filter(|member| member.role == role).count() as u64;
        match (role, order) {
            (Role::Begins | Role::Ends, Order::Count(count)) => Order::Count(count / sharing),
            _ => order,
        }
    }
}

impl Contestant for Crew {
    /// All members do their part once.
    fn turn(&mut self, order: Order) -> Result<Turn, String> {
        let orders = self.0.iter().map(|member| self.share(member.role, order));
        let orders = orders.collect::<Vec<_>>();
        for (member, order) in self.0.iter_mut().zip(orders) {
            member.remote.send(order)?;
        }
        let mut whole = Span { begin: u64::MAX, end: 0, count: 0 };
        for member in &mut self.0 {
            let span = member.remote.receive()?;
            if matches!(member.role, Role::Does | Role::Begins) {
                whole.begin = whole.begin.min(span.begin);
            }
            if matches!(member.role, Role::Does | Role::Ends) {
                whole.end = whole.end.max(span.end);
                whole.count += span.count;
            }
        }
        let time = whole.end.saturating_sub(whole.begin).max(1) as f64;
        Ok(Turn { time, figures: vec![time / whole.count as f64] })
    }
}
