//! What is counted.

use super::*;
use crate::core::measures::{Counts, Gauges, SLOTS_MAX};

fn row(bench: &Bench, name: &str) -> (Counts, Gauges) {
    let snapshot = bench.core.snapshot();
    let row = snapshot.rows.iter().find(|row| row.name == name);
    row.map(|row| (row.counts, row.gauges)).unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn starts_forks_and_ends_are_counted() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let mut workers = Vec::new();
    for _ in 0..3 {
        let (_, mut actions) = bench.lease(S, pool);
        actions.extend(bench.come_up(&actions.clone()));
        workers.extend(granted(&actions).into_iter().map(|(_, grant)| grant.worker));
    }
    assert_eq!(workers.len(), 3);
    for (worker, code) in workers.iter().zip([0, 7, -9]) {
        bench.end_with(*worker, code);
    }
    let (counts, gauges) = row(&bench, "p");
    assert_eq!((counts.starts, counts.spare_hits), (3, 2));
    assert_eq!(counts.ends, [1, 1, 1, 0]);
    assert_eq!(bench.core.snapshot().deaths, [("itself", 2), ("unknown", 1)]);
    assert_eq!((counts.builds, counts.failures), (1, 0));
    assert_eq!((gauges.workers, gauges.states), (0, [0, 1, 0, 0]));
    assert_eq!(counts.forks, gauges.spares + 3);
    let snapshot = bench.core.snapshot();
    assert_eq!(snapshot.queue_wait.count(), 3);
    assert_eq!(snapshot.fork.count(), counts.forks);
    assert_eq!(snapshot.load.count(), 1);
}

#[test]
fn a_wait_and_a_fork_take_their_time() {
    let none = Settings { spares_min: 0, spares_max: 0, ..Settings::default() };
    let (mut bench, pool, _) = Bench::serving(none);
    let (_, actions) = bench.lease(S, pool);
    bench.wait(ms(30));
    bench.come_up(&actions);
    let snapshot = bench.core.snapshot();
    assert_eq!((snapshot.queue_wait.sum(), snapshot.fork.sum()), (ms(30), ms(30)));
}

#[test]
fn failures_are_counted_where_they_happen() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let actions = bench.fail(built(&actions)[0], "alpha");
    let template = built(&actions)[0];
    let actions = bench.ready(template);
    let missing = forks(&actions);
    bench.tell(Event::ForkFailed { template, missing, message: String::new() });
    let (counts, _) = row(&bench, "p");
    assert_eq!((counts.builds, counts.failures), (2, 1));
    assert_eq!((counts.forks, counts.fork_failures), (0, u64::from(missing)));
    assert_eq!(bench.core.snapshot().fork.count(), 0);
}

#[test]
fn reloads_are_counted_by_their_end() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    for spares in [true, false] {
        let (origin, settings) = (None, Settings::default());
        let preload = vec![warn("p")];
        let new = built(&bench.tell(Event::Configured { origin, settings, preload }))[0];
        if spares {
            bench.ready_with_spares(new);
        } else {
            bench.fail(new, "alpha");
        }
    }
    assert_eq!(bench.core.snapshot().reloads, (1, 1));
}

#[test]
fn names_of_clients_are_bounded() {
    let settings = Settings { templates_max: 1000, ..Settings::default() };
    let (mut bench, _) = Bench::new(settings, vec![warn("p")]);
    for n in 0..200 {
        bench.open(warn(&format!("program-{n}")));
    }
    let snapshot = bench.core.snapshot();
    assert_eq!(snapshot.rows.len(), SLOTS_MAX + 1);
    let loading: u64 = snapshot.rows.iter().map(|row| row.gauges.states[0]).sum();
    assert_eq!(loading, 201, "and nothing is left out");
}
