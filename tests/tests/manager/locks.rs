//! Locks, recursive locks, semaphores and events: what they do between threads and processes.

use crate::{SHORT, until};
use mp::{Acquired, ManagerError, SyncError};
use mpserverd_tests::suite::{PATIENCE, value};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[mp::task]
fn try_and_release(lock: mp::LockProxy) -> Result<bool, mp::TaskError> {
    let taken = lock.acquire(false, None)?.is_held();
    lock.release()?; // anybody may
    Ok(taken)
}

#[mp::task]
fn try_recursive(lock: mp::RLockProxy) -> Result<(bool, bool), mp::TaskError> {
    let taken = lock.acquire(true, Some(SHORT))?.is_held();
    Ok((taken, lock.release().is_ok()))
}

#[mp::task]
fn set(event: mp::EventProxy) -> Result<bool, mp::TaskError> {
    event.set()?;
    Ok(event.is_set()?)
}

fn between_processes(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let lock = manager.lock().unwrap();
    assert_eq!(lock.acquire(true, None).unwrap(), Acquired::Yes);
    assert!(!value(ctx.process::<try_and_release>((lock.clone(),))).unwrap());
    assert!(!lock.locked().unwrap());
    let lock = manager.rlock().unwrap();
    let held = lock.lock().unwrap();
    assert_eq!(value(ctx.process::<try_recursive>((lock.clone(),))).unwrap(), (false, false));
    drop(held);
    assert_eq!(value(ctx.process::<try_recursive>((lock.clone(),))).unwrap(), (true, true));
    let event = manager.event().unwrap();
    assert!(value(ctx.process::<set>((event.clone(),))).unwrap());
    assert!(event.wait(None).unwrap());
}

mpserverd_tests::suite![between_processes];

#[test]
fn a_lock() {
    let manager = crate::spawned();
    let lock = manager.lock().unwrap();
    assert!(matches!(
        lock.release(),
        Err(ManagerError::Sync(SyncError::NotHeld { object: "LockProxy" }))
    ));
    let held = lock.lock().unwrap();
    assert!(!held.owner_died() && lock.locked().unwrap());
    assert!(lock.try_lock().unwrap().is_none());
    let begun = Instant::now();
    assert!(lock.lock_timeout(SHORT).unwrap().is_none());
    assert_eq!(lock.acquire(true, Some(Duration::ZERO)).unwrap(), Acquired::No);
    assert!(begun.elapsed() >= SHORT);
    drop(held);
    assert!(!lock.locked().unwrap());
    drop(lock.try_lock().unwrap().unwrap());
    drop(lock.lock_timeout(PATIENCE).unwrap().unwrap());
}

#[test]
fn threads_of_one_process_wait_beside_each_other() {
    let manager = crate::spawned();
    let (lock, list) = (manager.lock().unwrap(), manager.list([]).unwrap());
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let (told, tell) = mpsc::channel();
        for number in 0..10u32 {
            let (lock, list, told) = (lock.clone(), list.clone(), told.clone());
            scope.spawn(move || {
                let _held = lock.lock().unwrap();
                list.append(&number).unwrap();
                told.send(number).unwrap();
            });
        }
        // Ten threads wait, and this one's calls are answered.
        for number in 100..200 {
            list.append(&number).unwrap();
        }
        assert!(tell.try_recv().is_err());
        drop(held);
        for _ in 0..10 {
            tell.recv_timeout(PATIENCE).unwrap();
        }
    });
    assert_eq!(list.len().unwrap(), 110);
}

#[test]
fn a_recursive_lock_belongs_to_a_thread() {
    let manager = crate::spawned();
    let lock = manager.rlock().unwrap();
    for _ in 0..3 {
        assert!(lock.acquire(true, None).unwrap().is_held());
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(lock.acquire(false, None).unwrap(), Acquired::No);
            assert!(matches!(lock.release(), Err(ManagerError::Sync(SyncError::NotOwner { .. }))));
        });
    });
    for _ in 0..3 {
        assert!(lock.locked().unwrap());
        lock.release().unwrap();
    }
    assert!(!lock.locked().unwrap() && lock.release().is_err());
}

#[test]
fn semaphores() {
    let manager = crate::spawned();
    let semaphore = manager.semaphore(2).unwrap();
    let (first, second) = (semaphore.permit().unwrap(), semaphore.try_permit().unwrap());
    assert!(second.is_some() && semaphore.get_value().unwrap() == 0);
    assert!(semaphore.try_permit().unwrap().is_none());
    assert!(semaphore.permit_timeout(SHORT).unwrap().is_none());
    drop((first, second));
    semaphore.release_many(2).unwrap();
    assert_eq!(semaphore.get_value().unwrap(), 4);
    let bounded = manager.bounded_semaphore(1).unwrap();
    assert!(bounded.acquire(true, None).unwrap());
    bounded.release().unwrap();
    assert!(matches!(
        bounded.release(),
        Err(ManagerError::Sync(SyncError::OverRelease { limit: 1, .. }))
    ));
    assert!(matches!(manager.semaphore(u32::MAX), Err(ManagerError::Limit { .. })));
    // As a signal: released by one, acquired by another.
    let signal = manager.semaphore(0).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| (0..50).all(|_| signal.acquire(true, None).unwrap()));
        (0..50).for_each(|_| signal.release().unwrap());
        assert!(waiter.join().unwrap());
    });
    assert_eq!(signal.get_value().unwrap(), 0);
}

#[test]
fn events() {
    let manager = crate::spawned();
    let event = manager.event().unwrap();
    let begun = Instant::now();
    assert!(!event.is_set().unwrap() && !event.wait(Some(SHORT)).unwrap());
    assert!(begun.elapsed() >= SHORT);
    std::thread::scope(|scope| {
        let waiters = [0; 5].map(|_| scope.spawn(|| event.wait(None).unwrap()));
        event.set().unwrap();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
    });
    event.clear().unwrap();
    assert!(!event.wait(Some(Duration::ZERO)).unwrap());
}

#[test]
fn time_that_passes_takes_nothing() {
    let manager = crate::spawned();
    let lock = manager.lock().unwrap();
    // Released just when the time of the waiter passes: who does not have it must not hold it.
    for round in 0..200u64 {
        let held = lock.lock().unwrap();
        std::thread::scope(|scope| {
            let wait = Duration::from_micros(round * 13 % 1500);
            let waiter = scope.spawn(|| lock.acquire(true, Some(Duration::from_micros(700))));
            std::thread::sleep(wait);
            drop(held);
            if waiter.join().unwrap().unwrap().is_held() {
                lock.release().unwrap();
            }
        });
        until("the lock is free", || !lock.locked().unwrap());
    }
}
