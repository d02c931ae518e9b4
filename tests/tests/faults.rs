//! Somebody is killed, or stopped, at a random moment of a start: nobody else may notice more than
//! a typed error.
//!
//! Each round is seeded: `FAULT_SEED=n` repeats one. `FAULT_ROUNDS=n` makes it longer.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

use mp::ProcessError;
use mp::daemon::Connection;
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::report::ProcessFilter;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::{eventually, proc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long anything here may take on a busy machine; only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[mp::task]
fn double(x: u64) -> u64 {
    2 * x
}

#[mp::task]
fn sleep_then(ms: u64, x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    x
}

/// Rounds of one test.
fn rounds() -> impl Iterator<Item = (u64, Moments)> {
    seeds::rounds(6)
}

fn send(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

fn call(connection: &mut Connection, request: &Request) -> Reply {
    connection.call(request, &[], None).expect("the daemon answers").0
}

/// Pids of templates, and of spares.
fn staff(daemon: &Daemon) -> (Vec<u32>, Vec<u32>) {
    let mut connection = daemon.connect();
    let Reply::Status(status) = call(&mut connection, &Request::Status) else { panic!("status") };
    let filter = ProcessFilter { spares: true, ..ProcessFilter::default() };
    let request = Request::Processes { after: None, limit: u32::MAX, filter };
    let Reply::Processes(processes) = call(&mut connection, &request) else { panic!("processes") };
    let templates = status.templates.iter().filter_map(|template| template.pid).collect();
    let spares = processes.rows.iter().filter(|row| row.spare).map(|row| row.pid).collect();
    (templates, spares)
}

fn start(context: &mp::Context, x: u64) -> mp::Process<u64> {
    context.process::<double>((x,)).start().expect("a worker")
}

/// A start that works, however long the daemon needs to recover.
fn works_again(context: &mp::Context) {
    let recovered = eventually(PATIENCE, || {
        let Ok(process) = context.process::<double>((21,)).start() else { return false };
        process.result_timeout(PATIENCE).is_ok_and(|value| value == 42)
    });
    assert!(recovered, "no start works any more");
}

fn is_clean(daemon: &Daemon) {
    let pid = daemon.pid();
    assert!(eventually(PATIENCE, || proc::no_zombies_below(pid)), "zombies");
}

#[test]
fn a_killed_worker_tells_its_signal_and_harms_nobody() {
    let daemon = Daemon::start(&["--spares", "2..8"]);
    let context = daemon.context();
    works_again(&context);
    for (seed, mut moments) in rounds() {
        let victim = context.process::<sleep_then>((5_000, 1)).start().unwrap();
        let other = context.process::<sleep_then>((20, seed)).start().unwrap();
        std::thread::sleep(Duration::from_micros(moments.below(3_000)));
        send(victim.pid(), Signal::SIGKILL);
        let error = victim.result_timeout(PATIENCE).unwrap_err();
        assert!(matches!(error, ProcessError::Died { .. }), "{error}");
        assert_eq!(victim.join_timeout(PATIENCE), Some(-9));
        assert_eq!(other.result_timeout(PATIENCE).unwrap(), seed);
        assert_eq!(other.join_timeout(PATIENCE), Some(0));
    }
    is_clean(&daemon);
}

#[test]
fn a_killed_or_stopped_spare_costs_nobody_a_start() {
    let daemon = Daemon::start(&["--spares", "3..8"]);
    let context = daemon.context();
    works_again(&context);
    for (seed, mut moments) in rounds() {
        let (_, spares) = staff(&daemon);
        if let Some(spare) = spares.get(moments.below(spares.len().max(1) as u64) as usize) {
            send(*spare, Signal::SIGKILL);
        }
        let process = start(&context, seed);
        match process.result_timeout(PATIENCE) {
            Ok(value) => assert_eq!(value, 2 * seed),
            // It was handed over in the same moment.
            Err(ProcessError::Died { .. }) => assert_eq!(process.join_timeout(PATIENCE), Some(-9)),
            Err(other) => panic!("{other}"),
        }
    }
    works_again(&context);
    is_clean(&daemon);
}

#[test]
fn workers_of_a_killed_template_end_with_their_true_codes() {
    let daemon =
        Daemon::start(&["--spares", "2..8", "--backoff-min", "10ms", "--backoff-max", "50ms"]);
    let context = daemon.context();
    works_again(&context);
    for (seed, mut moments) in rounds() {
        let running = (0..4)
            .map(|x| context.process::<sleep_then>((10 * x, seed)).start().unwrap())
            .collect::<Vec<_>>();
        let doomed = context.process::<sleep_then>((60_000, 0)).start().unwrap();
        std::thread::sleep(Duration::from_micros(moments.below(5_000)));
        for template in staff(&daemon).0 {
            send(template, Signal::SIGKILL);
        }
        send(doomed.pid(), Signal::SIGTERM);
        for process in &running {
            assert_eq!(process.result_timeout(PATIENCE).unwrap(), seed);
            assert_eq!(process.join_timeout(PATIENCE), Some(0), "{:?}", process.ending());
        }
        assert_eq!(doomed.join_timeout(PATIENCE), Some(-15), "{:?}", doomed.ending());
        works_again(&context);
    }
    is_clean(&daemon);
}

#[test]
fn a_stopped_template_delays_and_loses_nothing() {
    let daemon = Daemon::start(&["--spares", "2..8"]);
    let context = daemon.context();
    works_again(&context);
    for (seed, mut moments) in rounds().take(8) {
        let running = context.process::<sleep_then>((moments.below(20), seed)).start().unwrap();
        let (templates, _) = staff(&daemon);
        templates.iter().for_each(|template| send(*template, Signal::SIGSTOP));
        // The result comes without the template; the exit code waits for it.
        assert_eq!(running.result_timeout(PATIENCE).unwrap(), seed);
        assert!(eventually(PATIENCE, || !running.is_alive()));
        templates.iter().for_each(|template| send(*template, Signal::SIGCONT));
        assert_eq!(running.join_timeout(PATIENCE), Some(0));
        works_again(&context);
    }
    is_clean(&daemon);
}

#[test]
fn a_killed_daemon_disturbs_no_worker_and_the_next_one_takes_over() {
    let mut daemon = Daemon::start(&["--spares", "2..8"]);
    let context = daemon.context();
    works_again(&context);
    for (seed, mut moments) in rounds().take(12) {
        let short = context.process::<sleep_then>((5, seed)).start().unwrap();
        let long = context.process::<sleep_then>((300, seed)).start().unwrap();
        let doomed = context.process::<sleep_then>((60_000, 0)).start().unwrap();
        std::thread::sleep(Duration::from_micros(moments.below(8_000)));
        daemon.kill();
        assert_eq!(short.result_timeout(PATIENCE).unwrap(), seed);
        assert_eq!(short.join_timeout(PATIENCE), Some(0), "{:?}", short.ending());
        if moments.below(2) == 0 {
            send(doomed.pid(), Signal::SIGTERM);
        }
        daemon.restart();
        works_again(&context);
        send(doomed.pid(), Signal::SIGTERM);
        assert_eq!(long.result_timeout(PATIENCE).unwrap(), seed);
        assert_eq!(long.join_timeout(PATIENCE), Some(0), "{:?}", long.ending());
        assert_eq!(doomed.join_timeout(PATIENCE), Some(-15), "{:?}", doomed.ending());
    }
    is_clean(&daemon);
}

#[test]
fn a_restarted_daemon_adopts_the_living_template() {
    let mut daemon = Daemon::start(&["--spares", "1..4"]);
    let context = daemon.context();
    let long = context.process::<sleep_then>((60_000, 7)).start().unwrap();
    let template = proc_parent(long.pid());
    daemon.kill();
    daemon.restart();
    let adopted = eventually(PATIENCE, || staff(&daemon).0.contains(&template));
    assert!(adopted, "the template of the dead daemon was not adopted\n{}", daemon.log());
    // New workers come from it, and the old one is in the table.
    assert!(eventually(PATIENCE, || {
        let process = context.process::<sleep_then>((50, 1)).start().unwrap();
        proc_parent(process.pid()) == template
    }));
    send(long.pid(), Signal::SIGKILL);
    assert_eq!(long.join_timeout(PATIENCE), Some(-9));
}

fn proc_parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').nth(1).and_then(|parent| parent.parse().ok()).unwrap_or(0)
}

/// Template and daemon die together: the one case in which a code can be lost.
#[test]
fn when_everybody_who_knows_is_dead_the_end_is_known_or_said_to_be_unknown() {
    let mut daemon = Daemon::start(&["--spares", "1..4"]);
    let context = daemon.context();
    let long = context.process::<sleep_then>((60_000, 7)).start().unwrap();
    let template = proc_parent(long.pid());
    daemon.kill();
    send(template, Signal::SIGKILL);
    assert!(long.is_alive());
    assert!(long.join_timeout(Duration::from_millis(50)).is_none());
    send(long.pid(), Signal::SIGTERM);
    let code = long.join_timeout(PATIENCE).expect("an end");
    match long.ending() {
        Some(mp::Ending::Known(_)) => assert_eq!(code, -15),
        Some(mp::Ending::Unknown) => assert_eq!(code, 255),
        None => panic!("no ending"),
    }
}

#[test]
fn a_killed_client_takes_its_daemonic_workers_and_leaves_the_others() {
    let daemon = Daemon::start(&["--spares", "2..16"]);
    for (kind, survives) in [("daemonic", false), ("plain", true)] {
        let mut victim = victim(&daemon, 5, kind, 600_000);
        let mut line = String::new();
        BufReader::new(victim.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pids = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>();
        assert_eq!(pids.len(), 5, "{line}");
        victim.kill().unwrap();
        victim.wait().unwrap();
        if survives {
            assert!(pids.iter().all(|pid| proc::is_running(*pid)));
            pids.iter().filter_map(|pid| proc::identity(*pid)).for_each(proc::kill_exactly);
        }
        let gone = || pids.iter().all(|pid| !proc::is_running(*pid));
        assert!(eventually(PATIENCE, gone), "{kind} workers stay: {pids:?}");
    }
    is_clean(&daemon);
}

fn victim(daemon: &Daemon, count: usize, kind: &str, ms: u64) -> std::process::Child {
    #[allow(clippy::disallowed_methods, reason = "a client of its own")]
    Command::new(env!("CARGO_BIN_EXE_victim"))
        .args([&count.to_string(), kind, &ms.to_string()])
        .env("MPSERVERD_SOCKET", daemon.socket())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim starts")
}

#[test]
fn clients_killed_at_any_moment_of_a_start_leave_nothing() {
    let daemon = Daemon::start(&["--spares", "2..8"]);
    let context = daemon.context();
    works_again(&context);
    drop(victim(&daemon, 1, "daemonic", 0).kill());
    assert!(eventually(PATIENCE, || staff(&daemon).1.len() >= 2));
    let before = proc::fd_count(daemon.pid());
    for (_, mut moments) in rounds() {
        let mut victim = victim(&daemon, 20, "daemonic", 60_000);
        std::thread::sleep(Duration::from_micros(moments.below(40_000)));
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    let workers = || {
        let mut connection = daemon.connect();
        let Reply::Status(status) = call(&mut connection, &Request::Status) else { return 1 };
        status.workers + status.queued
    };
    assert!(eventually(PATIENCE, || workers() == 0), "{} workers stay", workers());
    // Spares come and go; two clients' worth of descriptors is not a leak of hundreds of starts.
    let fds = || proc::fd_count(daemon.pid());
    let bound = before + 64;
    assert!(eventually(PATIENCE, || fds() <= bound), "{} descriptors, {before} before", fds());
    is_clean(&daemon);
}

#[test]
fn a_stopped_daemon_delays_starts_but_no_result() {
    let daemon = Daemon::start(&["--spares", "2..8"]);
    let context = daemon.context();
    works_again(&context);
    let running = context.process::<sleep_then>((50, 5)).start().unwrap();
    daemon.signal(Signal::SIGSTOP);
    assert_eq!(running.result_timeout(PATIENCE).unwrap(), 5);
    assert_eq!(running.join_timeout(PATIENCE), Some(0));
    let late = context.clone().process::<double>((1,));
    let late = late.start_timeout(Duration::from_millis(300)).start();
    // One lease may have been taken in advance.
    if let Err(error) = late {
        assert!(matches!(error, mp::StartError::Timeout(_)), "{error}");
    }
    daemon.signal(Signal::SIGCONT);
    works_again(&context);
}

#[test]
fn a_thousand_starts_at_once_lose_none() {
    let daemon = Daemon::start(&["--spares", "2..32"]);
    let context = daemon.context();
    let threads = (0..10)
        .map(|thread| {
            let context = context.clone();
            std::thread::Builder::new()
                .spawn(move || {
                    let started = (0..100)
                        .map(|x| (x + thread, start(&context, x + thread)))
                        .collect::<Vec<_>>();
                    for (x, process) in started {
                        assert_eq!(process.result_timeout(PATIENCE).unwrap(), 2 * x);
                        assert_eq!(process.join_timeout(PATIENCE), Some(0));
                    }
                })
                .unwrap()
        })
        .collect::<Vec<_>>();
    for thread in threads {
        thread.join().unwrap();
    }
    is_clean(&daemon);
}
