//! Two daemons at one socket: the second is refused, and told who the first is.

use super::{copy, upgraded};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::program;

/// Another daemon at the same socket; gives what it says before it gives up.
fn second(daemon: &Daemon) -> String {
    let path = &mpserverd_tests::build::artifacts().mpserverd;
    let output = program::command(path, daemon.directory())
        .arg("--socket")
        .arg(daemon.socket())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(111));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_second_daemon_is_refused_with_the_pid_of_the_first() {
    let daemon = Daemon::start(&[]);
    let named = format!("another mpserverd (pid {}) serves", daemon.pid());
    let said = second(&daemon);
    assert!(said.contains(&named) && said.contains(daemon.socket().to_str().unwrap()), "{said}");
    upgraded(&daemon, Some(&copy(&daemon, "new")));
    let said = second(&daemon);
    assert!(said.contains(&named), "after an upgrade: {said}");
    assert!(daemon.connect().path().exists());
}
