//! `RLock`: recursion, owners that are threads, and owners that die deep inside.

use mp::{Acquired, SyncError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, value};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

const SHORT: Option<Duration> = Some(Duration::from_millis(50));

#[mp::task]
fn is_locked(lock: mp::RLock) -> (bool, bool, bool) {
    let taken = lock.acquire(false, None).is_held() || lock.acquire(true, SHORT).is_held();
    let refused = lock.release() == Err(SyncError::NotOwner { object: "RLock" });
    (lock.locked(), taken, refused)
}

#[mp::task]
fn increment(lock: mp::RLock, rounds: u32) -> u32 {
    let mut clean = 0;
    for _ in 0..rounds {
        let outer = lock.lock().unwrap();
        let inner = lock.lock_timeout(PATIENCE).unwrap();
        clean += u32::from(lock.locked());
        drop(outer);
        assert!(lock.locked());
        drop(inner);
    }
    clean
}

#[mp::task]
fn die_inside(lock: mp::RLock, depth: u32) {
    for _ in 0..depth {
        assert_eq!(lock.acquire(true, None), Acquired::Yes);
    }
    raise(Signal::SIGKILL).unwrap();
}

#[mp::task]
fn hold(lock: mp::RLock, entered: mp::RLock) {
    assert_eq!(lock.acquire(true, None), Acquired::Yes);
    assert_eq!(entered.acquire(true, None), Acquired::Yes);
    std::thread::sleep(2 * PATIENCE);
}

fn test_rlock(ctx: &mp::Context) {
    let lock = mp::RLock::new().unwrap();
    for _ in 0..3 {
        assert_eq!(lock.acquire(true, None), Acquired::Yes);
    }
    assert_eq!(value(ctx.process::<is_locked>((lock.clone(),))), (true, false, true));
    for _ in 0..3 {
        assert!(lock.locked());
        lock.release().unwrap();
    }
    assert!(!lock.locked());
    assert_eq!(lock.release(), Err(SyncError::NotOwner { object: "RLock" }));
    assert_eq!(lock.make_consistent(), Err(SyncError::NotOwner { object: "RLock" }));
    let process = ctx.process::<increment>((lock.clone(), 500)).start().unwrap();
    let other = lock.clone();
    for _ in 0..500 {
        let _guard = lock.lock().unwrap();
        let _again = other.try_lock().unwrap();
    }
    assert_eq!(suite::outcome(&process).unwrap(), 500);
}

fn an_owner_that_dies_deep_inside_is_followed_by_one_that_counts_from_one(ctx: &mp::Context) {
    let lock = mp::RLock::new().unwrap();
    for depth in [1, 2, 5] {
        let process = ctx.process::<die_inside>((lock.clone(), depth)).start().unwrap();
        assert_eq!(end(&process), -9);
        let Err(died) = lock.lock() else { panic!("its owner died") };
        let guard = died.into_inner();
        assert_eq!(lock.acquire(true, None), Acquired::OwnerDied, "nobody has made it good");
        lock.release().unwrap();
        guard.make_consistent();
        assert_eq!(lock.acquire(true, None), Acquired::Yes);
        lock.release().unwrap();
        drop(guard);
        assert!(!lock.locked());
    }
}

fn a_stopped_owner_is_alive(ctx: &mp::Context) {
    let [lock, entered] = [0; 2].map(|_| mp::RLock::new().unwrap());
    let process = ctx.process::<hold>((lock.clone(), entered.clone())).start().unwrap();
    assert!(mpserverd_tests::eventually(PATIENCE, || entered.locked()));
    let pid = Pid::from_raw(process.pid() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    let begun = Instant::now();
    assert_eq!(lock.acquire(true, Some(Duration::from_millis(400))), Acquired::No);
    assert!(begun.elapsed() >= Duration::from_millis(400));
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(lock.acquire(true, SHORT), Acquired::No);
    process.kill().unwrap();
    assert_eq!(lock.acquire(true, Some(PATIENCE)), Acquired::OwnerDied);
    lock.release().unwrap();
}

suite![
    test_rlock,
    an_owner_that_dies_deep_inside_is_followed_by_one_that_counts_from_one,
    a_stopped_owner_is_alive,
];

#[test]
fn another_thread_is_another_owner() {
    let lock = mp::RLock::new().unwrap();
    let guard = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert!(matches!(lock.try_lock(), Err(mp::TryLockError::WouldBlock)));
            assert_eq!(lock.acquire(true, SHORT), Acquired::No);
            assert_eq!(lock.acquire(true, Some(Duration::ZERO)), Acquired::No);
            lock.release()
        });
        assert_eq!(other.join().unwrap(), Err(SyncError::NotOwner { object: "RLock" }));
    });
    drop(guard);
    assert!(!lock.locked());
}

#[test]
fn threads_exclude_each_other() {
    let lock = mp::RLock::new().unwrap();
    let inside = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let _outer = lock.lock().unwrap();
                    let _inner = lock.lock().unwrap();
                    let relaxed = std::sync::atomic::Ordering::Relaxed;
                    assert_eq!(inside.fetch_add(1, relaxed), 0);
                    inside.fetch_sub(1, relaxed);
                }
            });
        }
    });
    assert!(!lock.locked());
}
