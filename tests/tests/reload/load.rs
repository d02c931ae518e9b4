//! Reloads while starts come as fast as they can: none fails, none is lost, none waits for a fork
//! because of a reload.

use crate::Host;
use mpserverd_tests::load::{Clients, Sleepers, under};
use mpserverd_tests::seeds;
use mpserverd_tests::suite::PATIENCE;
use std::time::{Duration, Instant};

fn reloads_under_load(sleepers: usize, clients: Clients, reloads: u64) {
    let spares = "spares = '8..128'\nmax_workers = 5000\n";
    let host = Host::start(spares, &[]);
    host.serves();
    let context = host.daemon.context();
    let asleep = Sleepers::start(&context, sleepers);
    let begun = Instant::now();
    let record = under(&context, clients, |stage| {
        for round in 0..reloads {
            // Not a reload of a daemon at rest.
            std::thread::sleep(Duration::from_millis(250));
            if stage.is_over() {
                break;
            }
            let refill = if round % 2 == 0 { "refill_delay = '2ms'\n" } else { "" };
            host.configure(&format!("{spares}{refill}"));
            let generation = stage.event(|| host.reload());
            let generation = generation.unwrap_or_else(|error| panic!("{round}: {error}"));
            assert_eq!(generation, round + 2);
        }
    });
    let took = begun.elapsed();
    println!(
        "{reloads} reloads in {took:?}, {sleepers} workers asleep, {} clients, {:.0} starts a \
         second\n{}",
        clients.count,
        record.starts() as f64 / took.as_secs_f64(),
        record.table("reload")
    );
    assert_eq!(record.gaps().len() as u64, reloads);
    assert_eq!(host.generation(), reloads + 1);
    let metrics = host.daemon.mpctl(&["metrics"]);
    let text = String::from_utf8(metrics.stdout).unwrap();
    let refused = text.lines().filter(|line| line.starts_with("mpserverd_refusals_total"));
    for line in refused {
        assert!(line.ends_with(" 0") || line.contains("cancelled"), "{line}");
    }
    asleep.end();
    // What is left of old generations leaves.
    let alone = || host.status()["templates"].as_array().unwrap().len() == 2;
    assert!(mpserverd_tests::eventually(PATIENCE, alone), "{}", host.status());
}

#[test]
fn no_start_fails_whatever_is_reloaded() {
    reloads_under_load(20, Clients { count: 4, pause: Duration::ZERO }, seeds::count(10));
}

#[test]
#[ignore = "long: a thousand workers and a hundred starts in flight, a hundred reloads"]
fn no_start_fails_in_a_hundred_reloads() {
    reloads_under_load(1000, Clients { count: 100, pause: Duration::ZERO }, seeds::count(100));
}

#[test]
#[ignore = "long: what a start feels of a hundred reloads where a spare is there"]
fn reloads_are_hardly_felt() {
    let few = Clients { count: 2, pause: Duration::from_millis(5) };
    reloads_under_load(1000, few, seeds::count(100));
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
