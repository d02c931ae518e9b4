//! Rounds, in which all variants of an operation take turns.

use super::operation::{Member, Operation, Pace, Role, Variant};
use super::options::Options;
use super::report::{Report, Row};
use super::worker::{Order, Span};
use super::{connections, locks, machine, memory, queues, report, signals, values};
use std::io::Write;

/// Turns of this part of the time wanted tell how long one takes.
const CALIBRATED: u64 = 3;
/// So many turns tell how long one takes.
const CALIBRATING_TURNS: usize = 3;

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
            let row = measure(operation, options, python);
            report.rows.push(row.map_err(|error| format!("{}: {error}", operation.id))?);
        }
        print!("{}", report::table(table[0].table, table[0].note, &report.rows[first..]));
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    if options.wants(memory::ID) {
        eprintln!("{}", memory::ID);
        print!("{}", memory::measure(python)?);
    }
    println!("load at end    {}\n", machine::load());
    print!("{}", report.goals());
    Ok(())
}

/// A variant that runs.
struct Running<'a> {
    variant: &'a Variant,
    members: Vec<Member>,
    count: u64,
    /// Nanoseconds of one operation, in each round.
    samples: Vec<f64>,
}

fn measure(operation: &Operation, options: &Options, python: Option<&str>) -> Result<Row, String> {
    let time = u64::try_from(options.turn.as_nanos()).unwrap_or(u64::MAX);
    let mut running = Vec::new();
    let wanted = |variant: &&Variant| options.wants_column(variant.column);
    for variant in operation.variants.iter().filter(wanted) {
        let started = Running::start(variant, python).and_then(|started| {
            started.map(|one| one.calibrated(operation.pace, time)).transpose()
        });
        match started {
            Ok(started) => running.extend(started),
            Err(error) if variant.is_ours() => return Err(format!("{variant:?}: {error}")),
            Err(error) => println!("note           {}: {variant:?}: {error}", operation.id),
        }
    }
    for round in 0..options.rounds {
        let all = running.len();
        for at in 0..all {
            let one = &mut running[(at + round) % all];
            let sample = one.turn(operation.pace, time);
            let sample = sample.map_err(|error| format!("{:?}: {error}", one.variant))?;
            one.samples.push(sample.time() / sample.count as f64);
        }
    }
    let cells = running.into_iter().map(|one| (one.variant.column, one.samples)).collect();
    Ok(Row { id: operation.id.clone(), name: operation.row.clone(), unit: operation.unit, cells })
}

impl Span {
    fn time(&self) -> f64 {
        self.end.saturating_sub(self.begin).max(1) as f64
    }
}

impl<'a> Running<'a> {
    fn start(variant: &'a Variant, python: Option<&str>) -> Result<Option<Self>, String> {
        let members = variant.start(python)?;
        Ok(members.map(|members| Self { variant, members, count: 1, samples: Vec::new() }))
    }

    fn share(&self, role: Role, order: Order) -> Order {
        let sharing = self.members.iter().filter(|member| member.role == role).count() as u64;
        match (role, order) {
            (Role::Begins | Role::Ends, Order::Count(count)) => Order::Count(count / sharing),
            _ => order,
        }
    }

    /// All members do their part once.
    fn turn(&mut self, pace: Pace, time: u64) -> Result<Span, String> {
        let order = pace.order(self.count, time);
        let orders = self.members.iter().map(|member| self.share(member.role, order));
        let orders = orders.collect::<Vec<_>>();
        for (member, order) in self.members.iter_mut().zip(orders) {
            member.remote.send(order)?;
        }
        let mut whole = Span { begin: u64::MAX, end: 0, count: 0 };
        for member in &mut self.members {
            let span = member.remote.receive()?;
            if matches!(member.role, Role::Does | Role::Begins) {
                whole.begin = whole.begin.min(span.begin);
            }
            if matches!(member.role, Role::Does | Role::Ends) {
                whole.end = whole.end.max(span.end);
                whole.count += span.count;
            }
        }
        Ok(whole)
    }

    /// The best of a few turns: one may be disturbed.
    fn best_turn(&mut self, pace: Pace, time: u64) -> Result<f64, String> {
        let mut best = f64::MAX;
        for _ in 0..CALIBRATING_TURNS {
            best = best.min(self.turn(pace, time)?.time());
        }
        Ok(best)
    }

    /// Finds out how often it can do it in a turn, which warms it up too.
    fn calibrated(mut self, pace: Pace, time: u64) -> Result<Self, String> {
        let Pace::Count { of, most } = pace else {
            self.turn(pace, time)?;
            return Ok(self);
        };
        self.count = of;
        loop {
            let took = self.best_turn(pace, time)?;
            let wanted = time as f64 / (took / self.count as f64);
            let long_enough = took * CALIBRATED as f64 >= time as f64;
            let next = if long_enough { wanted } else { wanted.min(self.count as f64 * 8.0) };
            let next = (next as u64 / of * of).clamp(of, most / of * of);
            if long_enough || next <= self.count {
                self.count = next;
                return Ok(self);
            }
            self.count = next;
        }
    }
}
