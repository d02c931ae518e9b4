//! The guard around a private daemon: what it promises to every other test.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

use mpserverd_tests::build::artifacts;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::{eventually, proc};
use serde_json::json;
use std::time::Duration;

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

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
