//! Who is measured, and the tables.

use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::report::ProcessFilter;
use mpserverd_tests::bench::driver::Driver;
use mpserverd_tests::bench::{PATIENCE, machine, text};
use mpserverd_tests::columns::columns;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::load::percentile;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Questions of each kind, of which the median is shown.
const QUESTIONS: usize = 21;
/// Descriptors that the daemon has for each worker.
const PER_WORKER: usize = 2;
/// And its client.
const PER_LEASE: usize = 4;
/// Where metrics are read, as far as the machine lets us choose.
const ADDRESS: &str = "127.0.0.1:0";

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Workers that live, ascending.
    workers: Vec<usize>,
    /// How long each phase of starts takes.
    phase: Duration,
    /// Reloads and deaths in a phase.
    events: u32,
    /// Gaps of each kind.
    pub(super) gaps: usize,
    /// Workers that sleep meanwhile.
    pub(super) asleep: usize,
}

impl Options {
    pub(crate) fn full() -> Self {
        let workers = vec![0, 100, 1000, 10_000];
        Self { workers, phase: Duration::from_secs(5), events: 5, gaps: 50, asleep: 1000 }
    }

    pub(crate) fn quick() -> Self {
        let workers = vec![0, 100];
        Self { workers, phase: Duration::from_secs(1), events: 1, gaps: 5, asleep: 100 }
    }
}

#[mp::task]
fn hold_still() {
    std::thread::sleep(10 * PATIENCE);
}

/// A client with so many workers, until it is told to end them.
#[mp::task]
fn hold_many(socket: PathBuf, count: usize, there: mp::Semaphore, end: mp::Event) {
    let fork_server = mp::get_context(mp::StartMethod::ForkServer);
    let context = fork_server.with_socket(socket).with_fallback(mp::Fallback::Fail);
    let start = |_| context.process::<hold_still>(()).daemon(true).start().expect("a worker");
    let workers: Vec<_> = (0..count).map(start).collect();
    there.release().expect("a semaphore");
    end.wait(None);
    workers.iter().for_each(|worker| drop(worker.kill()));
    for worker in &workers {
        worker.join();
    }
}

/// Measures everything and prints it.
pub(crate) fn run(options: Options) -> Result<(), String> {
    mpserverd_tests::build::try_artifacts()?;
    let python = mpserverd_tests::parity::python();
    println!("{}\n", machine::describe(python));
    let descriptors = mp::sys::attributes::raise_descriptor_limit().map_err(text)?;
    let for_workers = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(500);
    let (most, of_each) = (for_workers / PER_WORKER, (for_workers / PER_LEASE).max(1));
    let mut counts: Vec<_> = options.workers.iter().map(|count| most.min(*count)).collect();
    counts.dedup();
    let mut sizes = vec![line(["live workers", "status", "ps", "metrics", "RSS", "private"])];
    for workers in counts {
        eprintln!("{workers} workers");
        sizes.push(with_workers(workers, of_each)?);
    }
    println!("The daemon with many workers (medians; less is better)\n\n{}", columns(&sizes));
    let heading = ["", "starts/s", "failed", "p50", "p99", "longest pause"];
    let mut phases = vec![line(heading)];
    phases.extend(ours(&options)?);
    if let Some(python) = python {
        phases.extend(theirs(python, &options)?);
    }
    println!("Starts one after the other\n\n{}", columns(&phases));
    super::gaps::run(&options, python)
}

pub(super) fn line<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

pub(super) fn daemon() -> Result<Daemon, String> {
    let service = ["--metrics-address", ADDRESS, "--spares", "4..32"];
    let limits = ["--max-workers", "20000", "--stop-policy", "kill"];
    Daemon::try_start(&[&service[..], &limits[..]].concat(), &[])
}

fn address(daemon: &Daemon) -> Result<SocketAddr, String> {
    let log = daemon.log();
    let told = log.lines().rfind(|line| line.contains("metrics over HTTP"));
    let place = told.and_then(|line| line.split_once("address=")?.1.split_whitespace().next());
    place.and_then(|place| place.parse().ok()).ok_or_else(|| "metrics are read nowhere".to_owned())
}

/// The page of metrics, once.
fn scrape(address: SocketAddr) -> Result<usize, String> {
    let mut stream = TcpStream::connect(address).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").map_err(text)?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).map_err(text)?;
    if page.starts_with(b"HTTP/1.1 200 ") { Ok(page.len()) } else { Err("no page".to_owned()) }
}

fn median(mut ask: impl FnMut() -> Result<(), String>) -> Result<String, String> {
    let mut times = Vec::new();
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        ask()?;
        times.push(begun.elapsed());
        // The page is made anew only so often.
        std::thread::sleep(Duration::from_millis(60));
    }
    times.sort_unstable();
    Ok(percentile(&times, 50).map(|time| format!("{time:.2?}")).unwrap_or_default())
}

fn ask(connection: &mut Connection, request: &Request) -> Result<Reply, String> {
    let deadline = Some(Instant::now() + PATIENCE);
    connection.call(request, &[], deadline).map(|(reply, _)| reply).map_err(text)
}

/// Answers and memory of a daemon with so many workers that live, so many of each client.
fn with_workers(count: usize, of_each: usize) -> Result<Vec<String>, String> {
    let daemon = daemon()?;
    let (spawn, place) = (mp::get_context(mp::StartMethod::Spawn), address(&daemon)?);
    let (there, end) = (spawn.semaphore(0).map_err(text)?, spawn.event().map_err(text)?);
    let mut clients = Vec::new();
    for first in (0..count).step_by(of_each) {
        let arguments = (daemon.socket(), of_each.min(count - first), there.clone(), end.clone());
        clients.push(spawn.process::<hold_many>(arguments).daemon(true).start().map_err(text)?);
    }
    for _ in &clients {
        if !there.acquire(true, Some(PATIENCE)).map_err(text)? {
            return Err("workers do not come up".to_owned());
        }
    }
    let mut connection = Connection::open(&daemon.socket(), None).map_err(text)?;
    let status = median(|| ask(&mut connection, &Request::Status).map(drop))?;
    let filter = ProcessFilter { spares: true, ..ProcessFilter::default() };
    let everybody = Request::Processes { after: None, limit: u32::MAX, filter };
    let ps = median(|| ask(&mut connection, &everybody).map(drop))?;
    let metrics = median(|| scrape(place).map(drop))?;
    let taken = [machine::resident_kib(daemon.pid()), machine::private_kib(daemon.pid())];
    let mib = |kib: Option<u64>| kib.map(|kib| format!("{:.1} MiB", kib as f64 / 1024.0));
    let [Some(resident), Some(private)] = taken.map(mib) else {
        return Err("the daemon is gone".to_owned());
    };
    end.set();
    for client in &clients {
        client.join();
    }
    Ok(vec![count.to_string(), status, ps, metrics, resident, private])
}

/// What a driver says of a phase.
fn row(name: &str, driver: &mut Driver, phase: Duration) -> Result<Vec<String>, String> {
    let numbers = driver.numbers::<u64>()?;
    let [count, failed, p50, p99, pause] = numbers[..] else { return Err("no phase".to_owned()) };
    let time = |nanos| format!("{:.2?}", Duration::from_nanos(nanos));
    let rate = format!("{:.0}", count as f64 / phase.as_secs_f64());
    Ok(vec![name.to_owned(), rate, failed.to_string(), time(p50), time(p99), time(pause)])
}

fn ours(options: &Options) -> Result<Vec<Vec<String>>, String> {
    let mut daemon = daemon()?;
    let socket = daemon.socket();
    let environment = [("MPSERVERD_SOCKET", socket.to_str())];
    let mut driver = Driver::of_this_program(&["--drive"], &environment)?.ready()?;
    let (phase, command) = (options.phase, format!("starts {}", options.phase.as_millis()));
    let pause = phase / (options.events + 1);
    let mut rows = Vec::new();

    eprintln!("starts of ours");
    driver.send(&command)?;
    rows.push(row("ours, undisturbed", &mut driver, phase)?);

    eprintln!("with metrics read");
    driver.send(&command)?;
    let read = scraping(address(&daemon)?, Duration::from_millis(100), phase)?;
    rows.push(row("ours, metrics read 10 times a second", &mut driver, phase)?);
    driver.send(&command)?;
    let most = scraping(address(&daemon)?, Duration::ZERO, phase)?;
    let name =
        format!("ours, metrics read {:.0} times a second", most as f64 / phase.as_secs_f64());
    rows.push(row(&name, &mut driver, phase)?);
    eprintln!("{read} and {most} pages read");

    eprintln!("over reloads");
    driver.send(&command)?;
    for _ in 0..options.events {
        std::thread::sleep(pause);
        let reloaded = daemon.mpctl(&["reload"]);
        if !reloaded.status.success() {
            return Err(String::from_utf8_lossy(&reloaded.stderr).into_owned());
        }
    }
    let name = format!("ours, {} reloads", options.events);
    rows.push(row(&name, &mut driver, phase)?);

    eprintln!("over upgrades");
    driver.send(&command)?;
    for _ in 0..options.events {
        std::thread::sleep(pause);
        let upgraded = daemon.mpctl(&["upgrade"]);
        if !upgraded.status.success() {
            return Err(String::from_utf8_lossy(&upgraded.stderr).into_owned());
        }
    }
    let name = format!("ours, {} upgrades", options.events);
    rows.push(row(&name, &mut driver, phase)?);

    eprintln!("over kills of the daemon");
    driver.send(&command)?;
    for _ in 0..options.events {
        std::thread::sleep(pause);
        daemon.kill();
        daemon.restart();
    }
    let name = format!("ours, {} times kill -9 and restart of the daemon", options.events);
    rows.push(row(&name, &mut driver, phase)?);
    Ok(rows)
}

/// Reads the page again and again for so long; tells how often.
fn scraping(address: SocketAddr, pause: Duration, time: Duration) -> Result<u64, String> {
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < time {
        scrape(address)?;
        count += 1;
        std::thread::sleep(pause);
    }
    Ok(count)
}

fn theirs(python: &str, options: &Options) -> Result<Vec<Vec<String>>, String> {
    eprintln!("starts of CPython");
    let mut driver = Driver::python(python, "host", &[""; 0], &[])?.ready()?;
    let time = options.phase.as_millis();
    driver.send(&format!("starts {time}"))?;
    let undisturbed = row("CPython forkserver, undisturbed", &mut driver, options.phase)?;
    driver.send(&format!("dies {time}"))?;
    let name = "CPython forkserver, its server killed once";
    Ok(vec![undisturbed, row(name, &mut driver, options.phase)?])
}
