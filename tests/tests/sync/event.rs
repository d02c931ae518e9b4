//! `Event`: set, clear and wait, between processes and in signal handlers.

use crate::{SHORT, until};
use mpserverd_tests::suite::{PATIENCE, end, outcome};
use mpserverd_tests::words::Words;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::unistd::Pid;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[mp::task]
fn wait(event: mp::Event, timeout: Option<Duration>) -> bool {
    event.wait(timeout)
}

#[mp::task]
fn set_later(event: mp::Event) {
    std::thread::sleep(SHORT);
    event.set();
}

#[mp::task]
fn set_and_die(event: mp::Event) {
    event.set();
    raise(Signal::SIGKILL).unwrap();
}

fn test_event(ctx: &mp::Context) {
    let event = mp::Event::new().unwrap();
    assert!(!event.is_set());
    assert!(!event.wait(Some(Duration::ZERO)));
    let begun = Instant::now();
    assert!(!event.wait(Some(SHORT)));
    assert!(begun.elapsed() >= SHORT);
    let process = ctx.process::<set_later>((event.clone(),)).start().unwrap();
    assert!(event.wait(None));
    assert!(event.is_set() && event.wait(Some(Duration::ZERO)));
    assert_eq!(end(&process), 0);
    event.clear();
    assert!(!event.is_set());
    let waits = || ctx.process::<wait>((event.clone(), None)).start().unwrap();
    let processes = [waits(), waits(), waits()];
    std::thread::sleep(SHORT);
    // Who slept through both was there when it was set; who comes later sees the next one.
    event.set();
    event.clear();
    std::thread::sleep(SHORT);
    event.set();
    assert!(processes.iter().all(|process| outcome(process).unwrap()));
    event.clear();
    let process = ctx.process::<set_and_die>((event.clone(),)).start().unwrap();
    assert!(event.wait(Some(PATIENCE)));
    assert_eq!(end(&process), -9);
}

static IN_HANDLER: OnceLock<mp::Event> = OnceLock::new();
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn set_it(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    if let Some(event) = IN_HANDLER.get() {
        event.set();
    }
}

/// Waits for, and asks after, an event that only its own signal handler sets.
#[mp::task]
fn be_interrupted(event: mp::Event, words: Words) -> u64 {
    IN_HANDLER.set(event.clone()).unwrap();
    let action = SigAction::new(SigHandler::Handler(set_it), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler uses atomics and `Event::set` only, which is safe in one.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    words.set(0, 1);
    let mut seen = 0;
    while HANDLED.load(Ordering::Relaxed) < 2000 {
        assert!(
            event.wait(Some(PATIENCE)),
            "{} signals, no event",
            HANDLED.load(Ordering::Relaxed)
        );
        seen += u64::from(event.is_set());
        event.clear();
        // A while in which it is set, cleared and asked after, and interrupted there.
        for _ in 0..200 {
            let _ = event.is_set();
            event.set();
            event.clear();
        }
    }
    seen
}

fn test_set_in_a_signal_handler(ctx: &mp::Context) {
    let event = mp::Event::new().unwrap();
    let words = Words::new(1);
    let arguments = (event.clone(), words.clone());
    let process = ctx.process::<be_interrupted>(arguments).start().unwrap();
    until("it has a handler", || words.get(0) == 1);
    let begun = Instant::now();
    while process.is_alive() {
        assert!(begun.elapsed() < PATIENCE, "it hangs");
        let _ = kill(Pid::from_raw(process.pid() as i32), Signal::SIGUSR1);
        std::thread::sleep(Duration::from_micros(50));
    }
    assert!(outcome(&process).unwrap() > 0);
}

mpserverd_tests::suite![test_event, test_set_in_a_signal_handler];

#[test]
fn a_waiter_that_sleeps_through_set_and_clear_returns_true() {
    let event = mp::Event::new().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let waits = scope.spawn(|| event.wait(Some(PATIENCE)));
            while !waits.is_finished() {
                event.set();
                event.clear();
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(waits.join().unwrap());
        }
    });
}
