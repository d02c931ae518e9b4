//! Ending a process from outside, and what signals do to it.

use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, in_time, outcome, value};
use std::time::Duration;

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// Signals that are blocked, and those that are ignored, as masks; those that glibc and the
/// harness may have changed for themselves excepted.
#[mp::task]
fn dispositions() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & 0x7fff_ffff
    };
    (mask("SigBlk:"), mask("SigIgn:"))
}

#[mp::task]
fn raise(number: i32) {
    let signal = nix::sys::signal::Signal::try_from(number).unwrap();
    nix::sys::signal::raise(signal).unwrap();
}

#[mp::task]
fn write_to_a_closed_pipe() -> std::io::Result<()> {
    use std::io::Write;
    let (reader, mut writer) = std::io::pipe()?;
    drop(reader);
    writer.write_all(b"x")
}

#[mp::task]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

suite![
    each_way_of_ending_has_its_code,
    a_deadline_kills,
    a_deadline_that_is_met_does_nothing,
    a_grace_lets_it_end_in_order,
    a_grace_ends_by_a_kill,
    who_does_not_handle_the_signal_ends_by_it,
    signals_of_its_own_are_told,
    workers_block_and_ignore_nothing,
    a_broken_pipe_is_an_error,
];

fn each_way_of_ending_has_its_code(ctx: &mp::Context) {
    type Kill = fn(&mp::Handle) -> std::io::Result<()>;
    let ways: [(Kill, i32); 4] = [
        (mp::Handle::terminate, -15),
        (mp::Handle::kill, -9),
        (mp::Handle::interrupt, -2),
        (|process| process.signal(10), -10),
    ];
    for (kill, code) in ways {
        let process = ctx.process::<sleep_for_ever>(()).start().unwrap();
        assert_eq!(process.join_timeout(Duration::ZERO), None);
        kill(&process).unwrap();
        assert_eq!(end(&process), code);
        match outcome(&process) {
            Err(mp::ProcessError::Died { ending: mp::Ending::Known(record), .. }) => {
                assert_eq!(record.signal(), Some(-code));
            }
            other => panic!("{other:?}"),
        }
        kill(&process).unwrap();
    }
    let process = ctx.process::<sleep_for_ever>(()).start().unwrap();
    process.signal(999).unwrap_err();
    process.kill().unwrap();
}

fn a_deadline_kills(ctx: &mp::Context) {
    for limit in [Duration::from_millis(50), Duration::from_nanos(1)] {
        let process = ctx.process::<sleep_for_ever>(()).deadline(limit).start().unwrap();
        match outcome(&process) {
            Err(mp::ProcessError::DeadlineExceeded(told)) => {
                assert_eq!(told, limit.max(Duration::from_millis(1)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(end(&process), -9);
    }
}

fn a_deadline_that_is_met_does_nothing(ctx: &mp::Context) {
    let process = ctx.process::<nap>((1,)).deadline(PATIENCE).start().unwrap();
    assert_eq!(outcome(&process).unwrap(), 1);
    assert_eq!(end(&process), 0);
    assert_eq!(value(ctx.process::<nap>((2,)).deadline(Duration::MAX)), 2);
}

/// Handles `SIGTERM`, which it says by the event: returns then, or goes on.
#[mp::task]
fn be_asked(path: std::path::PathBuf, obeys: bool, ready: mp::Event) -> u32 {
    use std::sync::atomic::{AtomicBool, Ordering};
    let asked = std::sync::Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, asked.clone()).unwrap();
    mp::at_exit(move || std::fs::write(path, "in order").unwrap());
    ready.set();
    while !obeys || !asked.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    7
}

/// Mostly long enough to be ready for the signal.
const LIMIT: Duration = Duration::from_secs(1);

fn deadline_exceeded<T: std::fmt::Debug>(process: &mp::Process<T>, limit: Duration) {
    match outcome(process) {
        Err(mp::ProcessError::DeadlineExceeded(told)) => assert_eq!(told, limit),
        other => panic!("{other:?}"),
    }
}

fn a_grace_lets_it_end_in_order(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    let code = in_time(LIMIT, |limit| {
        let ready = mp::Event::new().unwrap();
        let process = ctx.process::<be_asked>((mark.clone(), true, ready.clone()));
        let process = process.deadline(limit).grace(PATIENCE).start().unwrap();
        deadline_exceeded(&process, limit);
        let code = end(&process);
        ready.is_set().then_some(code)
    });
    assert_eq!(code, 1);
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "in order");
}

fn a_grace_ends_by_a_kill(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    let grace = Duration::from_millis(200);
    let code = in_time(LIMIT, |limit| {
        let (ready, begun) = (mp::Event::new().unwrap(), std::time::Instant::now());
        let process = ctx.process::<be_asked>((mark.clone(), false, ready.clone()));
        let process = process.deadline(limit).grace(grace).start().unwrap();
        // Its result is there before the grace is over, and it lives on.
        deadline_exceeded(&process, limit);
        let code = end(&process);
        ready.is_set().then(|| {
            assert!(begun.elapsed() >= limit + grace);
            code
        })
    });
    assert_eq!(code, -9);
    assert!(!mark.exists());
}

fn who_does_not_handle_the_signal_ends_by_it(ctx: &mp::Context) {
    let limit = Duration::from_millis(50);
    for grace in [PATIENCE, Duration::MAX] {
        let process = ctx.process::<sleep_for_ever>(()).deadline(limit).grace(grace);
        let process = process.start().unwrap();
        deadline_exceeded(&process, limit);
        assert_eq!(end(&process), -15);
    }
    // Without a deadline there is none to be gracious about.
    assert_eq!(value(ctx.process::<nap>((3,)).grace(Duration::from_millis(1))), 3);
}

fn signals_of_its_own_are_told(ctx: &mp::Context) {
    for signal in [6, 9, 11, 15] {
        let process =
            ctx.process::<raise>((signal,)).rlimit(mp::Resource::Core, 0, 0).start().unwrap();
        assert_eq!(end(&process), -signal);
    }
}

fn workers_block_and_ignore_nothing(ctx: &mp::Context) {
    // Rust programs ignore SIGPIPE (13).
    assert_eq!(value(ctx.process::<dispositions>(())), (0, 1 << 12));
}

fn a_broken_pipe_is_an_error(ctx: &mp::Context) {
    let error = value(ctx.process::<write_to_a_closed_pipe>(())).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}
