//! Workers and starts in flight, through upgrades of the daemon and through its death.

use super::{copy, upgraded};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::load::{Clients, Sleepers, Stage, under};
use mpserverd_tests::seeds::{self, Moments};
use std::time::Duration;

/// How much there is to lose.
struct Load {
    /// Workers that sleep through all of it.
    sleepers: usize,
    clients: Clients,
}

const SHORT: Load = Load { sleepers: 100, clients: Clients { count: 8, pause: Duration::ZERO } };
const LONG: Load = Load { sleepers: 1000, clients: Clients { count: 100, pause: Duration::ZERO } };
/// Of whom each finds a spare.
const FEW: Load =
    Load { sleepers: 1000, clients: Clients { count: 2, pause: Duration::from_millis(5) } };

fn daemon() -> Daemon {
    Daemon::start(&["--spares", "8..128", "--max-workers", "5000", "--stop-policy", "kill"])
}

/// Does something to the daemon so many times, at random moments, under clients that start and
/// join, and with workers that sleep through all of it.
fn endure(
    what: &str,
    load: &Load,
    rounds: u64,
    mut daemon: Daemon,
    mut happen: impl FnMut(&mut Daemon, &mut Stage<'_>, u64),
) {
    let context = daemon.context();
    let sleepers = Sleepers::start(&context, load.sleepers);
    let mut moments = Moments::of(seeds::any());
    let record = under(&context, load.clients, |stage| {
        for round in 0..rounds {
            std::thread::sleep(Duration::from_millis(250 + moments.below(150)));
            if stage.is_over() {
                break;
            }
            happen(&mut daemon, stage, round);
        }
    });
    sleepers.end();
    println!(
        "{rounds} times {what}, {} workers asleep, {} clients, {} starts\n{}",
        load.sleepers,
        load.clients.count,
        record.starts(),
        record.table(what)
    );
    assert_eq!(record.gaps().len() as u64, rounds);
    assert!(daemon.stop().success(), "{}", daemon.log());
}

fn upgrades(load: &Load, rounds: u64) {
    let daemon = daemon();
    let new = copy(&daemon, "mpserverd-new");
    let pid = daemon.pid();
    endure("upgraded", load, rounds, daemon, |daemon, stage, round| {
        // To another file first, then to what that file has become.
        if round > 0 {
            copy(daemon, "mpserverd-new");
        }
        let named = Some(&*new).filter(|_| round == 0);
        stage.event(|| upgraded(daemon, named));
        assert_eq!(daemon.pid(), pid);
    });
}

fn deaths(load: &Load, rounds: u64) {
    endure("killed", load, rounds, daemon(), |daemon, stage, _| {
        assert!(!daemon.remains().is_empty());
        stage.event(|| {
            daemon.crash();
            daemon.restart();
        });
    });
}

#[test]
fn upgrades_lose_nothing() {
    upgrades(&SHORT, seeds::count(3));
}

#[test]
fn deaths_of_the_daemon_lose_nothing() {
    deaths(&SHORT, seeds::count(3));
}

#[test]
#[ignore = "long: a thousand workers and a hundred starts in flight, a hundred upgrades"]
fn many_upgrades_lose_nothing() {
    upgrades(&LONG, seeds::count(100));
}

#[test]
#[ignore = "long: a thousand workers and a hundred starts in flight, a hundred deaths of the daemon"]
fn many_deaths_of_the_daemon_lose_nothing() {
    deaths(&LONG, seeds::count(100));
}

#[test]
#[ignore = "long: what a start feels of a hundred upgrades where a spare is there"]
fn upgrades_are_hardly_felt() {
    upgrades(&FEW, seeds::count(100));
}

#[test]
#[ignore = "long: what a start feels of a hundred deaths of the daemon where a spare is there"]
fn deaths_of_the_daemon_are_hardly_felt() {
    deaths(&FEW, seeds::count(100));
}
