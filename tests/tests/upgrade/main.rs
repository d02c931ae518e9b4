//! The daemon goes on as another program, or dies and is followed by the next: nobody loses a
//! worker, an exit code or an answer.
//!
//! | file | holds |
//! |---|---|
//! | `loss.rs` | workers and starts in flight through upgrades and through `kill -9` |
//! | `refused.rs` | new programs that are none, and upgrades at the wrong moment |
//! | `carried.rs` | what stays the same: ids, counters, waiting requests, half-sent frames, files |
//! | `crash.rs` | what the next daemon knows after a crash |
//! | `alone.rs` | two daemons at one socket |
#![cfg(target_os = "linux")]

mod alone;
mod carried;
mod crash;
mod loss;
mod refused;

mp::enable_in_tests!();

use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::report::{ProcessFilter, ProcessesReport, StatusReport};
use mpserverd_tests::build::artifacts;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::program;
use std::path::{Path, PathBuf};
use std::process::Output;

#[mp::task]
fn double(x: u64) -> u64 {
    2 * x
}

/// Waits for the event, then exits with this code.
#[mp::task]
fn hold(until: mp::Event, code: i32) {
    until.wait(None);
    std::process::exit(code)
}

/// A copy of the daemon's program in the daemon's directory.
fn copy(daemon: &Daemon, name: &str) -> PathBuf {
    let path = daemon.directory().join(name);
    let fresh = daemon.directory().join("fresh");
    program::copy(&artifacts().mpserverd, &fresh);
    std::fs::rename(&fresh, &path).unwrap();
    path
}

fn upgrade(daemon: &Daemon, binary: Option<&Path>) -> Output {
    let mut words = vec!["upgrade"];
    if let Some(path) = binary {
        words.extend(["--binary", path.to_str().unwrap()]);
    }
    daemon.mpctl(&words)
}

/// An upgrade that must come about.
fn upgraded(daemon: &Daemon, binary: Option<&Path>) {
    let output = upgrade(daemon, binary);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{}", daemon.log());
}

/// An upgrade that must not come about: gives what is said.
fn refused(daemon: &Daemon, binary: Option<&Path>) -> String {
    let output = upgrade(daemon, binary);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(111), "{said}");
    assert!(said.contains("everything is as it was"), "{said}");
    said
}

fn ask(daemon: &Daemon, request: &Request) -> Reply {
    daemon.connect().call(request, &[], None).unwrap().0
}

fn status(daemon: &Daemon) -> StatusReport {
    match ask(daemon, &Request::Status) {
        Reply::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

fn processes(daemon: &Daemon) -> ProcessesReport {
    match ask(
        daemon,
        &Request::Processes { after: None, limit: 10_000, filter: ProcessFilter::default() },
    ) {
        Reply::Processes(processes) => processes,
        other => panic!("{other:?}"),
    }
}
