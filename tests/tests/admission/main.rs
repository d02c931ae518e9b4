//! Who is let in: penalties for clients that misbehave, early refusals of greedy users, and what
//! the client library makes of both. Everybody here is the user who runs the daemon, who is not
//! exempt in these configurations.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

use mp::{DaemonError, Fallback, Refusal, StartError};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}

#[mp::task]
fn wait_for(go: mp::Event) {
    assert!(go.wait(Some(PATIENCE)));
}

fn host(tables: &str, arguments: &[&str]) -> (Daemon, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mpserverd.toml");
    std::fs::write(&file, tables).unwrap();
    let arguments = [&["--config", file.to_str().unwrap()], arguments].concat();
    (Daemon::start(&arguments), folder)
}

/// Says something that is no hello, and waits until that is noticed.
fn talk_nonsense(daemon: &Daemon) {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = stream.read(&mut [0; 16]);
}

fn refusal(daemon: &Daemon) -> Option<Refusal> {
    let builder = daemon.context().process::<square>((7,));
    match builder.start_timeout(Duration::from_millis(1)).start() {
        Err(StartError::Daemon(DaemonError::Refused(refusal))) => Some(refusal),
        _ => None,
    }
}

#[test]
fn misbehaviour_is_penalised_shown_and_over_after_a_while() {
    let (daemon, _folder) = host(
        "[admission]\nexempt = []\npenalty = '500ms'\npenalty_min = '2s'\npenalty_max = '2s'\n",
        &[],
    );
    assert_eq!(value(daemon.context().process::<square>((7,))), 49);
    for _ in 0..2 {
        talk_nonsense(&daemon);
    }
    assert_eq!(value(daemon.context().process::<square>((7,))), 49, "two are only noted");
    talk_nonsense(&daemon);
    let mut told = None;
    assert!(eventually(PATIENCE, || {
        told = refusal(&daemon);
        told.is_some()
    }));
    let Some(Refusal::Penalised { uid, why, retry_after_ms }) = told else { panic!("{told:?}") };
    assert_eq!(uid, nix::unistd::geteuid().as_raw());
    assert!(why.contains("does not speak") && (1..=2000).contains(&retry_after_ms), "{why}");
    let status = daemon.mpctl(&["status"]);
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(shown.contains(&format!("uid {uid}: ")) && shown.contains("3 times"), "{shown}");
    // The library waits as it was told, and is let in then.
    let begun = Instant::now();
    assert_eq!(value(daemon.context().process::<square>((7,))), 49);
    println!("let in after {:?}", begun.elapsed());
}

#[test]
fn who_may_spawn_does_so_soon() {
    let (daemon, _folder) = host(
        "[admission]\nexempt = []\npenalty = '10m'\npenalty_min = '0s'\npenalty_max = '10m'\n",
        &[],
    );
    talk_nonsense(&daemon);
    assert!(eventually(PATIENCE, || refusal(&daemon).is_some()));
    let context = daemon.context().with_fallback(Fallback::Spawn);
    assert_eq!(value(context.process::<square>((8,))), 64);
    // Its workers were not the daemon's.
    let refused = refusal(&daemon).unwrap();
    assert!(matches!(refused, Refusal::Penalised { .. }), "{refused}");
}

#[test]
fn the_daemons_own_user_is_exempt_unless_configured_otherwise() {
    let (daemon, _folder) = host("[admission]\npenalty = '10m'\npenalty_min = '0s'\n", &[]);
    for _ in 0..5 {
        talk_nonsense(&daemon);
    }
    assert_eq!(value(daemon.context().process::<square>((7,))), 49);
    let status = daemon.mpctl(&["--json", "status"]);
    let report: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(report["penalties"], serde_json::json!([]));
}

/// With one place, and no request that may wait: who comes meanwhile is refused, comes again by
/// itself, and is served when the place is free.
#[test]
fn an_early_refusal_is_tried_again() {
    let tables = "[admission]\nexempt = []\nearly_refusal = '0:100:1'\n";
    let (daemon, _folder) = host(tables, &["--max-workers", "1"]);
    // The first ones wait for their template, which is what is refused: until it is there.
    assert_eq!(value(daemon.context().process::<square>((2,))), 4);
    let go = mp::Event::new().unwrap();
    let first = daemon.context().process::<wait_for>((go.clone(),)).start().unwrap();
    let second = {
        let context = daemon.context();
        #[allow(clippy::disallowed_methods, reason = "two starts at the same time")]
        std::thread::spawn(move || value(context.process::<square>((3,))))
    };
    let refused = || {
        let status = daemon.mpctl(&["--json", "status"]);
        let report: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        report["refused"].as_u64().unwrap()
    };
    let before = refused();
    assert!(eventually(PATIENCE, || refused() >= before + 2), "it is not tried again");
    assert!(!second.is_finished());
    go.set();
    outcome(&first).unwrap();
    assert_eq!(end(&first), 0);
    assert_eq!(second.join().unwrap(), 9);
}
