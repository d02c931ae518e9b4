//! The guard around a private daemon: what it promises to every other test.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

use mpserverd_tests::build::artifacts;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::{eventually, proc};
use serde_json::json;
use std::time::Duration;

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn start() -> Daemon {
    let module = artifacts().misbehave.to_string_lossy();
    Daemon::start(&["--preload", &module, "--log-level", "debug"])
}

/// A worker that sleeps for a minute.
fn sleeper(daemon: &Daemon) -> mp::Process<serde_json::Value> {
    let context = daemon.context().with_modules([""; 0]);
    context.process_named("misbehave.sleep_ms", &[json!(60_000)]).start().unwrap()
}

#[test]
fn a_stopped_daemon_ends_well_and_can_start_again() {
    let mut daemon = start();
    let context = daemon.context().with_modules([""; 0]);
    let echo = || context.process_named("misbehave.echo", &[json!("hi")]).start().unwrap();
    assert_eq!(echo().result_timeout(PATIENCE).unwrap(), json!("hi"));
    assert!(eventually(PATIENCE, || proc::no_zombies_below(daemon.pid())));
    assert!(daemon.stop().success(), "{}", daemon.log());
    daemon.restart();
    assert_eq!(echo().result_timeout(PATIENCE).unwrap(), json!("hi"));
}

#[test]
fn a_dropped_guard_takes_everything_with_it() {
    let mut daemon = start();
    let worker = sleeper(&daemon);
    assert!(daemon.descendants().contains(&worker.pid()));
    daemon.kill();
    let remains = daemon.remains();
    assert!(remains.contains(&worker.pid()), "{remains:?}");
    drop(daemon);
    assert!(remains.iter().all(|pid| !proc::is_running(*pid)));
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let error = Daemon::try_start(&["--no-such-option"], &[]).unwrap_err();
    assert!(error.contains("exit status: 100") && error.contains("--no-such-option"), "{error}");
}

/// A module's copy of the library is part of its host's process: it has its name and parent, and
/// what it starts comes from the same template.
#[test]
fn a_module_starts_processes_in_its_own_template() {
    type Family = Vec<(String, u32, u32, u32)>;
    let daemon = start();
    let context = daemon.context().with_modules([""; 0]);
    let process = context.process_named("misbehave.family", &[json!(2)]).name("elder").start();
    let family = process.unwrap().result_timeout(PATIENCE).unwrap();
    let family = serde_json::from_value::<Family>(family).unwrap();
    assert_eq!(family.len(), 3);
    assert_eq!(family[0].0, "elder");
    assert_eq!(family[0].2, std::process::id());
    for pair in family.windows(2) {
        assert_eq!(pair[1].2, pair[0].1, "the parent is who asked: {family:?}");
        assert_eq!(pair[1].3, pair[0].3, "one template for all: {family:?}");
    }
}
