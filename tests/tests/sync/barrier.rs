//! `Barrier`: lockstep, actions, and all that breaks it.

use crate::{SHORT, STOP, signal, sleep_on, until};
use mp::BrokenBarrier;
use mpserverd_tests::suite::{PATIENCE, end, outcome};
use mpserverd_tests::words::Words;
use nix::sys::signal::{Signal, raise};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Waited = Result<usize, BrokenBarrier>;

/// What a wait came to, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Outcome {
    Passed(usize),
    Broken(String),
}

impl From<Waited> for Outcome {
    fn from(waited: Waited) -> Self {
        waited.map_or_else(|broken| Self::Broken(format!("{broken:?}")), Self::Passed)
    }
}

fn broken(why: BrokenBarrier) -> Outcome {
    Err(why).into()
}

#[mp::task]
fn wait(barrier: mp::Barrier, timeout: Option<Duration>) -> Outcome {
    barrier.wait(timeout).into()
}

/// Meets the others so often, and sees each time that all have come as far as it has.
#[mp::task]
fn lockstep(barrier: mp::Barrier, words: Words, place: usize, rounds: u64) -> u64 {
    let mut zeroes = 0;
    for round in 1..=rounds {
        words.set(place, round);
        let action = || words.add(barrier.parties(), 1);
        zeroes += u64::from(barrier.wait_with(None, action).unwrap() == 0);
        for other in 0..barrier.parties() {
            assert!((round..=round + 1).contains(&words.get(other)), "{other} in round {round}");
        }
    }
    zeroes
}

#[mp::task]
fn die_in_the_action(barrier: mp::Barrier, killed: bool) {
    let action = || if killed { raise(Signal::SIGKILL).unwrap() } else { panic!("on purpose") };
    let _ = barrier.wait_with(None, action);
}

#[mp::task]
fn act_long(barrier: mp::Barrier, words: Words) -> Outcome {
    let action = || {
        words.set(0, 1);
        sleep_on();
    };
    barrier.wait_with(None, action).into()
}

fn waits(ctx: &mp::Context, barrier: &mp::Barrier, count: usize) -> Vec<mp::Process<Outcome>> {
    let start = |_| ctx.process::<wait>((barrier.clone(), None)).start().unwrap();
    let processes = (0..count).map(start).collect();
    until("they wait", || barrier.n_waiting() == count);
    processes
}

fn outcomes(processes: &[mp::Process<Outcome>]) -> Vec<Outcome> {
    processes.iter().map(|process| outcome(process).unwrap()).collect()
}

fn test_barrier(ctx: &mp::Context) {
    let barrier = mp::Barrier::new(5, None).unwrap();
    assert_eq!((barrier.parties(), barrier.n_waiting(), barrier.broken()), (5, 0, false));
    let words = Words::new(6);
    let start = |place| {
        let arguments = (barrier.clone(), words.clone(), place, 200);
        ctx.process::<lockstep>(arguments).start().unwrap()
    };
    let processes = (0..5).map(start).collect::<Vec<_>>();
    let zeroes = processes.iter().map(|process| outcome(process).unwrap()).sum::<u64>();
    assert_eq!(zeroes, 200, "one index 0 in each round");
    assert_eq!(words.get(5), 200, "one action in each round");

    let processes = waits(ctx, &barrier, 4);
    let own = barrier.wait(None).map(Outcome::Passed).unwrap();
    let all = outcomes(&processes).into_iter().chain([own]).map(|outcome| format!("{outcome:?}"));
    assert_eq!(all.collect::<BTreeSet<_>>().len(), 5, "each its own index");
    assert_eq!(barrier.n_waiting(), 0);
}

fn test_barrier_abort(ctx: &mp::Context) {
    let barrier = mp::Barrier::new(3, None).unwrap();
    let processes = waits(ctx, &barrier, 2);
    barrier.abort();
    assert_eq!(outcomes(&processes), vec![broken(BrokenBarrier::Aborted); 2]);
    assert!(barrier.broken());
    assert_eq!(barrier.wait(None), Err(BrokenBarrier::Aborted));
    barrier.reset();
    assert!(!barrier.broken());
    let processes = waits(ctx, &barrier, 2);
    assert_eq!(barrier.wait(None), Ok(2));
    assert_eq!(outcomes(&processes).len(), 2);
}

fn test_barrier_reset(ctx: &mp::Context) {
    let barrier = mp::Barrier::new(3, None).unwrap();
    for _ in 0..3 {
        let processes = waits(ctx, &barrier, 2);
        barrier.reset();
        assert_eq!(outcomes(&processes), vec![broken(BrokenBarrier::Reset); 2]);
        assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
    }
    let processes = waits(ctx, &barrier, 2);
    assert_eq!(barrier.wait(Some(PATIENCE)), Ok(2));
    assert!(outcomes(&processes).iter().all(|outcome| matches!(outcome, Outcome::Passed(_))));
}

fn test_barrier_timeout(ctx: &mp::Context) {
    let barrier = mp::Barrier::new(3, None).unwrap();
    let processes = waits(ctx, &barrier, 1);
    let begun = Instant::now();
    assert_eq!(barrier.wait(Some(SHORT)), Err(BrokenBarrier::TimedOut));
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(outcomes(&processes), [broken(BrokenBarrier::TimedOut)]);
    assert_eq!(barrier.wait(Some(Duration::ZERO)), Err(BrokenBarrier::TimedOut));
}

fn a_waiter_that_dies_breaks_it(ctx: &mp::Context) {
    let barrier = mp::Barrier::new(4, None).unwrap();
    let mut processes = waits(ctx, &barrier, 3);
    let stopped = &processes[0];
    signal(stopped, Signal::SIGSTOP);
    std::thread::sleep(STOP);
    assert_eq!((barrier.n_waiting(), barrier.broken()), (3, false), "a stop is no death");
    signal(stopped, Signal::SIGCONT);
    let dies = processes.swap_remove(1);
    dies.kill().unwrap();
    let _ = end(&dies);
    let died = BrokenBarrier::ParticipantDied { pid: dies.pid() };
    assert_eq!(outcomes(&processes), vec![broken(died); 2]);
    assert_eq!(barrier.wait(None), Err(died));
    barrier.reset();
    let processes = waits(ctx, &barrier, 3);
    assert_eq!(barrier.wait(None), Ok(3));
    assert_eq!(outcomes(&processes).len(), 3);
}

fn an_action_that_dies_or_panics_breaks_it(ctx: &mp::Context) {
    let barrier = mp::Barrier::new(2, None).unwrap();
    for killed in [true, false] {
        let processes = waits(ctx, &barrier, 1);
        let arguments = (barrier.clone(), killed);
        let acts = ctx.process::<die_in_the_action>(arguments).start().unwrap();
        let failed = BrokenBarrier::ActionFailed;
        let died = BrokenBarrier::ParticipantDied { pid: acts.pid() };
        assert_eq!(outcomes(&processes), [broken(if killed { died } else { failed })]);
        assert_eq!(end(&acts), if killed { -9 } else { 1 });
        assert!(barrier.broken());
        barrier.reset();
    }
    // One that takes too long: those who wait go when they said, and so does nobody else.
    let words = Words::new(1);
    let start = || ctx.process::<wait>((barrier.clone(), Some(4 * SHORT))).start().unwrap();
    let brief = start();
    // Or has waited, and is gone already.
    until("it waits", || barrier.n_waiting() == 1 || barrier.broken());
    let acts = ctx.process::<act_long>((barrier.clone(), words.clone())).start().unwrap();
    assert_eq!(outcome(&brief).unwrap(), broken(BrokenBarrier::TimedOut));
    acts.kill().unwrap();
}

mpserverd_tests::suite![
    test_barrier,
    test_barrier_abort,
    test_barrier_reset,
    test_barrier_timeout,
    a_waiter_that_dies_breaks_it,
    an_action_that_dies_or_panics_breaks_it,
];

#[test]
fn test_thousand() {
    let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
    let barrier = mp::Barrier::new(5, None).unwrap();
    let words = Words::new(6);
    let start = |place| {
        let arguments = (barrier.clone(), words.clone(), place, 1000);
        daemon.context().process::<lockstep>(arguments).start().unwrap()
    };
    let processes = (0..5).map(start).collect::<Vec<_>>();
    assert_eq!(processes.iter().map(|process| outcome(process).unwrap()).sum::<u64>(), 1000);
}

#[test]
fn test_default_timeout() {
    let barrier = mp::Barrier::new(2, Some(SHORT)).unwrap();
    let begun = Instant::now();
    assert_eq!(barrier.wait(None), Err(BrokenBarrier::TimedOut));
    assert!(begun.elapsed() >= SHORT);
}

#[test]
fn test_single_thread() {
    let barrier = mp::Barrier::new(1, None).unwrap();
    let mut acted = 0;
    for _ in 0..3 {
        assert_eq!(barrier.wait_with(Some(Duration::ZERO), || acted += 1), Ok(0));
    }
    assert_eq!(acted, 3);
}

#[test]
fn parties_have_limits() {
    for parties in [0, 1025, usize::MAX] {
        let error = mp::Barrier::new(parties, None).unwrap_err();
        assert!(matches!(error, mp::ShareError::Size { object: "Barrier", .. }), "{error}");
    }
    assert_eq!(mp::Barrier::new(1024, None).unwrap().parties(), 1024);
}

/// More threads than parties: each generation is let through whole.
#[test]
fn a_crowd_passes_in_groups() {
    let barrier = mp::Barrier::new(3, None).unwrap();
    let turns = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..9 {
            scope.spawn(|| {
                // Together a multiple of three, whoever takes them.
                while turns.fetch_add(1, Ordering::Relaxed) < 900 {
                    barrier.wait(Some(PATIENCE)).unwrap();
                }
            });
        }
    });
    assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
}
