//! Who is measured beside whom: phases of variants that take turns.

use super::driver::Sample;
use super::options::Options;
use super::remote::Driver;
use super::report;
use super::report::{Kind, Memory, Rates, Report, show_bytes};
use mpserverd_tests::bench::machine;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::{eventually, proc};
use std::time::Duration;

/// Clients that take turns with single starts, so that not every one costs its whole pause.
const SINGLES: usize = 4;
/// Clients of the measurement of rates.
const CLIENTS: [usize; 2] = [1, 8];
/// Memory that must be left to others.
const RESERVE: u64 = 1 << 30;
/// How long memory that was given back may take to be there.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(20);

/// A measured process and what it said.
struct Variant {
    kind: Kind,
    driver: Driver,
    command: &'static str,
    each_round: usize,
    samples: Vec<Sample>,
}

impl Variant {
    fn new(kind: Kind, driver: Driver, command: &'static str, each_round: usize) -> Self {
        Self { kind, driver, command, each_round, samples: Vec::new() }
    }

    fn raw_empty(each_round: usize) -> Result<Self, String> {
        Ok(Self::new(Kind::RawEmpty, Driver::ours("raw", 0, None)?, "steady", each_round))
    }

    fn turn(&mut self, count: usize) -> Result<Vec<Sample>, String> {
        let said = self.driver.samples(&format!("{} {count}", self.command));
        said.map_err(|error| format!("{}: {error}", self.kind.name()))
    }
}

/// Measures everything and prints it.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    mpserverd_tests::build::try_artifacts()?;
    let python = mpserverd_tests::parity::python();
    println!("{}", machine::describe(python));
    let mut report = Report::default();
    for &size in &options.sizes {
        if !wait_for_memory(size) {
            println!("note           {} skipped: not enough memory", show_bytes(size));
            continue;
        }
        report.sizes.push(size);
        ours(options, size, &mut report)?;
        without_spare(options, size, &mut report)?;
        peers(options, size, python, &mut report)?;
    }
    let Some(&smallest) = report.sizes.first() else { return Ok(()) };
    report.rates = rates(options, smallest, python)?;
    println!("load at end    {}\n", machine::load());
    print!("{}", report::render(&report));
    Ok(())
}

/// Whether a process of that size, and a quarter more, can be had.
fn wait_for_memory(size: u64) -> bool {
    eventually(MEMORY_TIMEOUT, || machine::available() >= size + size / 4 + RESERVE)
}

/// Lets all variants take turns, and files what they said.
fn take_turns(
    mut variants: Vec<Variant>,
    rounds: usize,
    size: u64,
    report: &mut Report,
) -> Result<(), String> {
    let name = variants.last().map_or("", |variant| variant.kind.name());
    eprintln!("{}: {name} and others, {rounds} rounds", show_bytes(size));
    for variant in &mut variants {
        variant.turn(1)?;
    }
    for round in 0..rounds.max(1) {
        let all = variants.len();
        for at in 0..all {
            let variant = &mut variants[(at + round) % all];
            let samples = variant.turn(variant.each_round)?;
            variant.samples.extend(samples);
        }
    }
    report.drift.extend(
        variants.iter().filter(|v| v.kind == Kind::RawEmpty).map(|variant| {
            report::percentile(variant.samples.iter().map(|sample| sample.first), 50)
        }),
    );
    // The empty fork counts where ours is beside it; elsewhere it only shows the drift.
    let with_ours = variants.iter().any(|variant| variant.kind == Kind::Steady);
    for variant in variants {
        if variant.kind != Kind::RawEmpty || with_ours {
            report.samples.entry((size, variant.kind)).or_default().extend(variant.samples);
        }
    }
    Ok(())
}

fn start_daemon(arguments: &[&str]) -> Result<Daemon, String> {
    Daemon::try_start(&[&["--log-level", "warn"], arguments].concat(), &[])
}

/// Ours with a spare ready: steadily, and single starts; beside them the smallest template.
fn ours(options: &Options, size: u64, report: &mut Report) -> Result<(), String> {
    let rounds = options.starts.div_ceil(4 * SINGLES);
    let each = options.starts.div_ceil(rounds);
    let daemon = start_daemon(&[])?;
    let driver = || Driver::ours("forkserver", size, Some(&daemon.socket()));
    let mut variants =
        vec![Variant::raw_empty(each)?, Variant::new(Kind::Steady, driver()?, "steady", each)];
    let smallest = options.sizes[0];
    let small = if size > smallest { Some(start_daemon(&[])?) } else { None };
    if let Some(small) = &small {
        let driver = Driver::ours("forkserver", smallest, Some(&small.socket()))?;
        variants.push(Variant::new(Kind::SteadySmallest, driver, "steady", each));
    }
    for _ in 0..SINGLES {
        variants.push(Variant::new(Kind::Single, driver()?, "single", 1));
    }
    take_turns(variants, rounds, size, report)?;
    report.memory.push(memory(&daemon, driver()?)?);
    Ok(())
}

/// What a spare, a worker that runs and the daemon hold.
fn memory(daemon: &Daemon, mut driver: Driver) -> Result<Memory, String> {
    driver.send("hold")?;
    let lines = driver.receive()?;
    let worker = lines.first().and_then(|line| line.parse::<u32>().ok()).ok_or("no pid")?;
    // The daemon has a template for modules too: ours is the one that this worker came from.
    let below = daemon.descendants().into_iter().map(|pid| (pid, proc::descendants(pid)));
    let template = below.rev().find(|(_, workers)| workers.contains(&worker));
    let (template, workers) = template.ok_or("no template")?;
    let spares = workers.iter().filter(|pid| **pid != worker);
    let memory = Memory {
        spare_kib: spares.filter_map(|pid| machine::private_kib(*pid)).max(),
        worker_kib: machine::private_kib(worker),
        daemon_kib: machine::resident_kib(daemon.pid()),
        template_kib: machine::resident_kib(template),
    };
    driver.send("release")?;
    driver.receive()?;
    Ok(memory)
}

/// Ours when the worker must be forked first.
fn without_spare(options: &Options, size: u64, report: &mut Report) -> Result<(), String> {
    if !wait_for_memory(size) {
        println!("note           no memory for ours without a spare");
        return Ok(());
    }
    let daemon = start_daemon(&["--spares", "0..0"])?;
    let mut variants = vec![Variant::raw_empty(10)?];
    for _ in 0..SINGLES {
        let driver = Driver::ours("forkserver", size, Some(&daemon.socket()))?;
        variants.push(Variant::new(Kind::NoSpare, driver, "single", 1));
    }
    let rounds = options.starts.div_ceil(8 * SINGLES);
    take_turns(variants, rounds, size, report)
}

/// Everybody else, one after the other, each beside an empty raw fork.
fn peers(
    options: &Options,
    size: u64,
    python: Option<&str>,
    report: &mut Report,
) -> Result<(), String> {
    let slow = options.starts.div_ceil(8);
    let few = options.starts.div_ceil(if size > RESERVE / 2 { 100 } else { 40 });
    let all = [
        (Kind::RawSame, "raw", slow),
        (Kind::PythonFork, "fork", slow),
        (Kind::PythonForkserver, "forkserver", slow),
        (Kind::PythonSpawn, "spawn", few),
        (Kind::Spawn, "spawn", few),
    ];
    for (kind, method, count) in all {
        if kind.is_python() && python.is_none() {
            continue;
        }
        if !wait_for_memory(size) {
            println!("note           {} at {}: no memory", kind.name(), show_bytes(size));
            continue;
        }
        let driver = match python.filter(|_| kind.is_python()) {
            Some(python) => Driver::python(python, method, size)?,
            None => Driver::ours(method, size, None)?,
        };
        let each = count.min(5);
        let variants = vec![Variant::raw_empty(10)?, Variant::new(kind, driver, "steady", each)];
        take_turns(variants, count.div_ceil(each), size, report)?;
    }
    Ok(())
}

/// Starts and joins a second, with one client and with several.
fn rates(options: &Options, size: u64, python: Option<&str>) -> Result<Vec<Rates>, String> {
    let (time, repeats) = options.rate;
    let daemon = start_daemon(&[])?;
    let many = CLIENTS[CLIENTS.len() - 1];
    let drivers = |make: &dyn Fn() -> Result<Driver, String>| {
        (0..many).map(|_| make()).collect::<Result<Vec<_>, _>>()
    };
    let mut all = vec![
        (Kind::RawEmpty, drivers(&|| Driver::ours("raw", 0, None))?),
        (Kind::RawSame, drivers(&|| Driver::ours("raw", size, None))?),
        (Kind::Steady, drivers(&|| Driver::ours("forkserver", size, Some(&daemon.socket())))?),
    ];
    if let Some(python) = python {
        let python = drivers(&|| Driver::python(python, "forkserver", size))?;
        all.push((Kind::PythonForkserver, python));
    }
    eprintln!("rates, {repeats} rounds");
    let mut found = CLIENTS.map(|clients| Rates { clients, ..Rates::default() });
    for _ in 0..repeats {
        for rates in &mut found {
            for (kind, drivers) in &mut all {
                let drivers = &mut drivers[..rates.clients];
                for driver in drivers.iter_mut() {
                    driver.send(&format!("rate {}", time.as_millis()))?;
                }
                let each = drivers.iter_mut().map(Driver::rate);
                let sum = each.sum::<Result<f64, String>>()?;
                rates.per_second.entry(*kind).or_default().push(sum);
            }
        }
    }
    Ok(found.to_vec())
}
