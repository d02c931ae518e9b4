//! A client may tighten what is configured; what would loosen it is refused by name and place.

use super::{daemon, daemon_of, nothing, refusal};
use mp::{Limits, Refusal};
use std::time::Duration;

/// Asked for with the limit, and how the configuration spells it.
fn asked(configured: &str, limits: Limits) -> Refusal {
    let daemon = daemon(&[configured]);
    let tight = daemon.context().process::<nothing>(()).start().unwrap();
    assert_eq!(tight.join(), 0, "{configured}");
    refusal(daemon.context().process::<nothing>(()).limits(limits).start())
}

#[test]
fn every_kind_is_refused_by_name() {
    let second = Duration::from_secs(1);
    for (configured, limits, name) in [
        ("memory=64M", Limits::new().memory(65 << 20), "memory"),
        ("pids=50", Limits::new().pids(51), "pids"),
        ("fds=100", Limits::new().open_files(101), "fds"),
        ("file-size=1M", Limits::new().file_size(2 << 20), "file_size"),
        ("wall-time=1m", Limits::new().wall_time(61 * second), "wall_time"),
        ("cpu-time=1m", Limits::new().cpu_time(61 * second), "cpu_time"),
        ("kill-grace=1s", Limits::new().kill_grace(2 * second), "kill_grace"),
    ] {
        match asked(configured, limits) {
            Refusal::LimitLoosened { limit, allowed, set_in, .. } => {
                assert_eq!((&*limit, &*set_in), (name, "--limits"));
                let value = configured.split_once('=').unwrap().1;
                let same = allowed == value || (value, &*allowed) == ("1m", "60s");
                assert!(same, "{allowed} for {configured}");
            }
            other => panic!("{configured}: {other}"),
        }
    }
}

#[test]
fn what_no_machine_without_the_controller_can_hold_is_refused_as_that() {
    let daemon = daemon(&[]);
    for (limits, name) in [
        (Limits::new().memory_high(64 << 20), "memory_high"),
        (Limits::new().cpu_weight(50), "cpu_weight"),
        (Limits::new().cpu_quota(50), "cpu_quota"),
    ] {
        match refusal(daemon.context().process::<nothing>(()).limits(limits).start()) {
            Refusal::LimitUnsupported { limit, why } => {
                assert_eq!(limit, name);
                assert!(why.contains("not delegated"), "{why}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn the_older_ways_to_ask_are_refused_too() {
    let daemon = daemon(&["fds=100", "nice=5"]);
    let process = || daemon.context().process::<nothing>(());
    let files = process().rlimit(mp::Resource::OpenFiles, 50, 200).start();
    let nice = process().nice(4).start();
    for (refused, name) in [(files, "fds"), (nice, "nice")] {
        match refusal(refused) {
            Refusal::LimitLoosened { limit, .. } => assert_eq!(limit, name),
            other => panic!("{other}"),
        }
    }
    let tighter = process().rlimit(mp::Resource::OpenFiles, 50, 50).nice(6).start().unwrap();
    assert_eq!(tighter.join(), 0);
}

#[test]
fn the_place_in_the_file_is_told() {
    let uid = nix::unistd::geteuid();
    let (daemon, folder) = daemon_of(&format!(
        "[limits]\ncgroup = 'off'\npids = 100\n[limits.uid.{uid}]\n\n# half\npids = 50\n"
    ));
    let limits = Limits::new().pids(70);
    match refusal(daemon.context().process::<nothing>(()).limits(limits).start()) {
        Refusal::LimitLoosened { asked, allowed, set_in, .. } => {
            assert_eq!((&*asked, &*allowed), ("70", "50"));
            let place = format!("{}:7", folder.path().join("mpserverd.toml").display());
            assert!(set_in.contains(&format!("[limits.uid.{uid}]")), "{set_in}");
            assert!(set_in.contains(&place), "{set_in}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn values_that_make_no_sense_are_bad_requests() {
    let daemon = daemon(&[]);
    for limits in [Limits::new().memory(1), Limits::new().pids(0), Limits::new().open_files(3)] {
        let refused = refusal(daemon.context().process::<nothing>(()).limits(limits).start());
        assert!(matches!(refused, Refusal::BadRequest(_)), "{refused}");
    }
}

/// A worker that asks the kernel itself is refused by the kernel.
#[test]
fn a_worker_cannot_loosen_its_own() {
    use nix::sys::resource::{Resource, getrlimit};
    #[mp::task]
    fn loosen() -> (u64, bool) {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let done = nix::sys::resource::setrlimit(Resource::RLIMIT_NOFILE, hard, hard + 1);
        (hard, done.is_ok())
    }
    let daemon = daemon(&["fds=100"]);
    let (hard, loosened) = mpserverd_tests::suite::value(daemon.context().process::<loosen>(()));
    assert_eq!(hard, 100);
    if loosened {
        mpserverd_tests::skip("this user may raise limits (CAP_SYS_RESOURCE)");
    }
}
