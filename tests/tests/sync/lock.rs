//! `Lock`: exclusion, release by anybody, and owners that die or are stopped.

use crate::{SHORT, STOP, signal, sleep_on, until};
use mp::{Acquired, SyncError, TryLockError};
use mpserverd_tests::suite::{PATIENCE, end, passed, value};
use mpserverd_tests::words::Words;
use nix::sys::signal::{Signal, raise};
use std::time::{Duration, Instant};

/// Objects inside of what tasks are given.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Nested {
    name: String,
    locks: Vec<Option<(mp::Lock, mp::RLock)>>,
    semaphore: Box<mp::Semaphore>,
    condition: mp::Condition,
    event: (u8, mp::Event),
    barrier: Result<mp::Barrier, String>,
    bounded: mp::BoundedSemaphore,
}

#[mp::task]
fn take(lock: mp::Lock) -> (bool, bool) {
    (lock.locked(), lock.acquire(false, Some(PATIENCE)).is_held())
}

#[mp::task]
fn release(lock: mp::Lock) -> bool {
    lock.make_consistent().is_err() && lock.release().is_ok()
}

#[mp::task]
fn hold(lock: mp::Lock) {
    let _guard = lock.lock().unwrap();
    sleep_on();
}

#[mp::task]
fn die_with(lock: mp::Lock) {
    assert_eq!(lock.acquire(true, None), Acquired::Yes);
    raise(Signal::SIGKILL).unwrap();
}

#[mp::task]
fn count(lock: mp::Lock, words: Words, rounds: u32) {
    for _ in 0..rounds {
        let _guard = lock.lock().unwrap();
        words.add(0, 1);
    }
}

#[mp::task]
fn use_all(all: Nested, other: mp::Event) -> (bool, Nested) {
    let same = all.event.1.is_same(&other);
    other.set();
    let guard = all.condition.lock().unwrap();
    all.condition.notify_all().unwrap();
    drop(guard);
    for (lock, recursive) in all.locks.iter().flatten() {
        drop((lock.lock().unwrap(), recursive.lock().unwrap()));
    }
    drop((all.semaphore.permit().unwrap(), all.bounded.permit().unwrap()));
    (same && all.barrier.as_ref().unwrap().wait(None) == Ok(0), all)
}

fn test_lock(ctx: &mp::Context) {
    let lock = mp::Lock::new().unwrap();
    assert_eq!(lock.acquire(true, None), Acquired::Yes);
    assert_eq!(lock.acquire(false, None), Acquired::No);
    assert_eq!(value(ctx.process::<take>((lock.clone(),))), (true, false));
    lock.release().unwrap();
    assert_eq!(lock.release(), Err(SyncError::NotHeld { object: "Lock" }));
    assert_eq!(lock.make_consistent(), Err(SyncError::NotOwner { object: "Lock" }));
    assert!(lock.acquire(true, Some(Duration::ZERO)).is_held());
    assert!(value(ctx.process::<release>((lock.clone(),))), "anybody may release it");
    assert!(!lock.locked());

    let words = Words::new(1);
    let counters = || ctx.process::<count>((lock.clone(), words.clone(), 1000)).start().unwrap();
    let processes = [counters(), counters()];
    for _ in 0..1000 {
        let _guard = lock.lock_timeout(PATIENCE).unwrap();
        words.add(0, 1);
    }
    for process in &processes {
        assert_eq!(end(process), 0);
    }
    assert_eq!(words.get(0), 3000);
}

fn the_death_of_an_owner_is_told_until_it_is_made_good(ctx: &mp::Context) {
    let lock = mp::Lock::new().unwrap();
    let begun = Instant::now();
    for _ in 0..3 {
        let process = ctx.process::<die_with>((lock.clone(),)).start().unwrap();
        assert_eq!(end(&process), -9);
        assert!(lock.locked());
        let Err(died) = lock.lock() else { panic!("its owner died") };
        drop(died.into_inner());
        let Err(TryLockError::OwnerDied(died)) = lock.try_lock() else { panic!("not yet good") };
        died.into_inner().make_consistent();
        drop(lock.try_lock().unwrap());
    }
    println!("3 deaths in {:?}", begun.elapsed());
    // Who only ever tries gets it too.
    let process = ctx.process::<die_with>((lock.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    let mut taken = Acquired::No;
    until("a lock of the dead can be had", || {
        taken = lock.acquire(false, None);
        taken.is_held()
    });
    assert_eq!(taken, Acquired::OwnerDied);
}

fn a_stop_is_no_death(ctx: &mp::Context) {
    let lock = mp::Lock::new().unwrap();
    let process = ctx.process::<hold>((lock.clone(),)).start().unwrap();
    until("it is held", || lock.locked());
    signal(&process, Signal::SIGSTOP);
    let begun = Instant::now();
    assert!(matches!(lock.lock_timeout(STOP), Err(TryLockError::WouldBlock)));
    assert!(begun.elapsed() >= STOP);
    signal(&process, Signal::SIGCONT);
    assert_eq!(lock.acquire(true, Some(SHORT)), Acquired::No);
    process.kill().unwrap();
    assert_eq!(lock.acquire(true, Some(PATIENCE)), Acquired::OwnerDied);
}

fn objects_travel_inside_of_others(ctx: &mp::Context) {
    let locks = || (mp::Lock::new().unwrap(), mp::RLock::new().unwrap());
    let event = mp::Event::new().unwrap();
    let all = Nested {
        name: "all".into(),
        locks: vec![Some(locks()), None, Some(locks())],
        semaphore: Box::new(mp::Semaphore::new(1).unwrap()),
        condition: mp::Condition::with_lock(mp::Lock::new().unwrap()).unwrap(),
        event: (1, event.clone()),
        barrier: Ok(mp::Barrier::new(1, None).unwrap()),
        bounded: mp::BoundedSemaphore::new(1).unwrap(),
    };
    let (same, back) = value(ctx.process::<use_all>((all.clone(), event.clone())));
    assert!(same && event.is_set());
    let (lock, recursive) = all.locks[2].as_ref().unwrap();
    let (lock_back, recursive_back) = back.locks[2].as_ref().unwrap();
    assert!(lock.is_same(lock_back) && recursive.is_same(recursive_back));
    assert!(!lock.is_same(&all.locks[0].as_ref().unwrap().0));
    assert!(all.semaphore.is_same(&back.semaphore) && all.condition.is_same(&back.condition));
    assert!(all.bounded.is_same(&back.bounded));
    assert!(all.barrier.unwrap().is_same(back.barrier.as_ref().unwrap()));
    // Two handles of one object in one process.
    let _guard = lock.lock().unwrap();
    assert!(lock_back.try_lock().is_err());
}

mpserverd_tests::suite![
    test_lock,
    the_death_of_an_owner_is_told_until_it_is_made_good,
    a_stop_is_no_death,
    objects_travel_inside_of_others,
];

/// One process takes the lock again and again; the other one, which must sleep for it, gets it too.
#[mp::task]
fn compete(lock: mp::Lock, words: Words) {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let barger = spawn.process::<barge>((lock.clone(), words.clone())).start().unwrap();
    until("it has begun", || words.get(1) > 100);
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let begun = Instant::now();
        drop(lock.lock_timeout(PATIENCE).expect("a turn"));
        longest = longest.max(begun.elapsed());
    }
    println!("longest wait under a steady load: {longest:?}, {} passes", words.get(1));
    words.set(0, 1);
    assert_eq!(end(&barger), 0);
}

#[mp::task]
fn barge(lock: mp::Lock, words: Words) {
    while words.get(0) == 0 {
        for _ in 0..50 {
            let _guard = lock.lock().unwrap();
            words.add(1, 1);
        }
    }
}

#[test]
fn nobody_starves_under_a_steady_load() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    passed(spawn.process::<compete>((mp::Lock::new().unwrap(), Words::new(2))));
}

#[test]
fn outside_of_a_journey_none_is_serialised() {
    let error = serde_json::to_string(&mp::Lock::new().unwrap()).unwrap_err().to_string();
    assert!(error.contains("`Lock`"), "{error}");
    let error = serde_json::to_string(&mp::Barrier::new(2, None).unwrap()).unwrap_err();
    assert!(error.to_string().contains("`Barrier`"), "{error}");
    let semaphore = mp::Semaphore::new(1).unwrap();
    let (bytes, fds) = mp::handles::collect(|| serde_json::to_vec(&semaphore).unwrap());
    let read = |bytes: &[u8]| {
        mp::handles::provide(fds.clone(), || serde_json::from_slice::<mp::Lock>(bytes))
    };
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains("Lock"), "a semaphore is no lock: {error}");
    let back =
        mp::handles::provide(fds.clone(), || serde_json::from_slice::<mp::Semaphore>(&bytes));
    assert!(back.unwrap().is_same(&semaphore));
}
