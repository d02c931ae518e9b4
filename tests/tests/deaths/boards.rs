//! Boards: hostile ones, and those of templates and daemons that are gone.

use super::*;
use mpserverd_tests::seeds::{self, Moments};
use std::io::{Seek, SeekFrom, Write};

/// Workers and spares for which the board of these tests has places: 100 + 2 * 2.
const ARGUMENTS: [&str; 4] = ["--max-workers", "100", "--spares", "1..2"];
const BOARD_BYTES: u64 = (104u64 * 512).next_multiple_of(4096);

/// Writes nonsense all over its template's board, then crashes.
#[mp::task]
fn scribbles(seed: u64) -> bool {
    let mut moments = Moments::of(seed);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = std::fs::File::options().write(true).open("/proc/self/mem").unwrap();
    let mut found = false;
    for line in maps.lines().filter(|line| line.contains("/memfd:mpserverd")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        if to - from != BOARD_BYTES {
            continue;
        }
        found = true;
        let mut bytes = vec![0; BOARD_BYTES as usize];
        for word in bytes.as_chunks_mut::<8>().0 {
            // Now and then what would be a good sequence number, or a text.
            *word = match moments.below(4) {
                0 => 2u64.to_ne_bytes(),
                1 => *b"nonsense",
                _ => moments.below(u64::MAX).to_ne_bytes(),
            };
        }
        memory.seek(SeekFrom::Start(from)).unwrap();
        memory.write_all(&bytes).unwrap();
    }
    if seed.is_multiple_of(2) {
        std::process::abort();
    }
    found
}

#[test]
fn a_hostile_board_costs_words_and_nothing_else() {
    let daemon = Daemon::start(&ARGUMENTS);
    let ctx = daemon.context();
    for seed in 0..seeds::count(20) {
        let process = ctx.process::<scribbles>((seed,));
        let process = process.rlimit(mp::Resource::Core, 0, 0).start().unwrap();
        let result = process.result_timeout(PATIENCE);
        process.join();
        let found = certificate(&daemon, process.pid());
        if seed.is_multiple_of(2) {
            assert_eq!(found.record.code, -6, "{found:?}");
        } else {
            assert!(result.unwrap(), "it did not find the board");
            assert_eq!(found.record.code, 0, "{found:?}");
        }
        assert!(found.task.as_ref().is_none_or(|task| task.len() <= 128), "{found:?}");
        // Whoever comes next is none the worse for it.
        let next = ctx.process::<exits>((4,)).start().unwrap();
        next.join();
        let found = certificate(&daemon, next.pid());
        assert_eq!((found.cause, found.record.code), (Cause::Itself, 4));
        assert!(found.task.is_some_and(|task| task.ends_with("exits")));
    }
    assert!(daemon.mpctl(&["deaths"]).status.success());
    assert!(daemon.mpctl(&["status"]).status.success());
}

#[test]
fn more_workers_than_ever_had_places_take_turns() {
    let daemon = Daemon::start(&["--max-workers", "4", "--spares", "1..1"]);
    let ctx = daemon.context();
    for round in 0..30 {
        let process = ctx.process::<exits>((round,)).start().unwrap();
        assert_eq!(process.join(), round);
        let found = certificate(&daemon, process.pid());
        assert!(found.task.is_some_and(|task| task.ends_with("exits")), "round {round}");
    }
}

#[test]
fn a_board_outlives_the_daemon_that_made_it() {
    let mut daemon = Daemon::start(&[]);
    let trace = mp::TraceId(0x00ab_cdef);
    let process = sleeping_with(&daemon.context(), |builder| builder.trace(trace));
    daemon.kill();
    daemon.restart();
    let is_known = |daemon: &Daemon| {
        let deadline = Some(Instant::now() + PATIENCE);
        let reply = daemon.connect().call(&all_processes(), &[], deadline);
        let Ok((Reply::Processes(report), _)) = reply else { panic!("{reply:?}") };
        report.rows.iter().any(|row| row.pid == process.pid())
    };
    assert!(eventually(PATIENCE, || is_known(&daemon)), "its template did not attach itself");
    kill(process.pid(), Signal::SIGKILL);
    process.join();
    let found = certificate(&daemon, process.pid());
    assert_eq!((found.cause, found.trace), (Cause::Unknown, Some(trace)));
    assert!(found.task.is_some_and(|task| task.ends_with("sleeps")));
}

#[test]
fn only_the_latest_are_kept_and_all_are_counted() {
    let daemon = Daemon::start(&["--deaths-kept", "5"]);
    let ctx = daemon.context();
    for _ in 0..12 {
        ctx.process::<exits>((1,)).start().unwrap().join();
    }
    let mut report = deaths(&daemon);
    let all = eventually(PATIENCE, || {
        report = deaths(&daemon);
        report.last == 12
    });
    assert!(all, "{report:?}");
    let numbers: Vec<_> = report.rows.iter().map(|death| death.number).collect();
    assert_eq!((numbers, report.forgotten), (vec![8, 9, 10, 11, 12], 7));
    let query = DeathsQuery { after: 9, limit: 2, worker: None, cause: Some("itself".into()) };
    let deadline = Some(Instant::now() + PATIENCE);
    let reply = daemon.connect().call(&Request::Deaths(query), &[], deadline);
    let Ok((Reply::Deaths(report), _)) = reply else { panic!("{reply:?}") };
    let numbers: Vec<_> = report.rows.iter().map(|death| death.number).collect();
    assert_eq!((numbers, report.left_out), (vec![11, 12], 1));
}
