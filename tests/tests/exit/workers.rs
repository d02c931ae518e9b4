//! Handlers of workers. The hooks of this program have registered some in whatever process they
//! ran in, and so has every parent here.

use super::{MARKS, mark};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end};
use std::sync::Once;
use std::time::Duration;

/// How a task ends its process.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
enum End {
    Return,
    Panic,
    Exit(i32),
    Abort,
    Signal(i32),
}

#[mp::task]
fn end_by(end: End) {
    mp::at_exit(|| mark("first"));
    mp::at_exit(|| panic!("it keeps no other handler from running"));
    mp::at_exit(|| {
        mp::at_exit(|| mark("by a handler"));
        mark("last");
    });
    match end {
        End::Return => {}
        End::Panic => panic!("as asked"),
        End::Exit(code) => std::process::exit(code),
        End::Abort => std::process::abort(),
        End::Signal(number) => {
            let signal = nix::sys::signal::Signal::try_from(number).unwrap();
            nix::sys::signal::raise(signal).unwrap();
            std::thread::sleep(PATIENCE);
        }
    }
}

/// Its child outlives nobody, but the handlers see it.
#[mp::task]
fn look_at_a_child() {
    let sleeper = mp::get_context(None).process::<sleep_for_ever>(()).daemon(true).start().unwrap();
    mp::at_exit(move || mark(if sleeper.is_alive() { "alive" } else { "ended" }));
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

suite![
    a_normal_end_runs_its_own_and_nobody_elses,
    any_other_end_runs_none,
    children_are_there_until_all_have_run,
    a_handler_that_hangs_can_be_killed,
];

/// What the handlers of a worker say, and its exit code.
fn marks_of(process: mp::ProcessBuilder<()>) -> (String, i32) {
    static PARENTS_OWN: Once = Once::new();
    PARENTS_OWN.call_once(|| mp::at_exit(|| mark("parent")));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("marks");
    let process = process.env(MARKS, &path).stderr(mp::Stream::Null);
    let code = end(&process.rlimit(mp::Resource::Core, 0, 0).start().unwrap());
    (std::fs::read_to_string(path).unwrap_or_default(), code)
}

fn a_normal_end_runs_its_own_and_nobody_elses(ctx: &mp::Context) {
    let ways = [(End::Return, 0), (End::Panic, 1), (End::Exit(0), 0), (End::Exit(3), 3)];
    for (end, code) in ways {
        let want = ("last\nby a handler\nfirst\nafter_fork\n".to_owned(), code);
        assert_eq!(marks_of(ctx.process::<end_by>((end,))), want, "{end:?}");
    }
}

fn any_other_end_runs_none(ctx: &mp::Context) {
    for (end, code) in [(End::Abort, -6), (End::Signal(9), -9), (End::Signal(15), -15)] {
        assert_eq!(marks_of(ctx.process::<end_by>((end,))), (String::new(), code), "{end:?}");
    }
}

fn children_are_there_until_all_have_run(ctx: &mp::Context) {
    let (marks, code) = marks_of(ctx.process::<look_at_a_child>(()));
    assert_eq!((&*marks, code), ("alive\nafter_fork\n", 0));
}

#[mp::task]
fn hang_at_the_end() {
    mp::at_exit(|| mark("never reached"));
    mp::at_exit(|| std::thread::sleep(PATIENCE));
}

fn a_handler_that_hangs_can_be_killed(ctx: &mp::Context) {
    let process = ctx.process::<hang_at_the_end>(()).start().unwrap();
    process.result_timeout(PATIENCE).unwrap();
    assert_eq!(process.join_timeout(Duration::from_millis(50)), None);
    process.kill().unwrap();
    assert_eq!(end(&process), -9);
}
