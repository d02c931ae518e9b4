//! New programs that are none, and upgrades at the wrong moment: everything is as it was, and the
//! operator is told why.

use super::{copy, double, hold, refused, status, upgraded};
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, value};
use mpserverd_tests::{eventually, proc, program};
use nix::sys::signal::Signal;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[mp::task]
fn say_and_hold(begun: mp::Event, until: mp::Event, code: i32) {
    begun.set();
    until.wait(None);
    std::process::exit(code)
}

fn file(daemon: &Daemon, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = daemon.directory().join(name);
    program::script(&path, text, mode);
    path
}

/// Works as before: the same process, the same template, a worker for whoever asks.
struct Before {
    worker: mp::Process<()>,
    wake: mp::Event,
    descriptors: usize,
    starts: u64,
}

impl Before {
    fn of(daemon: &Daemon) -> Self {
        let context = daemon.context();
        let wake = context.event().unwrap();
        let worker = context.process::<hold>((wake.clone(), 5)).start().unwrap();
        let ready = || status(daemon).templates.iter().all(|row| row.spares == row.spares_wanted);
        assert!(eventually(PATIENCE, ready));
        let descriptors = proc::fd_count(daemon.pid());
        Self { worker, wake, descriptors, starts: status(daemon).starts }
    }

    fn holds(self, daemon: &Daemon) {
        let now = status(daemon);
        assert_eq!((now.pid, now.starts), (daemon.pid(), self.starts));
        let as_before = || proc::fd_count(daemon.pid()) <= self.descriptors;
        assert!(eventually(PATIENCE, as_before), "descriptors are left open");
        assert!(eventually(PATIENCE, || proc::no_zombies_below(daemon.pid())), "zombies");
        assert_eq!(value(daemon.context().process::<double>((4,))), 8);
        self.wake.set();
        assert_eq!(self.worker.join_timeout(PATIENCE), Some(5));
    }
}

#[test]
fn a_program_that_is_none_is_refused_with_its_reason() {
    let daemon = Daemon::start(&[]);
    let before = Before::of(&daemon);
    let missing = daemon.directory().join("missing");
    for (path, why) in [
        (missing, "No such file"),
        (daemon.directory().to_owned(), "not a regular file"),
        (file(&daemon, "plain", "#!/bin/sh\nexit 0\n", 0o644), "not executable"),
        (file(&daemon, "text", "this is no program\n", 0o755), "--check"),
        (file(&daemon, "one", "#!/bin/sh\necho the reason >&2\nexit 1\n", 0o755), "the reason"),
        (PathBuf::from("/bin/true"), "no mpserverd"),
        (
            file(&daemon, "copies", "#!/bin/sh\ncase $1 in *state) cat;; esac\n", 0o755),
            "no mpserverd",
        ),
        (file(&daemon, "babbles", "#!/bin/sh\nexec yes >&2\n", 0o755), "exited with 1: y | y"),
        (file(&daemon, "two", "#!/bin/sh\nkill -9 $$\n", 0o755), "signal 9"),
    ] {
        let said = refused(&daemon, Some(&path));
        assert!(said.contains(why) && said.contains(path.to_str().unwrap()), "{said}");
    }
    before.holds(&daemon);
    // After all that, one that is good still is.
    upgraded(&daemon, Some(&copy(&daemon, "good")));
}

#[test]
fn an_earlier_program_refuses_the_state_and_names_both_versions() {
    let daemon = Daemon::start(&[]);
    let before = Before::of(&daemon);
    let said = refused(&daemon, Some(Path::new(env!("CARGO_BIN_EXE_earlier"))));
    assert!(said.contains("the state has version 1"), "{said}");
    assert!(said.contains("reads version 0"), "{said}");
    before.holds(&daemon);
}

#[test]
fn a_program_that_does_not_answer_is_given_up() {
    let daemon = Daemon::start(&[]);
    let before = Before::of(&daemon);
    let path = file(&daemon, "hangs", "#!/bin/sh\nexec sleep 600\n", 0o755);
    let begun = Instant::now();
    let (said, served) = std::thread::scope(|scope| {
        let asker = scope.spawn(|| refused(&daemon, Some(&path)));
        // Meanwhile nobody waits.
        let mut served = 0;
        while !asker.is_finished() {
            assert_eq!(status(&daemon).pid, daemon.pid());
            served += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        (asker.join().unwrap(), served)
    });
    assert!(said.contains("did not answer within 10 s"), "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(10) && served > 10, "{served} answers");
    before.holds(&daemon);
}

/// Asks for an upgrade and does not wait for the answer.
fn post(daemon: &Daemon, binary: &Path) -> (Connection, mpserverd_proto::ids::RequestId) {
    let mut connection = daemon.connect();
    let binary = Some(binary.as_os_str().as_bytes().to_vec());
    let id = connection.post(&Request::Upgrade { binary }, &[], None).unwrap();
    (connection, id)
}

fn answer((mut connection, id): (Connection, mpserverd_proto::ids::RequestId)) -> String {
    match connection.wait(id, Some(Instant::now() + PATIENCE)) {
        Ok((Reply::Upgraded(_), _)) => "upgraded".to_owned(),
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

/// A program that is good, but does not say so until the file `go` is there. It is given up after
/// ten seconds like any other.
fn slow(daemon: &Daemon) -> PathBuf {
    let (good, go) = (copy(daemon, "good"), daemon.directory().join("go"));
    let text = format!(
        "#!/bin/sh\nuntil [ -e '{}' ]; do sleep 0.05; done\nexec '{}' \"$@\"\n",
        go.display(),
        good.display()
    );
    file(daemon, "slow", &text, 0o755)
}

/// Lets that program go on.
fn go(daemon: &Daemon) {
    std::fs::write(daemon.directory().join("go"), "").unwrap();
}

#[test]
fn a_second_upgrade_waits_for_nobody() {
    let daemon = Daemon::start(&[]);
    let path = slow(&daemon);
    let first = post(&daemon, &path);
    let begun = eventually(PATIENCE, || daemon.log().contains("upgrade begins"));
    assert!(begun, "{}", daemon.log());
    let said = refused(&daemon, None);
    assert!(said.contains("already in progress"), "{said}");
    go(&daemon);
    assert_eq!(answer(first), "upgraded");
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
}

#[test]
fn a_stop_ends_an_upgrade() {
    let mut daemon = Daemon::start(&[]);
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
    let path = file(&daemon, "hangs", "#!/bin/sh\nexec sleep 600\n", 0o755);
    let first = post(&daemon, &path);
    assert!(eventually(PATIENCE, || daemon.log().contains("upgrade begins")));
    let begun = Instant::now();
    assert!(daemon.stop().success(), "{}", daemon.log());
    assert!(begun.elapsed() < PATIENCE);
    assert!(answer(first).contains("shutting down"));
    let remains = || daemon.remains().is_empty();
    assert!(eventually(PATIENCE, remains), "{:?}", daemon.remains());
}

#[test]
fn a_reload_during_an_upgrade_comes_first() {
    let daemon = Daemon::start(&[]);
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
    let upgrade = post(&daemon, &slow(&daemon));
    assert!(eventually(PATIENCE, || daemon.log().contains("upgrade begins")));
    let generation = status(&daemon).generation;
    let reload = daemon.mpctl(&["reload"]);
    assert!(reload.status.success(), "{}", daemon.log());
    go(&daemon);
    assert_eq!(answer(upgrade), "upgraded");
    assert_eq!(status(&daemon).generation, generation + 1);
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
}

#[test]
fn a_client_that_goes_takes_no_upgrade_with_it() {
    let daemon = Daemon::start(&[]);
    drop(post(&daemon, &copy(&daemon, "good")));
    assert!(eventually(PATIENCE, || daemon.log().contains("pause_us")), "{}", daemon.log());
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
}

#[test]
fn a_signal_asks_for_it_too() {
    let daemon = Daemon::start(&[]);
    for _ in 0..3 {
        let times = || daemon.log().matches("pause_us").count();
        let before = times();
        daemon.signal(Signal::SIGUSR2);
        assert!(eventually(PATIENCE, || times() > before), "{}", daemon.log());
    }
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
}

#[test]
fn an_upgrade_of_a_daemon_that_stops_is_refused() {
    let mut daemon = Daemon::start(&["--grace", "20s"]);
    let context = daemon.context();
    let wake = context.event().unwrap();
    let begun = context.event().unwrap();
    let words = (begun.clone(), wake.clone(), 5);
    let worker = context.process::<say_and_hold>(words).start().unwrap();
    // One that has not begun yet would be let go.
    assert!(begun.wait(Some(PATIENCE)));
    let mut connection = daemon.connect();
    daemon.signal(Signal::SIGTERM);
    assert!(eventually(PATIENCE, || daemon.log().contains("stopping")));
    let request = Request::Upgrade { binary: None };
    let error = connection.call(&request, &[], None).unwrap_err();
    assert!(error.to_string().contains("shutting down"), "{error}");
    wake.set();
    assert_eq!(worker.join_timeout(PATIENCE), Some(5));
    assert!(daemon.wait().success(), "{}", daemon.log());
}
