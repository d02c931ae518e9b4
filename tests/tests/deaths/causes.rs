//! All causes of death, one after the other, many times.

use super::*;
use mp::LimitKind;
use mpserverd_proto::client::{StopPolicy, WorkerRef};
use mpserverd_tests::{proc, seeds};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What must be in a certificate.
struct Expected {
    pid: u32,
    code: i32,
    cause: Cause,
    task: &'static str,
    client: u32,
    /// Workers that died on the way, before they did what was wanted.
    others: Vec<u32>,
}

fn expect(process: &mp::Handle, code: i32, cause: Cause, task: &'static str) -> Expected {
    let (pid, client) = (process.pid(), std::process::id());
    Expected { pid, code, cause, task, client, others: Vec::new() }
}

/// A way to die: gives what the certificate must say.
type Way = (&'static str, fn(&Daemon) -> Expected);

const WAYS: &[Way] = &[
    ("returns", returns),
    ("exits", exits_by_itself),
    ("panics", panics_and_exits),
    ("faults", |daemon| faults(daemon, 11)),
    ("aborts", |daemon| faults(daemon, 6)),
    ("writes too much", writes_too_much),
    ("is killed by an operator", |daemon| operator(daemon, 9)),
    ("is ended by an operator", |daemon| operator(daemon, 15)),
    ("loses its client", loses_its_client),
    ("passes its deadline", |daemon| deadline(daemon, Duration::ZERO, -9)),
    ("is asked at its deadline", |daemon| deadline(daemon, Duration::from_secs(9), -15)),
    ("is killed by its client", |daemon| by_its_client(daemon, 9)),
    ("is ended by its client", |daemon| by_its_client(daemon, 15)),
    ("is killed by its client's wish", |daemon| by_its_client_through_the_daemon(daemon, 9)),
    ("is killed by a stranger", |daemon| stranger(daemon, 9)),
    ("is ended by a stranger", |daemon| stranger(daemon, 15)),
    ("loses its template, then is killed", orphan),
];

fn returns(daemon: &Daemon) -> Expected {
    let process = daemon.context().process::<fine>(()).start().unwrap();
    assert_eq!(process.result_timeout(PATIENCE).unwrap(), 17);
    process.join();
    assert_eq!(process.cause(), Some(Cause::Itself));
    expect(&process, 0, Cause::Itself, "fine")
}

fn exits_by_itself(daemon: &Daemon) -> Expected {
    let process = daemon.context().process::<exits>((3,)).start().unwrap();
    assert_eq!(cause_of(&process), Some(Cause::Itself));
    expect(&process, 3, Cause::Itself, "exits")
}

fn panics_and_exits(daemon: &Daemon) -> Expected {
    let process = daemon.context().process::<panics>(()).start().unwrap();
    assert!(matches!(process.result_timeout(PATIENCE), Err(ProcessError::Panicked(_))));
    process.join();
    expect(&process, 1, Cause::Itself, "panics")
}

fn faults(daemon: &Daemon, signal: i32) -> Expected {
    let no_core = |builder: mp::ProcessBuilder<()>| builder.rlimit(mp::Resource::Core, 0, 0);
    let process = no_core(daemon.context().process::<raises>((signal,))).start().unwrap();
    assert_eq!(cause_of(&process), Some(Cause::Itself));
    expect(&process, -signal, Cause::Itself, "raises")
}

#[mp::task]
fn writes(path: PathBuf) {
    let _ = std::fs::write(path, [0; 4096]);
}

fn writes_too_much(daemon: &Daemon) -> Expected {
    let path = daemon.directory().join("too-much");
    let builder = daemon.context().process::<writes>((path,));
    let builder = builder.rlimit(mp::Resource::FileSize, 100, 100);
    let process = builder.rlimit(mp::Resource::Core, 0, 0).start().unwrap();
    let cause = Cause::Limit(LimitKind::FileSize);
    assert_eq!(cause_of(&process), Some(cause));
    expect(&process, -25, cause, "writes")
}

#[mp::task]
fn computes() {
    loop {
        std::hint::spin_loop();
    }
}

fn computes_too_long(daemon: &Daemon) -> Expected {
    let builder = daemon.context().process::<computes>(());
    let builder = builder.rlimit(mp::Resource::Cpu, 1, 5);
    let process = builder.rlimit(mp::Resource::Core, 0, 0).start().unwrap();
    let cause = Cause::Limit(LimitKind::CpuTime);
    assert_eq!(cause_of(&process), Some(cause));
    expect(&process, -24, cause, "computes")
}

/// The kernel kills at the hard limit, and says nothing.
fn computes_far_too_long(daemon: &Daemon) -> Expected {
    let builder = daemon.context().process::<computes>(());
    let process = builder.rlimit(mp::Resource::Cpu, 1, 1).start().unwrap();
    let cause = Cause::Limit(LimitKind::CpuTime);
    assert_eq!(cause_of(&process), Some(cause));
    expect(&process, -9, cause, "computes")
}

const OUT_OF_TIME: &[Way] =
    &[("computes too long", computes_too_long), ("far too long", computes_far_too_long)];

/// Has the daemon send signals to a worker.
fn ask_for(socket: &Path, pid: u32, signals: &[i32]) {
    let deadline = Some(Instant::now() + PATIENCE);
    let mut connection = mp::daemon::Connection::open(socket, deadline).unwrap();
    for &signal in signals {
        let request = Request::Kill { worker: WorkerRef::Pid(pid), signal };
        connection.call(&request, &[], deadline).unwrap();
    }
}

#[mp::task]
fn asks(socket: PathBuf, pid: u32, signals: Vec<i32>) {
    ask_for(&socket, pid, &signals);
}

fn operator(daemon: &Daemon, signal: i32) -> Expected {
    let process = sleeping(&daemon.context());
    // What nobody dies of accuses nobody.
    let arguments = (daemon.socket(), process.pid(), vec![18, signal]);
    let operator = mp::get_context(mp::StartMethod::Spawn).process::<asks>(arguments);
    let operator = operator.start().unwrap();
    operator.result_timeout(PATIENCE).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let cause = Cause::Operator { uid, pid: operator.pid() };
    assert_eq!(cause_of(&process), Some(cause));
    expect(&process, -signal, cause, "sleeps")
}

/// As a client does that may not signal its worker itself.
fn by_its_client_through_the_daemon(daemon: &Daemon, signal: i32) -> Expected {
    let process = sleeping(&daemon.context());
    ask_for(&daemon.socket(), process.pid(), &[signal]);
    assert_eq!(cause_of(&process), Some(Cause::Client));
    expect(&process, -signal, Cause::Client, "sleeps")
}

/// A client of a daemon that starts a worker which is to die with it.
#[mp::task]
fn client(socket: PathBuf, begun: mp::Event, worker: mp::Value<u32>) {
    let ctx = mp::get_context(mp::StartMethod::ForkServer).with_socket(socket);
    let ctx = ctx.with_fallback(mp::Fallback::Fail);
    let process = ctx.process::<sleeps>((begun,)).daemon(true).start().unwrap();
    worker.set(process.pid());
    std::thread::sleep(PATIENCE);
}

fn loses_its_client(daemon: &Daemon) -> Expected {
    let (begun, worker) = (mp::Event::new().unwrap(), mp::Value::new(0u32).unwrap());
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let args = (daemon.socket(), begun.clone(), worker.clone());
    let process = spawn.process::<client>(args).start().unwrap();
    assert!(begun.wait(Some(PATIENCE)), "the client's worker does not begin");
    assert!(eventually(PATIENCE, || worker.value() != 0));
    process.kill().unwrap();
    process.join();
    let (pid, client) = (worker.value(), process.pid());
    let others = Vec::new();
    Expected { pid, code: -9, cause: Cause::ClientGone, task: "sleeps", client, others }
}

fn deadline(daemon: &Daemon, grace: Duration, code: i32) -> Expected {
    let mut others = Vec::new();
    let process = mpserverd_tests::suite::in_time(Duration::from_millis(300), |limit| {
        let begun = mp::Event::new().unwrap();
        let builder = daemon.context().process::<sleeps>((begun.clone(),));
        let process = builder.deadline(limit).grace(grace).start().unwrap();
        let error = process.result_timeout(PATIENCE).unwrap_err();
        assert!(matches!(error, ProcessError::DeadlineExceeded(_)), "{error}");
        process.join();
        assert_eq!(process.cause(), Some(Cause::Deadline));
        if !begun.is_set() {
            others.push(process.pid());
        }
        begun.is_set().then_some(process)
    });
    Expected { others, ..expect(&process, code, Cause::Deadline, "sleeps") }
}

fn by_its_client(daemon: &Daemon, signal: i32) -> Expected {
    let process = sleeping(&daemon.context());
    process.signal(signal).unwrap();
    assert_eq!(cause_of(&process), Some(Cause::Client));
    expect(&process, -signal, Cause::Client, "sleeps")
}

fn stranger(daemon: &Daemon, signal: i32) -> Expected {
    let process = sleeping(&daemon.context());
    kill(process.pid(), Signal::try_from(signal).unwrap());
    assert_eq!(cause_of(&process), Some(Cause::Unknown));
    let error = mpserverd_tests::suite::outcome(&process).unwrap_err().to_string();
    assert!(
        error.contains(&format!("signal {signal}")) && error.contains("nobody says"),
        "{error}"
    );
    expect(&process, -signal, Cause::Unknown, "sleeps")
}

/// The parent of a process.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Its template is killed: the daemon is its parent then, and still knows its board.
fn orphan(daemon: &Daemon) -> Expected {
    let process = sleeping(&daemon.context());
    let template = parent(process.pid());
    kill(template, Signal::SIGKILL);
    let adopted = || parent(process.pid()) == daemon.pid() && !proc::is_running(template);
    assert!(eventually(PATIENCE, adopted), "the daemon did not inherit it");
    kill(process.pid(), Signal::SIGKILL);
    assert_eq!(cause_of(&process), Some(Cause::Unknown));
    expect(&process, -9, Cause::Unknown, "sleeps")
}

fn check(daemon: &Daemon, way: &str, expected: &Expected) {
    let found = certificate(daemon, expected.pid);
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!((found.cause, found.record.code), (expected.cause, expected.code), "{way}");
    assert!(found.task.as_ref().is_some_and(|t| t.ends_with(expected.task)), "{way}: {found:?}");
    assert_eq!((found.client_pid, found.uid), (Some(expected.client), uid), "{way}");
    assert!(found.trace.is_some() && found.ended_ms > 0, "{way}: {found:?}");
    assert_eq!(found.generation, 1, "{way}");
}

fn every_way(ways: &[Way], rounds: u64) {
    // One way kills a template each time, for which there is to be another at once.
    let arguments = ["--deaths-kept", "100000", "--backoff-min", "1ms", "--backoff-max", "5ms"];
    let daemon = Daemon::start(&arguments);
    let mut pids = BTreeSet::new();
    for round in 0..rounds {
        for (way, die) in ways {
            let expected = die(&daemon);
            check(&daemon, way, &expected);
            for pid in [&expected.others[..], &[expected.pid]].concat() {
                assert!(pids.insert(pid), "pid {pid} again; run fewer rounds");
            }
        }
        println!("round {round}");
    }
    // Each worker has exactly one, and nobody else has any.
    let rows = deaths(&daemon).rows;
    let workers: BTreeSet<_> = rows.iter().map(|death| death.certificate.worker).collect();
    let strange: Vec<_> =
        rows.iter().filter(|death| !pids.contains(&death.certificate.pid)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert_eq!((rows.len(), workers.len()), (pids.len(), pids.len()));
}

#[test]
fn every_certificate_names_the_right_cause() {
    every_way(WAYS, seeds::count(2));
}

#[test]
#[ignore = "long: a hundred of each"]
fn every_certificate_names_the_right_cause_a_hundred_times() {
    every_way(WAYS, seeds::count(100));
}

#[test]
fn time_on_the_cpu_runs_out() {
    every_way(OUT_OF_TIME, 1);
}

#[test]
#[ignore = "long: two hundred seconds of computing"]
fn time_on_the_cpu_runs_out_a_hundred_times() {
    every_way(OUT_OF_TIME, seeds::count(100));
}

#[mp::task]
fn lingers(begun: mp::Event) {
    let caught = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(15, caught).unwrap();
    begun.set();
    std::thread::sleep(PATIENCE);
}

/// One worker ends at the stop's `SIGTERM`, another one is deaf to it and keeps the daemon long
/// enough to be asked.
fn stopped(rounds: u64) {
    for _ in 0..rounds {
        let daemon = Daemon::start(&[]);
        let ctx = daemon.context();
        let begun = mp::Event::new().unwrap();
        let deaf = ctx.process::<lingers>((begun.clone(),)).start().unwrap();
        assert!(begun.wait(Some(PATIENCE)));
        let polite = sleeping(&ctx);
        let mut asker = daemon.connect();
        let deadline = Some(Instant::now() + PATIENCE);
        let policy = Some(StopPolicy::Term);
        let request = Request::Stop { policy, grace_ms: Some(20_000) };
        asker.call(&request, &[], deadline).unwrap();
        let mut rows = Vec::new();
        let there = eventually(PATIENCE, || {
            let query = DeathsQuery { after: 0, limit: 9, worker: None, cause: None };
            let reply = asker.call(&Request::Deaths(query), &[], deadline);
            let Ok((Reply::Deaths(report), _)) = reply else { panic!("{reply:?}") };
            rows = report.rows;
            rows.iter().any(|death| death.certificate.pid == polite.pid())
        });
        assert!(there, "{rows:?}");
        let of = |pid| rows.iter().find(|death| death.certificate.pid == pid);
        let certificate = &of(polite.pid()).unwrap().certificate;
        assert_eq!((certificate.cause, certificate.record.code), (Cause::DaemonStop, -15));
        assert!(of(deaf.pid()).is_none(), "it lives");
        deaf.kill().unwrap();
        deaf.join();
    }
}

#[test]
fn a_stop_of_the_daemon_is_a_cause() {
    stopped(seeds::count(1));
}

#[test]
#[ignore = "long: a hundred daemons"]
fn a_stop_of_the_daemon_is_a_cause_a_hundred_times() {
    stopped(seeds::count(100));
}

#[test]
fn spares_that_are_let_go_have_no_certificate_and_those_that_die_have() {
    let daemon = Daemon::start(&["--spares", "2..2"]);
    let process = daemon.context().process::<fine>(()).start().unwrap();
    process.join();
    certificate(&daemon, process.pid());
    let mut spares = Vec::new();
    let full = eventually(PATIENCE, || {
        spares = spares_of(&daemon);
        spares.len() >= 2
    });
    assert!(full, "{spares:?}");
    let victim = spares[0];
    kill(victim, Signal::SIGKILL);
    let found = certificate(&daemon, victim);
    assert_eq!((found.cause, found.task, found.client_pid), (Cause::Unknown, None, None));
    // A reload lets all spares go.
    assert!(daemon.mpctl(&["reload"]).status.success());
    a_while();
    let others: Vec<_> = deaths(&daemon).rows;
    assert_eq!(others.len(), 2, "{others:?}");
}

/// Spares that the daemon knows of.
fn spares_of(daemon: &Daemon) -> Vec<u32> {
    let deadline = Some(Instant::now() + PATIENCE);
    let Ok((Reply::Processes(report), _)) = daemon.connect().call(&all_processes(), &[], deadline)
    else {
        panic!("no list of processes")
    };
    report.rows.iter().filter(|row| row.spare).map(|row| row.pid).collect()
}

/// Has so much memory for itself, for long enough to be worth counting.
#[mp::task]
fn fills(bytes: usize) -> u8 {
    let memory = std::hint::black_box(vec![7u8; bytes]);
    std::thread::sleep(Duration::from_millis(700));
    memory[bytes / 2]
}

#[test]
fn private_memory_is_known_of_who_ended_by_itself() {
    let daemon = Daemon::start(&[]);
    // More than is asked for below: since Linux 6.2 the kernel counts pages for each processor, and
    // what it has not added up yet is missing.
    let process = daemon.context().process::<fills>((64 << 20,)).start().unwrap();
    assert_eq!(process.result_timeout(PATIENCE).unwrap(), 7);
    process.join();
    let found = certificate(&daemon, process.pid());
    let kib = found.peak_private_kib.expect("it was worth it");
    // The vector is gone when it is counted.
    assert!((48 << 10..200 << 10).contains(&kib), "{kib}");
}
