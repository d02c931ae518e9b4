//! Deaths while no daemon runs: the next one writes their certificates.

use super::*;
use mpserverd_tests::seeds;

/// Waits for a file, then ends as it is told.
#[mp::task]
fn ends(begun: mp::Event, file: std::path::PathBuf, how: u32) {
    begun.set();
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    match how {
        0 => std::process::exit(7),
        1 => panic!("nobody is there"),
        2 => drop(nix::sys::signal::raise(Signal::SIGSEGV)),
        _ => std::thread::sleep(PATIENCE),
    }
}

#[test]
fn who_died_without_a_daemon_has_a_certificate() {
    let mut daemon = Daemon::start(&[]);
    let file = daemon.directory().join("go");
    let trace = mp::TraceId(0x00ab_cdef);
    let started: Vec<_> = (0..4)
        .map(|how| {
            let begun = mp::Event::new().unwrap();
            let builder = daemon.context().process::<ends>((begun.clone(), file.clone(), how));
            let builder = builder.rlimit(mp::Resource::Core, 0, 0).stderr(mp::Stream::Null);
            let process = builder.trace(trace).start().unwrap();
            assert!(begun.wait(Some(PATIENCE)));
            process
        })
        .collect();
    daemon.kill();
    std::fs::write(&file, "").unwrap();
    kill(started[3].pid(), Signal::SIGTERM);
    for process in &started {
        assert!(process.join_timeout(PATIENCE).is_some());
    }
    daemon.restart();
    let expected =
        [(7, Cause::Itself), (1, Cause::Itself), (-11, Cause::Itself), (-15, Cause::Unknown)];
    for (process, (code, cause)) in started.iter().zip(expected) {
        let found = certificate(&daemon, process.pid());
        assert_eq!((found.record.code, found.cause), (code, cause), "{found:?}");
        assert_eq!(found.trace, Some(trace));
        assert!(found.task.as_ref().is_some_and(|task| task.ends_with("ends")), "{found:?}");
        assert!(found.ended_ms > 0 && found.lived_ms < 600_000, "{found:?}");
        let panicked = found.stderr.first().is_some_and(|line| line.contains("nobody is there"));
        assert_eq!(panicked, code == 1, "{found:?}");
    }
    assert_eq!(deaths(&daemon).rows.len(), started.len(), "and nobody else");
}

/// A daemon is killed at any moment around the deaths: each has exactly one certificate, in this
/// daemon's book or the next one's.
fn around(rounds: u64) {
    let mut daemon = Daemon::start(&[]);
    for (round, mut moments) in seeds::rounds(rounds) {
        let processes: Vec<_> = (0..4).map(|_| sleeping(&daemon.context())).collect();
        for process in &processes {
            kill(process.pid(), Signal::SIGTERM);
        }
        std::thread::sleep(Duration::from_micros(moments.below(3000)));
        let known = deaths(&daemon).rows;
        // At once: what else belongs to the end of a daemon takes its time.
        daemon.signal(Signal::SIGKILL);
        daemon.kill();
        for process in &processes {
            assert_eq!(process.join_timeout(PATIENCE), Some(-15), "round {round}");
        }
        daemon.restart();
        let told = |pid| known.iter().any(|death| death.certificate.pid == pid);
        for process in processes.iter().filter(|process| !told(process.pid())) {
            let found = certificate(&daemon, process.pid());
            assert_eq!(found.record.code, -15, "round {round}: {found:?}");
        }
    }
}

#[test]
fn no_death_around_a_crash_is_without_certificate() {
    around(seeds::count(5));
}

#[test]
#[ignore = "long: a hundred crashes"]
fn no_death_around_a_crash_is_without_certificate_a_hundred_times() {
    around(seeds::count(100));
}
