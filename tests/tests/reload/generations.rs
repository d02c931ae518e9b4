//! Old workers finish on the old generation, which `status` shows; so do leases that clients took
//! in advance.

use crate::{Host, sleep_for_ever, square};
use mpserverd_tests::suite::{PATIENCE, value};
use mpserverd_tests::{eventually, proc};

#[test]
fn old_workers_finish_on_the_old_generation() {
    let host = Host::start("", &[]);
    let mut workers = Vec::new();
    for generation in 1..=5 {
        workers.push(host.daemon.context().process::<sleep_for_ever>(()).start().unwrap());
        assert_eq!(host.reload().unwrap(), generation + 1);
    }
    for (generation, worker) in (1..).zip(&workers) {
        let rows = host.templates(generation, "retiring");
        let busy = rows.iter().filter(|row| row["workers"].as_u64() >= Some(1)).count();
        assert_eq!(busy, 1, "generation {generation}: {rows:?}");
        assert!(worker.is_alive());
    }
    let shown = host.daemon.mpctl(&["status"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("retiring"), "people see it too");
    host.serves();
    for worker in workers {
        worker.kill().unwrap();
        assert_eq!(worker.join_timeout(PATIENCE), Some(-9), "its code is not lost");
    }
    let gone = || (1..=5).all(|generation| host.templates(generation, "retiring").is_empty());
    assert!(eventually(PATIENCE, gone), "{}", host.status());
}

#[test]
fn a_lease_in_advance_stays_good() {
    let host = Host::start("spares = '4..4'\n", &[]);
    let context = host.daemon.context();
    // Two starts in a row: the client takes the next worker in advance.
    let start = || value(context.process::<square>((3,)));
    let leased = || -> Vec<u32> {
        let output = host.daemon.mpctl(&["--json", "ps"]);
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = rows["workers"].as_array().unwrap();
        rows.iter().map(|row| u32::try_from(row["pid"].as_u64().unwrap()).unwrap()).collect()
    };
    let mut rounds = 0;
    for _ in 0..20 {
        assert_eq!((start(), start()), (9, 9));
        // The lease is good for a second; a machine that is too busy has let it lapse.
        let before = leased();
        host.reload().unwrap();
        let process = context.process::<square>((5,)).start().unwrap();
        rounds += u64::from(before.contains(&process.pid()));
        assert_eq!(process.result_timeout(PATIENCE).unwrap(), 25);
    }
    println!("{rounds} of 20 were leased before the reload and used after it");
    assert!(rounds > 0);
    assert!(eventually(PATIENCE, || proc::no_zombies_below(host.daemon.pid())));
}
