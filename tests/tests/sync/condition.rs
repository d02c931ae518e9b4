//! `Condition`: who is woken, what timeouts and deaths do to that, and misuse.

use crate::{SHORT, STOP, signal, sleep_on, until};
use mp::{Acquired, SyncError};
use mpserverd_tests::suite::{PATIENCE, end, outcome};
use nix::sys::signal::{Signal, raise};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn conditions() -> [mp::Condition; 2] {
    let lock = mp::Lock::new().unwrap();
    [mp::Condition::new().unwrap(), mp::Condition::with_lock(lock).unwrap()]
}

/// Waits once: whether it was notified.
#[mp::task]
fn wait(condition: mp::Condition, timeout: Option<Duration>) -> bool {
    let _guard = condition.lock().unwrap();
    condition.wait(timeout).unwrap()
}

#[mp::task]
fn wait_deep(condition: mp::Condition) -> bool {
    let _guards = [(); 3].map(|()| condition.lock().unwrap());
    let notified = condition.wait(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        condition.release().unwrap();
    }
    notified && condition.release().is_err()
}

/// Waits in two threads as well.
#[mp::task]
fn wait_thrice(condition: mp::Condition) -> usize {
    let woken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let _guard = condition.lock().unwrap();
                let notified = condition.wait(Some(PATIENCE)).unwrap();
                woken.fetch_add(usize::from(notified), Ordering::Relaxed);
            });
        }
    });
    woken.into_inner()
}

#[mp::task]
fn wait_until_five(condition: mp::Condition, value: mp::Semaphore) -> bool {
    let _guard = condition.lock().unwrap();
    condition.wait_for(|| value.get_value() == 5, Some(PATIENCE)).unwrap()
}

#[mp::task]
fn die_with_the_lock(condition: mp::Condition, depth: u32) {
    for _ in 0..depth {
        assert_eq!(condition.acquire(true, None), Acquired::Yes);
    }
    condition.notify(1).unwrap();
    raise(Signal::SIGKILL).unwrap();
}

#[mp::task]
fn wait_for_a_death(condition: mp::Condition) -> bool {
    let _guard = condition.lock().unwrap();
    let died = condition.wait(None) == Err(SyncError::OwnerDied { object: "Condition" });
    // It is held, and it can be waited again.
    condition.make_consistent().unwrap();
    died && condition.wait(Some(SHORT)) == Ok(false)
}

#[mp::task]
fn hold(condition: mp::Condition) {
    let _guard = condition.lock().unwrap();
    sleep_on();
}

/// So many wait just now, and do nothing else.
fn until_waiting(condition: &mp::Condition, count: usize) {
    until("they wait", || condition.waiters() == count && !condition.locked());
}

fn notify(condition: &mp::Condition, count: usize) -> usize {
    let _guard = condition.lock().unwrap();
    condition.notify(count).unwrap()
}

fn test_notify(ctx: &mp::Context) {
    for condition in conditions() {
        let start = || ctx.process::<wait>((condition.clone(), None)).start().unwrap();
        let processes = [start(), start()];
        until_waiting(&condition, 2);
        assert_eq!(notify(&condition, 1), 1);
        until("one is through", || processes.iter().filter(|one| !one.is_alive()).count() == 1);
        std::thread::sleep(SHORT);
        assert_eq!(condition.waiters(), 1);
        assert_eq!(notify(&condition, 1), 1);
        assert!(processes.iter().all(|process| outcome(process).unwrap()));
        assert_eq!(notify(&condition, 1), 0, "nobody is left");
    }
}

fn test_notify_n(ctx: &mp::Context) {
    let condition = mp::Condition::new().unwrap();
    let start = || ctx.process::<wait_thrice>((condition.clone(),)).start().unwrap();
    let processes = [start(), start()];
    until_waiting(&condition, 6);
    for (count, left) in [(1, 5), (2, 3), (0, 3)] {
        assert_eq!(notify(&condition, count), count);
        std::thread::sleep(SHORT);
        assert_eq!(condition.waiters(), left);
    }
    assert_eq!(notify(&condition, 100), 3);
    assert!(processes.iter().all(|process| outcome(process).unwrap() == 3));
}

fn test_notify_all(ctx: &mp::Context) {
    let condition = mp::Condition::new().unwrap();
    let waits = ctx.process::<wait_thrice>((condition.clone(),)).start().unwrap();
    // Those whose time has passed use up nothing.
    let brief = ctx.process::<wait>((condition.clone(), Some(SHORT))).start().unwrap();
    assert!(!outcome(&brief).unwrap());
    let deep = ctx.process::<wait_deep>((condition.clone(),)).start().unwrap();
    until_waiting(&condition, 4);
    let guard = condition.lock().unwrap();
    assert_eq!(condition.notify_all(), Ok(4));
    drop(guard);
    assert_eq!(outcome(&waits).unwrap(), 3);
    assert!(outcome(&deep).unwrap(), "it holds the lock three times again");
}

fn test_waitfor(ctx: &mp::Context) {
    let condition = mp::Condition::new().unwrap();
    let value = mp::Semaphore::new(0).unwrap();
    let arguments = (condition.clone(), value.clone());
    let process = ctx.process::<wait_until_five>(arguments).start().unwrap();
    for _ in 0..5 {
        until_waiting(&condition, 1);
        let _guard = condition.lock().unwrap();
        value.release().unwrap();
        condition.notify(1).unwrap();
    }
    assert!(outcome(&process).unwrap());
}

fn a_dead_waiter_takes_no_notification(ctx: &mp::Context) {
    for condition in conditions() {
        let dies = ctx.process::<wait>((condition.clone(), None)).start().unwrap();
        until_waiting(&condition, 1);
        let lives = ctx.process::<wait>((condition.clone(), None)).start().unwrap();
        until_waiting(&condition, 2);
        dies.kill().unwrap();
        let _ = end(&dies);
        assert_eq!(notify(&condition, 1), 1, "the one that lives");
        assert!(outcome(&lives).unwrap());
        assert_eq!(notify(&condition, 1), 0);
    }
}

/// It was notified, and could not take the lock before it died.
fn a_notification_that_died_goes_to_another(ctx: &mp::Context) {
    let condition = mp::Condition::new().unwrap();
    let dies = ctx.process::<wait>((condition.clone(), None)).start().unwrap();
    until_waiting(&condition, 1);
    let lives = ctx.process::<wait>((condition.clone(), None)).start().unwrap();
    until_waiting(&condition, 2);
    let guard = condition.lock().unwrap();
    assert_eq!(condition.notify(1), Ok(1));
    std::thread::sleep(SHORT);
    dies.kill().unwrap();
    let _ = end(&dies);
    drop(guard);
    assert!(outcome(&lives).unwrap());
}

fn a_stopped_waiter_is_alive(ctx: &mp::Context) {
    let condition = mp::Condition::new().unwrap();
    let stopped = ctx.process::<wait>((condition.clone(), None)).start().unwrap();
    until_waiting(&condition, 1);
    let other = ctx.process::<wait>((condition.clone(), None)).start().unwrap();
    until_waiting(&condition, 2);
    signal(&stopped, Signal::SIGSTOP);
    let begun = Instant::now();
    assert_eq!(notify(&condition, 1), 1, "the one that has waited longest, stopped or not");
    std::thread::sleep(STOP.saturating_sub(begun.elapsed()));
    assert!(stopped.is_alive() && other.is_alive());
    assert_eq!(condition.waiters(), 1);
    signal(&stopped, Signal::SIGCONT);
    assert!(outcome(&stopped).unwrap());
    assert_eq!(notify(&condition, 1), 1);
    assert!(outcome(&other).unwrap());
}

fn waiters_learn_that_somebody_died_with_the_lock(ctx: &mp::Context) {
    for (condition, depth) in conditions().into_iter().zip([3, 1]) {
        let start = || ctx.process::<wait_for_a_death>((condition.clone(),)).start().unwrap();
        let waits = start();
        until_waiting(&condition, 1);
        // It notifies one and dies with the lock; the one that waits learns the death.
        let dies = ctx.process::<die_with_the_lock>((condition.clone(), depth)).start().unwrap();
        assert_eq!(end(&dies), -9);
        assert!(outcome(&waits).unwrap());
        let waits = start();
        until_waiting(&condition, 1);
        let holds = ctx.process::<hold>((condition.clone(),)).start().unwrap();
        until("it is held", || condition.locked());
        signal(&holds, Signal::SIGSTOP);
        std::thread::sleep(STOP);
        assert!(waits.is_alive(), "a stop is no death");
        holds.kill().unwrap();
        assert!(outcome(&waits).unwrap());
    }
}

mpserverd_tests::suite![
    test_notify,
    test_notify_n,
    test_notify_all,
    test_waitfor,
    a_dead_waiter_takes_no_notification,
    a_notification_that_died_goes_to_another,
    a_stopped_waiter_is_alive,
    waiters_learn_that_somebody_died_with_the_lock,
];

#[test]
fn test_timeout() {
    for condition in conditions() {
        let _guard = condition.lock().unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(110)] {
            let begun = Instant::now();
            assert_eq!(condition.wait(Some(timeout)), Ok(false));
            assert!(begun.elapsed() >= timeout);
        }
        assert_eq!(condition.notify_all(), Ok(0), "those who gave up are gone");
    }
}

#[test]
fn test_waitfor_timeout() {
    let condition = mp::Condition::new().unwrap();
    let _guard = condition.lock().unwrap();
    let begun = Instant::now();
    assert_eq!(condition.wait_for(|| false, Some(SHORT)), Ok(false));
    assert!(begun.elapsed() >= SHORT);
    let mut asked = 0;
    let thrice = || {
        asked += 1;
        asked == 3
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..2).for_each(|_| {
                until_waiting(&condition, 1);
                notify(&condition, 1);
            })
        });
        assert_eq!(condition.wait_for(thrice, Some(PATIENCE)), Ok(true));
    });
}

#[test]
fn test_wait_result() {
    let condition = mp::Condition::new().unwrap();
    std::thread::scope(|scope| {
        let guard = condition.lock().unwrap();
        assert_eq!(condition.wait(Some(Duration::ZERO)), Ok(false));
        assert_eq!(condition.wait(Some(SHORT)), Ok(false));
        scope.spawn(|| notify(&condition, 1));
        assert_eq!(condition.wait(Some(PATIENCE)), Ok(true));
        drop(guard);
    });
}

#[test]
fn without_the_lock_nothing_can_be_done() {
    let refused = SyncError::NotOwner { object: "Condition" };
    for condition in conditions() {
        assert_eq!(condition.wait(None), Err(refused));
        assert_eq!(condition.wait_for(|| true, None), Err(refused));
        assert_eq!(condition.notify(1), Err(refused));
        assert_eq!(condition.notify_all(), Err(refused));
        assert!(condition.release().is_err());
        let guard = condition.lock().unwrap();
        assert!(condition.locked());
        drop(guard);
    }
    let condition = mp::Condition::new().unwrap();
    let _guard = condition.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(condition.notify(1), Err(refused), "another thread"));
    });
}

#[test]
fn too_many_waiters_are_refused() {
    let condition = mp::Condition::new().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..256 {
            scope.spawn(|| {
                let _guard = condition.lock().unwrap();
                assert_eq!(condition.wait(None), Ok(true));
            });
        }
        until_waiting(&condition, 256);
        let guard = condition.lock().unwrap();
        let refused = SyncError::TooManyWaiters { object: "Condition", limit: 256 };
        assert_eq!(condition.wait(None), Err(refused));
        assert_eq!(condition.notify(1), Ok(1));
        drop(guard);
        // Its place is free once it has the lock again.
        until("there is a place", || {
            let _guard = condition.lock().unwrap();
            condition.wait(Some(Duration::ZERO)) == Ok(false)
        });
        let guard = condition.lock().unwrap();
        assert_eq!(condition.notify_all(), Ok(255));
        drop(guard);
    });
}
