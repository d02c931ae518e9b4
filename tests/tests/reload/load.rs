//! Reloads while starts come as fast as they can: none fails, none is lost, none waits for a fork
//! because of a reload.

use crate::{Host, square};
use mpserverd_tests::seeds;
use mpserverd_tests::suite::PATIENCE;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 4;

/// What a client has seen.
#[derive(Debug, Default)]
struct Seen {
    starts: AtomicU64,
    /// The longest time from a start to its result, in microseconds.
    longest: AtomicU64,
}

/// Starts one worker after the other until told to end. The first error is a failure.
fn hammer(context: &mp::Context, seen: &Seen, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let number = seen.starts.fetch_add(1, Ordering::Relaxed);
        let process = context.process::<square>((number,)).start();
        let process = process.unwrap_or_else(|error| panic!("start {number}: {error}"));
        let squared = process.result_timeout(PATIENCE);
        let squared = squared.unwrap_or_else(|error| panic!("result {number}: {error}"));
        assert_eq!(squared, number.wrapping_mul(number));
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap();
        seen.longest.fetch_max(took, Ordering::Relaxed);
    }
}

fn reloads_under_load(reloads: u64) {
    let host = Host::start("spares = '8..32'\n", &[]);
    let (seen, over) = (Seen::default(), AtomicBool::new(false));
    host.serves();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let end = OnDrop(&over);
                hammer(&host.daemon.context(), &seen, &over);
                drop(end);
            });
        }
        let end = OnDrop(&over);
        for round in 0..reloads {
            let refill = if round % 2 == 0 { "refill_delay = '2ms'\n" } else { "" };
            host.configure(&format!("spares = '8..32'\n{refill}"));
            let before = seen.starts.load(Ordering::Relaxed);
            let generation = host.reload().unwrap_or_else(|error| panic!("{round}: {error}"));
            assert_eq!(generation, round + 2);
            // Not a reload of a daemon at rest.
            let going_on = || seen.starts.load(Ordering::Relaxed) > before + CLIENTS;
            assert!(
                over.load(Ordering::Relaxed) || mpserverd_tests::eventually(PATIENCE, going_on)
            );
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        drop(end);
    });
    let (starts, took) = (seen.starts.into_inner(), begun.elapsed());
    let longest = Duration::from_micros(seen.longest.into_inner());
    println!(
        "{reloads} reloads in {took:?}, {:.0} starts a second, the longest took {longest:?}",
        starts as f64 / took.as_secs_f64()
    );
    assert_eq!(host.generation(), reloads + 1);
    let metrics = host.daemon.mpctl(&["metrics"]);
    let text = String::from_utf8(metrics.stdout).unwrap();
    let refused = text.lines().filter(|line| line.starts_with("mpserverd_refusals_total"));
    for line in refused {
        assert!(line.ends_with(" 0") || line.contains("cancelled"), "{line}");
    }
    println!(
        "{}",
        text.lines()
            .filter(|l| l.starts_with("mpserverd_queue_wait"))
            .fold(String::new(), |all, line| all + line + "\n")
    );
    // What is left of old generations leaves.
    let alone = || host.status()["templates"].as_array().unwrap().len() == 2;
    assert!(mpserverd_tests::eventually(PATIENCE, alone), "{}", host.status());
}

/// Tells the others to end, also when its owner panics.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_start_fails_whatever_is_reloaded() {
    reloads_under_load(seeds::count(10));
}

#[test]
#[ignore = "long: a hundred reloads under load"]
fn no_start_fails_in_a_hundred_reloads() {
    reloads_under_load(seeds::count(100));
}

#[test]
fn the_first_start_after_a_reload_finds_a_spare() {
    let host = Host::start("spares = '4..4'\n", &[]);
    host.serves();
    for round in 0..10 {
        let hits = || -> (u64, u64) {
            let status = host.status();
            let rows = status["templates"].as_array().unwrap();
            let sum = |key: &str| rows.iter().map(|row| row[key].as_u64().unwrap()).sum();
            (sum("starts"), sum("spare_hits"))
        };
        let before = hits();
        let generation = host.reload().unwrap();
        assert_eq!(generation, round + 2);
        // Asked before anybody else can be served: its spares are those from before the switch.
        let ready = host.templates(generation, "ready");
        assert_eq!(ready.len(), 2);
        assert!(ready.iter().all(|row| row["spares"].as_u64() >= Some(1)), "{ready:?}");
        host.serves();
        let after = hits();
        assert!(after.0 > before.0);
        assert_eq!(after.0 - before.0, after.1 - before.1, "a start that waited for a fork");
    }
}
