//! Workers that end in the middle of a task.

use super::{PATIENCE, aborts, exits, get, hang, nap, pool, signal, square};
use mp::TaskFailure::WorkerLost;
use mpserverd_tests::{eventually, suite};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// Tells its pid, then never ends.
#[mp::task]
fn hang_known(report: mp::Passed<std::io::PipeWriter>) {
    (&report.0).write_all(&std::process::id().to_le_bytes()).unwrap();
    hang();
}

/// A task that hangs, and the pid of its worker.
fn hanging(pool: &mp::Pool) -> (mp::AsyncResult<()>, u32) {
    let (mut reader, report) = std::io::pipe().unwrap();
    let result = pool.apply_async::<hang_known>((mp::Passed(report),)).unwrap();
    let mut pid = [0; 4];
    reader.read_exact(&mut pid).unwrap();
    (result, u32::from_le_bytes(pid))
}

fn a_killed_worker_costs_its_task_and_nothing_else(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let (result, pid) = hanging(&pool);
    let others = (0..10).map(|_| pool.apply_async::<nap>((20,)).unwrap()).collect::<Vec<_>>();
    signal(pid, Signal::SIGKILL);
    let error = get(&result).unwrap_err();
    let WorkerLost { pid: lost, ending, oom, attempts, .. } = error else { panic!("{error}") };
    assert_eq!((lost, oom, attempts), (pid, false, 1));
    let mp::Ending::Known(record) = ending else { panic!("nobody saw how it ended") };
    assert_eq!(record.signal(), Some(9));
    for other in &others {
        get(other).unwrap();
    }
    super::ready(&pool, 2);
    assert!(!super::ready(&pool, 2).contains(&pid));
}

fn whatever_ends_a_worker_is_told(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let WorkerLost { ending: mp::Ending::Known(record), .. } =
        pool.apply::<exits>((7,)).unwrap_err()
    else {
        panic!("it has not exited")
    };
    assert_eq!(record.code, 7);
    let WorkerLost { ending: mp::Ending::Known(record), .. } =
        pool.apply::<aborts>(()).unwrap_err()
    else {
        panic!("it has not aborted")
    };
    assert_eq!(record.signal(), Some(6));
    assert_eq!(pool.apply::<square>((2,)).unwrap(), 4);
}

fn an_idle_worker_may_be_killed(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    for _ in 0..5 {
        let pids = super::ready(&pool, 1);
        signal(pids[0], Signal::SIGKILL);
        assert_eq!(pool.map::<square>(0..20).unwrap()[19], 361);
    }
}

fn a_lost_task_is_tried_again_if_that_is_wanted(ctx: &mp::Context) {
    let pool = ctx.pool().processes(1).retries(1).build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tried").to_str().unwrap().to_owned();
    assert_eq!(pool.apply::<die_at_first>((path.clone(),)).unwrap(), 7);
    let never = pool.task::<exits>((3,)).retries(2).submit().unwrap();
    let WorkerLost { attempts, .. } = get(&never).unwrap_err() else { panic!("it lives") };
    assert_eq!(attempts, 3);
    assert_eq!(pool.status().retried, 3);
}

/// Ends its worker unless that has been done before.
#[mp::task]
fn die_at_first(path: String) -> u64 {
    if std::fs::exists(&path).unwrap() {
        return 7;
    }
    std::fs::write(path, "").unwrap();
    std::process::exit(1)
}

fn in_a_chunk_only_the_one_that_ran_is_lost(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let each = pool.mapping::<exit_at_five>().chunk(20).map_each(0..20).unwrap();
    for (at, outcome) in each.iter().enumerate() {
        match outcome {
            Ok(value) => assert!(*value == at as u64 && at != 5),
            // Those before it may have died with it, in the moment before they were told.
            Err(WorkerLost { .. }) => assert!(at <= 5, "{at}"),
            Err(other) => panic!("{at}: {other}"),
        }
    }
    assert!(each[5].is_err());
    let retried = pool.mapping::<exit_at_five>().chunk(20).retries(1).map_each(0..20).unwrap();
    let failed = retried.iter().enumerate().filter(|(_, outcome)| outcome.is_err());
    assert!(failed.map(|(at, _)| at).all(|at| at <= 5));
}

#[mp::task]
fn exit_at_five(x: u64) -> u64 {
    if x == 5 {
        std::thread::sleep(Duration::from_millis(20));
        std::process::exit(5);
    }
    x
}

fn the_last_words_of_a_worker_are_told(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let WorkerLost { stderr, .. } = pool.apply::<complain>(()).unwrap_err() else {
        panic!("it lives")
    };
    assert_eq!(stderr.last().unwrap(), "line 29");
    assert_eq!(stderr.len(), 20);
}

#[mp::task]
fn complain() {
    for line in 0..30 {
        eprintln!("line {line}");
    }
    std::process::abort();
}

fn a_stopped_worker_is_alive(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let pid = super::ready(&pool, 1)[0];
    signal(pid, Signal::SIGSTOP);
    assert!(eventually(PATIENCE, || is_stopped(pid)));
    let result = pool.apply_async::<square>((3,)).unwrap();
    assert!(!result.wait_timeout(Duration::from_millis(300)));
    signal(pid, Signal::SIGCONT);
    assert_eq!(get(&result).unwrap(), 9);
}

/// Whether no thread of a process runs.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut stat =
        threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap());
    stat.all(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
}

/// A program with a pool, which is killed.
#[mp::task]
fn owner(method: String, report: mp::Passed<std::io::PipeWriter>) {
    let ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
    let pool = pool(&ctx, 3);
    for pid in super::ready(&pool, 3) {
        (&report.0).write_all(&pid.to_le_bytes()).unwrap();
    }
    let _ = pool.map::<nap>([600_000; 3]);
}

fn workers_do_not_survive_their_pool(ctx: &mp::Context) {
    let (mut reader, report) = std::io::pipe().unwrap();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let method = ctx.method().as_str().to_owned();
    let method = if method == "forkserver" { "spawn".to_owned() } else { method };
    let process = spawn.process::<owner>((method, mp::Passed(report))).start().unwrap();
    let mut pids = [0; 12];
    reader.read_exact(&mut pids).unwrap();
    process.kill().unwrap();
    let begun = Instant::now();
    for pid in pids.chunks(4).map(|pid| u32::from_le_bytes(pid.try_into().unwrap())) {
        let gone = eventually(PATIENCE, || !mpserverd_tests::proc::is_running(pid));
        assert!(gone, "{pid} still runs after {:?}", begun.elapsed());
    }
    assert_eq!(suite::end(&process), -9);
}

suite![
    a_killed_worker_costs_its_task_and_nothing_else,
    whatever_ends_a_worker_is_told,
    an_idle_worker_may_be_killed,
    a_lost_task_is_tried_again_if_that_is_wanted,
    in_a_chunk_only_the_one_that_ran_is_lost,
    the_last_words_of_a_worker_are_told,
    a_stopped_worker_is_alive,
    workers_do_not_survive_their_pool,
];
