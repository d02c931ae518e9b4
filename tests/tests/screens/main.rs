//! What an operator sees of a daemon: `top`, `explain`, `logs`, `ps`, what `--json` promises, and
//! what all of them say when there is no daemon, or another than they expect.
#![cfg(target_os = "linux")]

mod errors;
mod explain;
mod journal;
mod logs;
mod ps;
mod schemas;
mod terminal;
mod top;

mp::enable_in_tests!();

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;

/// Waits for ever.
#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// A worker that sleeps, under this name, seen to do so.
fn sleeper(daemon: &Daemon, name: &str) -> mp::Process<()> {
    let process = daemon.context().process::<sleep_for_ever>(()).name(name).start();
    let process = process.expect("a worker");
    // It has its name, and says what it runs, a moment after it was started.
    let seen = eventually(PATIENCE, || {
        let report = json(daemon, &["ps", "--task", "sleep_for_ever"]);
        let mut rows = report["workers"].as_array().into_iter().flatten();
        rows.any(|row| row["process"]["name"] == name)
    });
    assert!(seen, "{name} never came up");
    process
}

/// What a command prints as JSON.
fn json(daemon: &Daemon, arguments: &[&str]) -> serde_json::Value {
    let output = daemon.mpctl(&[&["--json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text} {output:?}"))
}

/// What a command prints.
fn text(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.mpctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}
