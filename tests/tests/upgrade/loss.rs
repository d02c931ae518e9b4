//! Workers and starts in flight, through upgrades of the daemon and through its death.

use super::{copy, double, hold, upgraded};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Clients that start workers all the time.
const CLIENTS: u64 = 4;

/// Sleeping workers, of which each knows the code that it will exit with.
struct Sleepers {
    wake: mp::Event,
    all: Vec<(mp::Process<()>, i32)>,
}

impl Sleepers {
    fn start(context: &mp::Context, count: i32) -> Self {
        let wake = context.event().unwrap();
        let start = |at: i32| {
            let code = at % 100;
            let process = context.process::<hold>((wake.clone(), code)).start().unwrap();
            (process, code)
        };
        let all = (0..count).map(start).collect();
        Self { wake, all }
    }

    /// All of them still run; woken, each ends with its own code.
    fn end(self) {
        let running = self.all.iter().filter(|(process, _)| process.is_alive()).count();
        assert_eq!(running, self.all.len(), "a worker was lost");
        self.wake.set();
        for (process, code) in &self.all {
            let ended = process.join_timeout(PATIENCE);
            assert_eq!(ended, Some(*code), "{process:?}: {:?}", process.ending());
        }
    }
}

/// Starts and joins until told to stop; gives how long each start took.
fn client(context: &mp::Context, stop: &AtomicBool) -> Vec<Duration> {
    let mut gaps = Vec::new();
    let mut x = 0;
    while !stop.load(Ordering::Relaxed) {
        x += 1;
        let begun = Instant::now();
        let process = context.process::<double>((x,)).start();
        let process = process.unwrap_or_else(|error| panic!("start {x}: {error}"));
        gaps.push(begun.elapsed());
        assert_eq!(process.result_timeout(PATIENCE).unwrap(), 2 * x);
        assert_eq!(process.join_timeout(PATIENCE), Some(0), "{:?}", process.ending());
        std::thread::sleep(Duration::from_millis(1));
    }
    gaps
}

/// Does something to the daemon so many times, at random moments, under clients that start and
/// join, and with workers that sleep through all of it.
fn endure(
    what: &str,
    workers: i32,
    rounds: u64,
    mut daemon: Daemon,
    mut happen: impl FnMut(&mut Daemon, u64),
) {
    let context = daemon.context();
    let sleepers = Sleepers::start(&context, workers);
    let mut moments = Moments::of(seeds::any());
    let stop = AtomicBool::new(false);
    let mut gaps = std::thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| scope.spawn(|| client(&context, &stop)));
        let clients = clients.collect::<Vec<_>>();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds {
                std::thread::sleep(Duration::from_millis(50 + moments.below(150)));
                happen(&mut daemon, round);
            }
            std::thread::sleep(Duration::from_millis(200));
        }));
        stop.store(true, Ordering::Relaxed);
        let gaps = clients.into_iter().flat_map(|client| client.join().unwrap());
        let gaps = gaps.collect::<Vec<_>>();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        gaps
    });
    sleepers.end();
    gaps.sort_unstable();
    let at = |part: usize| gaps[(gaps.len() - 1) * part / 100];
    let (p50, p99, max) = (at(50), at(99), at(100));
    let starts = gaps.len();
    println!(
        "{rounds} times {what}, {workers} workers, {starts} starts: a start took {p50:?} (p50), \
         {p99:?} (p99), {max:?} (max)"
    );
    assert!(daemon.stop().success(), "{}", daemon.log());
}

fn daemon() -> Daemon {
    Daemon::start(&["--spares", "4..32", "--max-workers", "5000", "--stop-policy", "kill"])
}

fn upgrades(workers: i32, rounds: u64) {
    let daemon = daemon();
    let new = copy(&daemon, "mpserverd-new");
    let pid = daemon.pid();
    endure("upgraded", workers, rounds, daemon, |daemon, round| {
        // To another file first, then to what that file has become.
        if round == 0 {
            return upgraded(daemon, Some(&new));
        }
        copy(daemon, "mpserverd-new");
        upgraded(daemon, None);
        assert_eq!(daemon.pid(), pid);
    });
}

fn deaths(workers: i32, rounds: u64) {
    endure("killed", workers, rounds, daemon(), |daemon, _| {
        daemon.kill();
        daemon.restart();
    });
}

#[test]
fn upgrades_lose_nothing() {
    upgrades(100, seeds::count(3));
}

#[test]
fn deaths_of_the_daemon_lose_nothing() {
    deaths(100, seeds::count(3));
}

#[test]
#[ignore = "long: a thousand workers through a hundred upgrades"]
fn many_upgrades_lose_nothing() {
    upgrades(1000, seeds::count(100));
}

#[test]
#[ignore = "long: a thousand workers through a hundred deaths of the daemon"]
fn many_deaths_of_the_daemon_lose_nothing() {
    deaths(1000, seeds::count(100));
}
