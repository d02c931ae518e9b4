//! What the process lacks: a name, a home, streams, a supervisor that listens.

use crate::place::{Place, command, said};
use mpserverd_tests::skip;
use std::process::Stdio;

/// A user of no name, and of no other run of these tests: its folder below `/tmp` is where its
/// number says.
fn nameless() -> u32 {
    1_000_000 + std::process::id()
}

#[test]
fn a_user_without_name_and_home_has_a_daemon() {
    if !nix::unistd::geteuid().is_root() {
        return skip("becoming another user needs root");
    }
    let place = Place::new();
    let (number, uid) = (nameless(), nameless().to_string());
    let as_nobody = |program: &str| {
        let mut command = command("setpriv");
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "env", "-i"]);
        command.arg(place.path(program));
        command
    };
    // No socket is named: both sides come to the same one by themselves.
    let socket = std::path::PathBuf::from(format!("/tmp/mpserverd-{uid}/mpserverd.sock"));
    let mut daemon = as_nobody("mpserverd").stderr(Stdio::piped()).spawn().unwrap();
    let run = |arguments: &[&str]| {
        let mut mpctl = as_nobody("mpctl");
        mpctl.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
    };
    let up = mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || {
        run(&["ping"]).status.success()
    });
    let (bench, doctor) = (run(&["bench", "--starts", "5"]), run(&["--json", "doctor"]));
    let stopped = run(&["stop"]);
    let _ = daemon.kill();
    let daemon = daemon.wait_with_output().unwrap();
    let _ = std::fs::remove_dir_all(socket.parent().unwrap());
    assert!(up && bench.status.success(), "{}{}", said(&bench), said(&daemon));
    let document: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(document["subject"]["uid"], number, "{document}");
    assert_eq!(document["usable"], true, "{document}");
    assert!(stopped.status.success(), "{}", said(&stopped));
}

#[test]
fn without_streams_and_without_a_fork() {
    let place = Place::new();
    let mut shell = command("sh");
    shell.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).arg(place.path("mpserverd"));
    shell.arg("--socket").arg(place.socket());
    let daemon = place.start(shell);
    daemon.works();
    // A supervisor that watches the process it has started watches the right one.
    let status = daemon.mpctl(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["pid"], daemon.pid());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_supervisor_that_never_was_is_said_once() {
    let long = "x".repeat(200);
    for (socket, usec) in [
        ("/no/such/folder/notify", "200000"),
        ("", "200000"),
        ("relative", "nonsense"),
        (&long, "-1"),
        ("@abstract-and-nobody", "18446744073709551616"),
    ] {
        let place = Place::new();
        let log = place.path("log");
        let mut command = place.daemon(&["--log-file", log.to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", usec);
        let daemon = place.start(command);
        daemon.works();
        assert!(daemon.mpctl(&["reload"]).status.success());
        assert_eq!(daemon.stop(), Some(0));
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.matches("NOTIFY_SOCKET").count() <= 1, "{socket}: {log}");
    }
}
