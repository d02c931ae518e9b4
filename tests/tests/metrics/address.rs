//! Where metrics are read: on this machine unless it is said twice, and as a reload wants it.

use crate::{address, exchange, scrape};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use std::net::TcpStream;

const HEALTH: &str = "GET /healthz HTTP/1.0\r\n\r\n";

/// A daemon with this configuration, which can be changed. It has started up: until then its health
/// is another answer than the one that is asked for here.
fn daemon(folder: &tempfile::TempDir, text: &str) -> Daemon {
    let file = folder.path().join("mpserverd.toml");
    std::fs::write(&file, text).unwrap();
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    let ready = || daemon.log().contains("actions: ready failed=");
    assert!(eventually(PATIENCE, ready), "{}", daemon.log());
    daemon
}

fn reload(daemon: &Daemon, folder: &tempfile::TempDir, text: &str) -> Result<(), String> {
    std::fs::write(folder.path().join("mpserverd.toml"), text).unwrap();
    let output = daemon.mpctl(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn nothing_listens_unless_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&folder, "");
    assert!(daemon.mpctl(&["metrics"]).status.success());
    assert!(!daemon.log().contains("metrics over HTTP"));
}

#[test]
fn others_may_read_only_if_it_is_said_twice() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&folder, "metrics_address = '127.0.0.1:0'\n");
    let private = address(&daemon);
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let error = reload(&daemon, &folder, &format!("metrics_address = '{open}'\n")).unwrap_err();
        assert!(error.contains("mpserverd.toml:1:19: `metrics_address`"), "{error}");
        assert!(error.contains("`metrics_public = true` too"), "{error}");
        assert!(exchange(private, HEALTH).ends_with("ok\n"), "everything is as it was");
    }
    let public = "metrics_address = '0.0.0.0:0'\nmetrics_public = true\n";
    reload(&daemon, &folder, public).unwrap();
    let told = address(&daemon);
    assert!(told.ip().is_unspecified());
    scrape(([127, 0, 0, 1], told.port()).into());
}

#[test]
fn a_reload_moves_it_or_leaves_it_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&folder, "metrics_address = '127.0.0.1:0'\n");
    let first = address(&daemon);
    reload(&daemon, &folder, "metrics_address = '127.0.0.1:0'\ngrace = '1s'\n").unwrap();
    assert_eq!(address(&daemon), first, "the same words are the same place");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("metrics_address = '{}'\n", taken.local_addr().unwrap());
    let error = reload(&daemon, &folder, &text).unwrap_err();
    assert!(error.contains("Address already in use"), "{error}");
    assert!(exchange(first, HEALTH).ends_with("ok\n"));

    // Bound already when something else fails.
    let broken = "metrics_address = '127.0.0.2:0'\npreload = ['/dev/null/x']\n";
    let broken = format!("{broken}on_preload_error = 'fail'\n");
    assert!(reload(&daemon, &folder, &broken).is_err());
    assert!(exchange(first, HEALTH).ends_with("ok\n"));

    reload(&daemon, &folder, "metrics_address = '[::1]:0'\n").unwrap();
    let moved = address(&daemon);
    assert!(moved.is_ipv6());
    scrape(moved);
    assert!(TcpStream::connect(first).is_err(), "nothing is left of the old place");

    reload(&daemon, &folder, "").unwrap();
    assert!(TcpStream::connect(moved).is_err());
}

#[test]
fn a_place_that_is_taken_is_a_reason_not_to_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = Daemon::try_start(&["--metrics-address", &address], &[]).unwrap_err();
    assert!(error.contains("exit status: 111"), "{error}");
    assert!(error.contains(&format!("cannot listen on {address}: Address already in use")));
}
