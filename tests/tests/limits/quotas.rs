//! Limits for workers together: who is too many waits, and is told the limit when that was in vain.

use super::{daemon, daemon_of, nothing, refusal, sleep_for_ever};
use mp::{Refusal, StartError};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use std::time::{Duration, Instant};

fn start(daemon: &Daemon, within: Duration) -> Result<mp::Process<()>, StartError> {
    daemon.context().process::<sleep_for_ever>(()).start_timeout(within).start()
}

/// Why a start waited in vain. Whoever gives up before the daemon has said it, as this process does
/// when the daemon has no turn for a while, asks again.
fn in_vain(daemon: &Daemon, within: Duration) -> Refusal {
    let mut refused = None;
    let told = mpserverd_tests::eventually(PATIENCE, || {
        refused = match start(daemon, within) {
            Err(StartError::Timeout(_)) => None,
            other => Some(refusal(other)),
        };
        refused.is_some()
    });
    assert!(told, "the daemon never says why");
    refused.unwrap()
}

/// Two may run: the third waits until one ends, or is told which limit it waits for.
fn two_at_once(daemon: &Daemon, place: &str) {
    let first = start(daemon, PATIENCE).unwrap();
    let second = start(daemon, PATIENCE).unwrap();
    let began = Instant::now();
    match in_vain(daemon, Duration::from_millis(300)) {
        Refusal::LimitReached { limit, value, set_in, .. } => {
            assert_eq!((&*limit, &*value), ("workers", "2"));
            assert!(set_in.contains(place), "{set_in}");
        }
        other => panic!("{other}"),
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "it waited");
    let third = std::thread::scope(|scope| {
        let third = scope.spawn(|| start(daemon, PATIENCE));
        std::thread::sleep(Duration::from_millis(100));
        first.kill().unwrap();
        third.join().unwrap().unwrap()
    });
    for process in [second, third] {
        process.kill().unwrap();
        process.join();
    }
}

#[test]
fn workers_of_the_host() {
    two_at_once(&daemon(&["workers=2"]), "--limits");
}

#[test]
fn workers_of_a_user() {
    let uid = nix::unistd::geteuid();
    let (daemon, _file) = daemon_of(&format!("[limits.uid.{uid}]\nworkers = 2\n"));
    two_at_once(&daemon, &format!("[limits.uid.{uid}]"));
    let (daemon, _file) =
        daemon_of("[limits.uid.\"*\"]\nworkers = 2\n[limits.uid.99]\nworkers = 1");
    two_at_once(&daemon, "[limits.uid.\"*\"]");
}

#[test]
fn workers_of_a_module() {
    // This program is its own module: by the name of its file.
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let (daemon, _file) = daemon_of(&format!("[limits.module.\"{name}\"]\nworkers = 2\n"));
    two_at_once(&daemon, &format!("[limits.module.\"{name}\"]"));
    let (daemon, _file) = daemon_of("[limits.module.elsewhere]\nworkers = 1\n");
    let all: Vec<_> = (0..3).map(|_| start(&daemon, PATIENCE).unwrap()).collect();
    all.iter().for_each(|process| process.kill().unwrap());
}

#[test]
fn starts_in_a_second() {
    let daemon = daemon(&["starts-per-second=4"]);
    let began = Instant::now();
    for _ in 0..8 {
        let process = daemon.context().process::<nothing>(()).start().unwrap();
        assert_eq!(process.join(), 0);
    }
    // Four at once, then one each quarter of a second.
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
}

#[test]
fn requests_that_wait() {
    let daemon = daemon(&["workers=1", "queue=1"]);
    let running = start(&daemon, PATIENCE).unwrap();
    std::thread::scope(|scope| {
        // Whoever of the two comes second is refused, and tries again.
        let waits = scope.spawn(|| {
            loop {
                match start(&daemon, PATIENCE) {
                    Err(StartError::Daemon(mp::DaemonError::Refused(Refusal::LimitReached {
                        limit,
                        ..
                    }))) if limit == "queue" => {}
                    other => return other,
                }
            }
        });
        let full = mpserverd_tests::eventually(PATIENCE, || {
            match in_vain(&daemon, Duration::from_millis(50)) {
                Refusal::LimitReached { limit, value, .. } if limit == "queue" => value == "1",
                // The other one does not wait yet.
                Refusal::LimitReached { .. } => false,
                other => panic!("{other}"),
            }
        });
        assert!(full, "the queue is never full");
        running.kill().unwrap();
        let waited = waits.join().unwrap().unwrap();
        waited.kill().unwrap();
    });
}

#[test]
fn a_reload_changes_them() {
    let (daemon, folder) = daemon_of("[limits]\nworkers = 1\n");
    let first = start(&daemon, PATIENCE).unwrap();
    in_vain(&daemon, Duration::from_millis(100));
    let file = folder.path().join("mpserverd.toml");
    std::fs::write(&file, "[limits]\nworkers = 2\n").unwrap();
    assert!(daemon.mpctl(&["reload"]).status.success());
    let second = start(&daemon, PATIENCE).unwrap();
    std::fs::write(&file, "[limits]\nworkers = 0\n").unwrap();
    let refused = daemon.mpctl(&["reload"]);
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("mpserverd.toml:2:11") && text.contains("not within"), "{text}");
    for process in [first, second] {
        process.kill().unwrap();
    }
}
