//! Without a daemon, and when it goes away: the same results, and one line about it.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod outsider;

use mp::{DaemonError, Fallback, StartError, StartMethod};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, end, value};
use mpserverd_tests::{build, eventually, proc, program};
use std::path::Path;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}

#[mp::task]
fn parent_pid() -> u32 {
    nix::unistd::getppid().as_raw() as u32
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// Standard output and error of a successful run.
fn run(directory: &Path, arguments: &[&str]) -> (String, String) {
    let output = program::command(SUBJECT, directory).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{err}", output.status);
    (out, err)
}

#[test]
fn without_a_daemon_it_spawns_and_says_so_once() {
    let directory = tempfile::tempdir().unwrap();
    let (out, err) = run(directory.path(), &["squares", "4"]);
    assert_eq!(out, "0\n1\n4\n9\n");
    let lines = err.lines().filter(|line| line.contains("falls back")).collect::<Vec<_>>();
    assert_eq!(lines.len(), 1, "{err}");
    assert!(lines[0].contains("WARN") && lines[0].contains("mpserverd.sock"), "{err}");

    let daemon = Daemon::start(&[]);
    let (served, err) = run(daemon.directory(), &["squares", "4"]);
    assert_eq!(served, out);
    assert!(!err.contains("falls back"), "{err}");
}

#[test]
fn the_policy_fail_names_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nobody.sock");
    let ctx =
        mp::get_context(StartMethod::ForkServer).with_socket(&path).with_fallback(Fallback::Fail);
    match ctx.process::<square>((1,)).start() {
        Err(StartError::Daemon(DaemonError::NotRunning { path: told, .. })) => {
            assert_eq!(told, path);
        }
        other => panic!("{other:?}"),
    }
    let (out, _) = run(directory.path(), &["fail"]);
    assert!(out.starts_with("error: no mpserverd answers at "), "{out}");
}

#[test]
fn a_socket_that_nobody_listens_on_is_no_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let ctx = mp::get_context(StartMethod::ForkServer).with_socket(&path);
    assert_eq!(value(ctx.process::<parent_pid>(())), std::process::id());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "not a socket").unwrap();
    assert_eq!(value(ctx.process::<parent_pid>(())), std::process::id());
}

#[test]
fn a_new_daemon_is_found_after_the_old_one() {
    let mut daemon = Daemon::start(&[]);
    let ctx = daemon.context();
    assert_eq!(value(ctx.process::<square>((3,))), 9);
    let template = value(ctx.process::<parent_pid>(()));
    assert_ne!(template, std::process::id());
    for graceful in [true, false] {
        if graceful {
            let _ = daemon.stop();
        } else {
            daemon.kill();
        }
        daemon.restart();
        // No start in between noticed the end of the first: the connection is replaced.
        assert_eq!(value(ctx.process::<square>((4,))), 16);
        assert_ne!(value(ctx.process::<parent_pid>(())), std::process::id());
    }
}

#[test]
fn without_the_daemon_it_had_it_spawns() {
    let mut daemon = Daemon::start(&[]);
    let ctx = daemon.context().with_fallback(Fallback::Spawn);
    assert_ne!(value(ctx.process::<parent_pid>(())), std::process::id());
    let sleeper = ctx.process::<sleep_for_ever>(()).start().unwrap();
    daemon.kill();
    // The first may still be a worker that was leased in advance.
    let _ = value(ctx.process::<parent_pid>(()));
    for _ in 0..3 {
        assert_eq!(value(ctx.process::<parent_pid>(())), std::process::id());
    }
    // Who holds a lease needs no daemon.
    assert!(sleeper.is_alive());
    sleeper.terminate().unwrap();
    assert_eq!(end(&sleeper), -15);
    let failing = daemon.context();
    assert!(matches!(
        failing.process::<square>((1,)).start(),
        Err(StartError::Daemon(DaemonError::NotRunning { .. }))
    ));
}

#[test]
fn autostart_runs_a_daemon_for_this_user() {
    let directory = tempfile::tempdir().unwrap();
    let programs = build::artifacts().mpserverd.parent().unwrap().to_owned();
    let path = std::env::join_paths(
        std::iter::once(programs)
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let start = || {
        let mut command = program::command(SUBJECT, directory.path());
        command.env("PATH", path.as_ref().unwrap()).arg("autostart");
        // The daemon keeps standard error: nobody may wait for that to end.
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        program::output(command.stderr(log))
    };
    let socket = directory.path().join("mpserverd.sock");
    let kill = scopeguard(directory.path());
    assert_eq!(start(), "0\n1\n4\n");
    let pid = || {
        let mut connection = mp::daemon::Connection::open(&socket, None).unwrap();
        match connection.call(&Request::Ping, &[], None).unwrap() {
            (Reply::Pong(pong), _) => pong.pid,
            other => panic!("{other:?}"),
        }
    };
    let first = pid();
    // The second program finds the daemon of the first.
    assert_eq!(start(), "0\n1\n4\n");
    assert_eq!(pid(), first);
    drop(kill);
    assert!(eventually(PATIENCE, || !proc::is_running(first)));
}

/// Kills whoever names this directory, when it is dropped.
fn scopeguard(directory: &Path) -> impl Drop {
    struct Guard(std::path::PathBuf);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = eventually(PATIENCE, || {
                let left = proc::mentioning(&self.0);
                left.iter().copied().filter_map(proc::identity).for_each(proc::kill_exactly);
                left.is_empty()
            });
        }
    }
    Guard(directory.to_owned())
}

#[test]
fn autostart_without_a_program_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program::command(SUBJECT, directory.path());
    let out = program::output(command.env("PATH", "/nonexistent").arg("autostart"));
    assert!(out.starts_with("error: mpserverd (is it on the PATH?): "), "{out}");
}
