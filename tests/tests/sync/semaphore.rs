//! `Semaphore` and `BoundedSemaphore`: values, signals, holders that die, and limits.

use crate::{SHORT, STOP, signal, sleep_on, until};
use mp::SyncError;
use mpserverd_tests::suite::{PATIENCE, end, outcome, passed, value};
use mpserverd_tests::words::Words;
use nix::sys::signal::{Signal, raise};
use std::time::{Duration, Instant};

#[mp::task]
fn take_and_die(semaphore: mp::Semaphore, count: u32, forgotten: u32) {
    for index in 0..count {
        let permit = semaphore.permit().unwrap();
        if index < forgotten { permit.forget() } else { std::mem::forget(permit) }
    }
    raise(Signal::SIGKILL).unwrap();
}

#[mp::task]
fn take_and_stay(semaphore: mp::Semaphore, count: u32, taken: mp::Event) {
    for _ in 0..count {
        assert!(semaphore.acquire(true, None).unwrap());
    }
    taken.set();
    sleep_on();
}

#[mp::task]
fn take_signals(semaphore: mp::Semaphore, count: u32) -> u32 {
    (0..count).filter(|_| semaphore.acquire(true, Some(PATIENCE)).unwrap()).count() as u32
}

#[mp::task]
fn take_bounded(semaphore: mp::BoundedSemaphore) -> (u32, bool) {
    let _permit = semaphore.permit().unwrap();
    (semaphore.get_value(), semaphore.locked())
}

/// Takes permits in turn with others; how many were there to be had is checked by all.
#[mp::task]
fn share(semaphore: mp::Semaphore, rounds: u32) -> u32 {
    let mut most = 0;
    for _ in 0..rounds {
        let permit = semaphore.permit_timeout(PATIENCE).unwrap().expect("a permit in time");
        most = most.max(semaphore.get_value());
        drop(permit);
    }
    most
}

fn test_semaphore(ctx: &mp::Context) {
    let semaphore = mp::Semaphore::new(2).unwrap();
    let take = || semaphore.acquire(true, None).unwrap();
    assert_eq!(semaphore.get_value(), 2);
    assert!(take() && take());
    assert_eq!((semaphore.get_value(), semaphore.locked()), (0, true));
    assert!(!semaphore.acquire(false, None).unwrap());
    semaphore.release().unwrap();
    semaphore.release().unwrap();
    assert_eq!(semaphore.get_value(), 2);
    semaphore.release_many(2).unwrap();
    assert_eq!(semaphore.get_value(), 4);
    let shares = || ctx.process::<share>((semaphore.clone(), 300)).start().unwrap();
    let processes = [(); 6].map(|()| shares());
    for process in &processes {
        assert!(outcome(process).unwrap() < 4, "the permit of the process itself was there too");
    }
    assert_eq!(semaphore.get_value(), 4);
}

fn test_bounded_semaphore(ctx: &mp::Context) {
    let semaphore = mp::BoundedSemaphore::new(2).unwrap();
    let over = Err(SyncError::OverRelease { object: "BoundedSemaphore", limit: 2 });
    assert_eq!(semaphore.release(), over);
    let permit = semaphore.permit().unwrap();
    assert_eq!(semaphore.release_many(2), over);
    assert_eq!(semaphore.get_value(), 1, "all or nothing");
    assert_eq!(value(ctx.process::<take_bounded>((semaphore.clone(),))), (0, true));
    drop(permit);
    assert_eq!(semaphore.release(), over);
    assert_eq!(semaphore.get_value(), 2);
}

fn permits_of_a_dead_holder_come_back(ctx: &mp::Context) {
    let semaphore = mp::Semaphore::new(3).unwrap();
    let process = ctx.process::<take_and_die>((semaphore.clone(), 3, 1)).start().unwrap();
    assert_eq!(end(&process), -9);
    assert_eq!(semaphore.get_value(), 0, "nobody has asked yet");
    let all = [(); 2].map(|()| semaphore.permit_timeout(PATIENCE).unwrap().expect("it came back"));
    assert!(semaphore.permit_timeout(SHORT).unwrap().is_none(), "one was given up");
    drop(all);
    assert_eq!(semaphore.get_value(), 2);

    let waits = ctx.process::<take_signals>((semaphore.clone(), 2)).start().unwrap();
    assert_eq!(outcome(&waits).unwrap(), 2);
    let taken = mp::Event::new().unwrap();
    let arguments = (semaphore.clone(), 2, taken.clone());
    let stays = ctx.process::<take_and_stay>(arguments).start().unwrap();
    // What the one before had taken came back at its end, whatever its end was.
    assert!(taken.wait(Some(PATIENCE)));
    let gets = ctx.process::<take_signals>((semaphore.clone(), 1)).start().unwrap();
    std::thread::sleep(SHORT);
    assert!(gets.is_alive());
    stays.kill().unwrap();
    assert_eq!(outcome(&gets).unwrap(), 1);
    // Who only ever tries gets one too.
    until("one can be had", || semaphore.acquire(false, None).unwrap());
}

fn a_stopped_holder_is_alive(ctx: &mp::Context) {
    let semaphore = mp::Semaphore::new(1).unwrap();
    let taken = mp::Event::new().unwrap();
    let arguments = (semaphore.clone(), 1, taken.clone());
    let process = ctx.process::<take_and_stay>(arguments).start().unwrap();
    assert!(taken.wait(Some(PATIENCE)));
    signal(&process, Signal::SIGSTOP);
    let begun = Instant::now();
    assert!(!semaphore.acquire(true, Some(STOP)).unwrap());
    assert!(begun.elapsed() >= STOP);
    signal(&process, Signal::SIGCONT);
    assert!(semaphore.permit_timeout(SHORT).unwrap().is_none());
    process.kill().unwrap();
    assert!(semaphore.acquire(true, Some(PATIENCE)).unwrap());
}

fn a_semaphore_is_a_signal_too(ctx: &mp::Context) {
    let semaphore = mp::Semaphore::new(0).unwrap();
    let process = ctx.process::<take_signals>((semaphore.clone(), 500)).start().unwrap();
    (0..500).for_each(|_| semaphore.release().unwrap());
    assert_eq!(outcome(&process).unwrap(), 500);
    assert_eq!(semaphore.get_value(), 0);
}

mpserverd_tests::suite![
    test_semaphore,
    test_bounded_semaphore,
    permits_of_a_dead_holder_come_back,
    a_stopped_holder_is_alive,
    a_semaphore_is_a_signal_too,
];

#[test]
fn test_timeout() {
    let semaphore = mp::Semaphore::new(0).unwrap();
    for (block, timeout, least) in [
        (false, None, 0),
        (false, Some(Duration::from_secs(1000)), 0),
        (true, Some(Duration::ZERO), 0),
        (true, Some(Duration::from_millis(120)), 120),
    ] {
        let begun = Instant::now();
        assert!(!semaphore.acquire(block, timeout).unwrap());
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_millis(least), "{elapsed:?}");
        assert!(elapsed < PATIENCE, "{elapsed:?}");
    }
}

#[test]
fn values_have_limits() {
    const MAX: u32 = i32::MAX as u32;
    let error = mp::Semaphore::new(MAX + 1).unwrap_err().to_string();
    assert!(error.starts_with("Semaphore: 2147483648 permits"), "{error}");
    let semaphore = mp::Semaphore::new(MAX).unwrap();
    let over = Err(SyncError::OverRelease { object: "Semaphore", limit: MAX });
    assert_eq!(semaphore.release(), over);
    assert_eq!(semaphore.release_many(u32::MAX), over);
    let permit = semaphore.try_permit().unwrap().unwrap();
    assert_eq!(semaphore.release_many(2), over);
    permit.forget();
    assert_eq!(semaphore.get_value(), MAX - 1);
    semaphore.release().unwrap();
    assert_eq!(semaphore.get_value(), MAX);
}

/// Takes the one permit of a semaphore again and again.
#[mp::task]
fn barge(semaphore: mp::Semaphore, words: Words) {
    while words.get(0) == 0 {
        for _ in 0..50 {
            let _permit = semaphore.permit().unwrap();
            words.add(1, 1);
        }
    }
}

#[mp::task]
fn compete(semaphore: mp::Semaphore, words: Words) {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let barger = spawn.process::<barge>((semaphore.clone(), words.clone())).start().unwrap();
    until("it has begun", || words.get(1) > 100);
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let begun = Instant::now();
        assert!(semaphore.permit_timeout(PATIENCE).unwrap().is_some(), "a turn");
        longest = longest.max(begun.elapsed());
    }
    println!("longest wait under a steady load: {longest:?}, {} passes", words.get(1));
    words.set(0, 1);
    assert_eq!(end(&barger), 0);
}

#[test]
fn nobody_starves_under_a_steady_load() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    passed(spawn.process::<compete>((mp::Semaphore::new(1).unwrap(), Words::new(2))));
}

/// More processes than there are accounts: the last one is told, the others go on.
#[test]
fn too_many_holders_are_refused() {
    let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
    let ctx = daemon.context();
    let semaphore = mp::Semaphore::new(0).unwrap();
    semaphore.release_many(70).unwrap();
    let taken = mp::Event::new().unwrap();
    let start = || {
        let arguments = (semaphore.clone(), 1, taken.clone());
        ctx.process::<take_and_stay>(arguments).start().unwrap()
    };
    let mut processes = (0..64).map(|_| start()).collect::<Vec<_>>();
    until("they have theirs", || semaphore.get_value() == 6);
    let refused = SyncError::TooManyHolders { object: "Semaphore", limit: 64 };
    assert_eq!(semaphore.acquire(true, None), Err(refused));
    assert_eq!(semaphore.get_value(), 6);
    let one = processes.pop().unwrap();
    one.kill().unwrap();
    let _ = end(&one);
    assert_eq!(semaphore.acquire(true, None), Ok(true));
    assert_eq!(semaphore.get_value(), 6, "one came back and one was taken");
}
