//! `mpctl logs`: what was, and what follows.

use crate::{sleeper, text};
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::limits::{LOG_FOLLOWERS_MAX, LOG_RECORDS_MAX};
use mpserverd_proto::record::{LogLevel, LogReport};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{build, eventually};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

fn ask(connection: &mut Connection, after: Option<u64>, wait_ms: u32) -> LogReport {
    // Nothing is that important while a test waits for nothing.
    let level = if wait_ms > 0 { LogLevel::Error } else { LogLevel::Trace };
    let request = Request::Logs { after, limit: 10, level, wait_ms };
    match connection.call(&request, &[], Some(Instant::now() + PATIENCE)) {
        Ok((Reply::Logs(report), _)) => report,
        other => panic!("{other:?}"),
    }
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_last_records_by_number_and_level() {
    let daemon = Daemon::start(&[]);
    let lines = text(&daemon, &["logs"]);
    assert!(lines.contains(" INFO ") && lines.contains("listening"), "{lines}");
    assert_eq!(text(&daemon, &["logs", "-n", "1"]).lines().count(), 1);
    assert_eq!(text(&daemon, &["logs", "-n", "0"]), "");
    assert_eq!(text(&daemon, &["logs", "--level", "error"]), "");
    for line in text(&daemon, &["--json", "logs"]).lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(record["number"].is_u64() && record["fields"].is_object(), "{record}");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
fn a_follower_hears_what_happens_and_the_end() {
    let mut daemon = Daemon::start(&["--log-level", "debug"]);
    let mut command = Command::new(&build::artifacts().mpctl);
    command.arg("--socket").arg(daemon.socket()).args(["--json", "logs", "-f", "-n", "1"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut follower = Running(child.expect("mpctl runs"));
    let mut lines = BufReader::new(follower.0.stdout.take().expect("piped")).lines();
    let mut hear = |message: &str| loop {
        let line = lines.next().unwrap_or_else(|| panic!("`{message}` was never said"));
        let record: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        if record["message"].as_str().is_some_and(|said| said.contains(message)) {
            return record;
        }
    };
    // The one record of the past; from then on nothing is missed.
    hear("");
    let process = sleeper(&daemon, "logged");
    let record = hear("template started");
    assert!(record["fields"]["template"].as_str().is_some_and(|t| t.starts_with('t')));
    process.kill().unwrap();
    process.join();
    assert!(daemon.mpctl(&["reload"]).status.success());
    hear("reloading");
    daemon.stop();
    hear("stopping on");
    assert!(eventually(PATIENCE, || follower.0.try_wait().expect("a child").is_some()));
    assert_eq!(follower.0.wait().expect("ended").code(), Some(111), "the daemon is gone");
}

#[test]
fn who_waits_is_answered_in_time_and_costs_the_others_nothing() {
    let daemon = Daemon::start(&[]);
    let mut connection = daemon.connect();
    let last = ask(&mut connection, None, 0).after;
    let begun = Instant::now();
    let nothing = ask(&mut connection, Some(last), 300);
    assert!(begun.elapsed().as_millis() >= 300, "it did not wait");
    assert!(nothing.records.is_empty() && nothing.after >= last && nothing.lost == 0);

    // Requests that wait for records are bounded, can be taken back, and go with their client.
    let wait =
        Request::Logs { after: Some(last), limit: 1, level: LogLevel::Error, wait_ms: 60_000 };
    let mut greedy = daemon.connect();
    let ids: Vec<_> =
        (0..=LOG_FOLLOWERS_MAX).map(|_| greedy.post(&wait, &[], None).expect("posted")).collect();
    let refused = greedy.wait(ids[LOG_FOLLOWERS_MAX], Some(Instant::now() + PATIENCE));
    assert!(refused.expect_err("too many").to_string().contains("the limit is"));
    greedy.abandon(ids[0]).expect("taken back");
    let again = greedy.post(&wait, &[], None).expect("posted");
    greedy.call(&Request::Ping, &[], None).expect("it answers");
    drop(greedy);
    let free = eventually(PATIENCE, || {
        let id = connection.post(
            &Request::Logs { after: None, limit: 1, level: LogLevel::Info, wait_ms: 0 },
            &[],
            None,
        );
        connection.wait(id.expect("posted"), None).is_ok()
    });
    assert!(free && again.0 > 0);
    assert!(text(&daemon, &["ping"]).contains("mpserverd"));
}

#[test]
fn who_reads_too_slowly_is_told_what_he_missed() {
    let daemon = Daemon::start(&["--log-level", "debug"]);
    let mut connection = daemon.connect();
    let first = ask(&mut connection, None, 0).after;
    // Every client that leaves is a record at this level.
    for _ in 0..LOG_RECORDS_MAX + 200 {
        drop(daemon.connect());
    }
    let mut report = LogReport::default();
    let missed = eventually(PATIENCE, || {
        report = ask(&mut connection, Some(first), 0);
        report.lost > 0
    });
    assert!(missed, "{report:?}");
    assert_eq!(report.records[0].number, first + report.lost + 1);
}
