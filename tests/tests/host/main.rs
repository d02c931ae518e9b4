//! What an operator will measure: memory, wake-ups, answers with many workers and many clients.
//! Times are printed, never asserted; memory and wake-ups are bounded.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_tests::bench::machine::{resident_kib, written_kib};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, value};
use mpserverd_tests::{eventually, proc, skip};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Memory of the daemon with a thousand workers, KiB.
const MEMORY_MAX: u64 = 8 << 10;

/// Memory of a daemon that counts: what is resident, or without optimisation, whose code alone is
/// larger than that, what it has written.
fn memory(daemon: &Daemon) -> u64 {
    let (resident, written) = (resident_kib(daemon.pid()), written_kib(daemon.pid()));
    println!("{resident:?} KiB resident, {written:?} KiB written");
    let counts = if cfg!(debug_assertions) { written } else { resident };
    counts.expect("it lives")
}

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// Descriptors that this process may have, if they are enough.
fn may_open(descriptors: u64) -> bool {
    let available = mp::sys::attributes::raise_descriptor_limit().unwrap();
    if available < descriptors {
        skip(&format!("this needs {descriptors} descriptors, and {available} may be open"));
    }
    available >= descriptors
}

fn many(daemon: &Daemon, count: usize) -> Vec<mp::Process<()>> {
    let context = daemon.context();
    (0..count).map(|_| context.process::<sleep_for_ever>(()).start().unwrap()).collect()
}

fn all_end(workers: Vec<mp::Process<()>>) {
    workers.iter().for_each(|worker| worker.kill().unwrap());
    for worker in workers {
        assert_eq!(worker.join_timeout(PATIENCE), Some(-9));
    }
}

/// Ask, and how long the answer took.
fn timed(connection: &mut Connection, request: &Request) -> (Reply, Duration) {
    let begun = Instant::now();
    let (reply, _) = connection.call(request, &[], Some(begun + PATIENCE)).unwrap();
    (reply, begun.elapsed())
}

#[test]
fn a_thousand_workers_fit_the_memory_and_are_told_in_one_answer() {
    if !may_open(6_000) {
        return;
    }
    let daemon = Daemon::start(&["--log-level", "warn"]);
    assert_eq!(value(daemon.context().process::<square>((2,))), 4);
    memory(&daemon);
    let workers = many(&daemon, 1000);
    let mut connection = daemon.connect();
    for _ in 0..3 {
        let (reply, took) = timed(&mut connection, &Request::Status);
        let Reply::Status(status) = reply else { panic!("{reply:?}") };
        assert!(status.workers >= 1000, "{status:?}");
        println!("status of a thousand workers: {took:?}");
        let (reply, took) = timed(&mut connection, &Request::Metrics);
        let Reply::Metrics(text) = reply else { panic!("{reply:?}") };
        println!("metrics of a thousand workers: {took:?}, {} bytes", text.len());
    }
    let taken = memory(&daemon);
    assert!(taken <= MEMORY_MAX, "{taken} KiB with a thousand workers");
    all_end(workers);
    let gone = || {
        let (reply, _) = timed(&mut connection, &Request::Status);
        // One may have been leased in advance, and is kept for the next start.
        matches!(reply, Reply::Status(status) if status.workers <= 1)
    };
    assert!(eventually(PATIENCE, gone));
    memory(&daemon);
}

/// How often a process has gone to sleep, which it does once for each wake-up.
fn sleeps(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn an_idle_daemon_does_not_wake_up() {
    let daemon = Daemon::start(&["--decay-after", "200ms", "--metrics-address", "127.0.0.1:0"]);
    let workers = many(&daemon, 3);
    assert_eq!(value(daemon.context().process::<square>((2,))), 4);
    // Leases in advance are given back, surplus spares go; then there is nothing left to do.
    let quiet = || {
        let before = sleeps(daemon.pid());
        std::thread::sleep(Duration::from_secs(3));
        let after = sleeps(daemon.pid());
        println!("{} wake-ups in three seconds", after - before);
        after == before
    };
    assert!(eventually(PATIENCE, quiet), "{}", daemon.log());
    all_end(workers);
}

/// Connections that say nothing, far beyond the limit.
fn crowd(size: usize) {
    if !may_open(size as u64 + 500) {
        return;
    }
    let arguments = ["--max-clients", "100", "--hello-timeout", "1s", "--log-level", "warn"];
    let daemon = Daemon::start(&arguments);
    let mut known = daemon.connect();
    let worker = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    let before = proc::fd_count(daemon.pid());
    let begun = Instant::now();
    let mut parked = Vec::with_capacity(size);
    while parked.len() < size {
        match UnixStream::connect(daemon.socket()) {
            Ok(stream) => parked.push(stream),
            // The queue of those who wait to be accepted is full: that is a refusal too.
            Err(error) => {
                println!("after {}: {error}", parked.len());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if parked.len() % 1000 == 0 {
            assert!(matches!(timed(&mut known, &Request::Ping).0, Reply::Pong(_)));
        }
        assert!(begun.elapsed() < 5 * PATIENCE, "{} of {size}", parked.len());
    }
    println!("{size} connections in {:?}", begun.elapsed());
    let (reply, took) = timed(&mut known, &Request::Status);
    assert!(matches!(reply, Reply::Status(_)));
    println!("status meanwhile: {took:?}");
    assert!(proc::fd_count(daemon.pid()) < before + 300, "no more than the limit and a few");
    let taken = memory(&daemon);
    assert!(taken <= MEMORY_MAX, "{taken} KiB with {size} connections");
    assert!(worker.is_alive());
    drop(parked);
    // A few for the spares that have come meanwhile.
    assert!(eventually(PATIENCE, || proc::fd_count(daemon.pid()) < before + 50));
    assert_eq!(value(daemon.context().process::<square>((3,))), 9);
    worker.kill().unwrap();
    worker.join();
}

#[test]
fn ten_thousand_parked_connections_harm_nobody() {
    crowd(10_000);
}
