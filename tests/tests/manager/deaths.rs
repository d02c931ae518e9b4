//! Whoever is killed, nobody hangs: servers in the middle of calls, clients that hold something.

use crate::{kill, sleep_on, until};
use mp::{Acquired, ManagerError};
use mpserverd_tests::suite::{PATIENCE, end};
use std::sync::mpsc;

/// What a client holds when it dies.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Objects {
    lock: mp::LockProxy,
    recursive: mp::RLockProxy,
    semaphore: mp::BoundedSemaphoreProxy,
    condition: mp::ConditionProxy,
    ready: mp::EventProxy,
}

impl Objects {
    fn of(manager: &mp::Manager) -> Self {
        Self {
            lock: manager.lock().unwrap(),
            recursive: manager.rlock().unwrap(),
            semaphore: manager.bounded_semaphore(2).unwrap(),
            condition: manager.condition().unwrap(),
            ready: manager.event().unwrap(),
        }
    }
}

#[mp::task]
fn hold_all(objects: Objects) {
    let _lock = objects.lock.lock().unwrap();
    let _first = objects.recursive.lock().unwrap();
    let _second = objects.recursive.lock().unwrap();
    let _permit = objects.semaphore.permit().unwrap();
    let _other = objects.semaphore.permit().unwrap();
    let _condition = objects.condition.lock().unwrap();
    objects.ready.set().unwrap();
    sleep_on();
}

fn what_a_dead_client_held_comes_back(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let objects = Objects::of(&manager);
    for _ in 0..3 {
        let process = ctx.process::<hold_all>((objects.clone(),)).daemon(true).start().unwrap();
        assert!(objects.ready.wait(Some(PATIENCE)).unwrap());
        objects.ready.clear().unwrap();
        assert_eq!(objects.lock.acquire(false, None).unwrap(), Acquired::No);
        assert!(!objects.semaphore.acquire(false, None).unwrap());
        std::thread::scope(|scope| {
            // These wait already when the owner dies.
            let lock = scope.spawn(|| {
                let mut held = objects.lock.lock().unwrap();
                assert!(held.owner_died());
                held.make_consistent().unwrap();
            });
            let permit = scope.spawn(|| drop(objects.semaphore.permit().unwrap()));
            std::thread::sleep(crate::SHORT);
            kill(process.pid());
            assert_eq!(end(&process), -9);
            lock.join().unwrap();
            permit.join().unwrap();
        });
        let mut held = objects.recursive.lock_timeout(PATIENCE).unwrap().unwrap();
        assert!(held.owner_died());
        held.make_consistent().unwrap();
        drop(held);
        assert!(!objects.recursive.try_lock().unwrap().unwrap().owner_died());
        assert!(objects.condition.lock().unwrap().owner_died());
        assert!(objects.condition.acquire(true, None).unwrap() == Acquired::OwnerDied);
        objects.condition.make_consistent().unwrap();
        objects.condition.release().unwrap();
        until("both permits are back", || objects.semaphore.get_value().unwrap() == 2);
    }
}

#[mp::task]
fn wait_in_line(lock: mp::LockProxy, queue: mp::QueueProxy<u32>, waits: mp::SemaphoreProxy) {
    std::thread::scope(|scope| {
        scope.spawn(|| lock.lock().map(drop));
        scope.spawn(|| queue.get());
        std::thread::sleep(crate::SHORT);
        waits.release().unwrap();
        sleep_on();
    });
}

fn dead_waiters_take_nothing(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let (lock, queue) = (manager.lock().unwrap(), manager.queue::<u32>(0).unwrap());
    let waits = manager.semaphore(0).unwrap();
    let held = lock.lock().unwrap();
    let arguments = (lock.clone(), queue.clone(), waits.clone());
    let process = ctx.process::<wait_in_line>(arguments).daemon(true).start().unwrap();
    assert!(waits.acquire(true, Some(PATIENCE)).unwrap());
    let before = manager.stats().unwrap().sessions;
    kill(process.pid());
    assert_eq!(end(&process), -9);
    until("its session has ended", || manager.stats().unwrap().sessions < before);
    queue.put(&1).unwrap();
    assert_eq!(queue.get_timeout(PATIENCE).unwrap(), 1);
    drop(held);
    assert!(!lock.lock_timeout(PATIENCE).unwrap().unwrap().owner_died());
}

fn a_killed_server_ends_all_waits(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let objects = Objects::of(&manager);
    let queue = manager.queue::<u32>(0).unwrap();
    let (barrier, list) = (manager.barrier(2).unwrap(), manager.list([1]).unwrap());
    let joinable = manager.joinable_queue(0).unwrap();
    joinable.put(&1).unwrap();
    assert!(objects.lock.acquire(true, None).unwrap().is_held());
    assert!(objects.semaphore.acquire(true, None).unwrap());
    assert!(objects.semaphore.acquire(true, None).unwrap());
    std::thread::scope(|scope| {
        let (told, tell) = mpsc::channel();
        let wait = |call: Box<dyn FnOnce() -> Result<(), ManagerError> + Send>| {
            let told = told.clone();
            scope.spawn(move || told.send(call()).unwrap());
        };
        let copy = objects.clone();
        wait(Box::new(move || copy.lock.lock().map(drop)));
        let copy = objects.clone();
        wait(Box::new(move || copy.semaphore.acquire(true, None).map(drop)));
        let copy = objects.clone();
        wait(Box::new(move || copy.ready.wait(None).map(drop)));
        let copy = objects.clone();
        wait(Box::new(move || copy.condition.lock()?.wait(None).map(drop)));
        wait(Box::new(move || queue.get().map(drop)));
        wait(Box::new(move || barrier.wait(None).map(drop)));
        wait(Box::new(move || joinable.join()));
        std::thread::sleep(crate::SHORT);
        assert!(tell.try_recv().is_err());
        kill(manager.pid());
        for _ in 0..7 {
            let ended = tell.recv_timeout(PATIENCE).unwrap();
            assert!(matches!(ended, Err(ManagerError::Gone { .. })), "{ended:?}");
        }
    });
    assert!(list.append(&2).unwrap_err().is_gone());
    assert!(manager.list([1]).unwrap_err().is_gone());
    assert_eq!(manager.join(Some(PATIENCE)), Some(-9));
    assert!(manager.shutdown().unwrap_err().is_gone());
}

#[mp::task]
fn start_and_die(told: mp::Connection) {
    let manager = mp::get_context(None).manager().unwrap();
    told.send(&manager.pid()).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn a_server_ends_with_who_started_it(ctx: &mp::Context) {
    let (ours, theirs) = mp::pipe(false).unwrap();
    let process = ctx.process::<start_and_die>((theirs,)).start().unwrap();
    let server: u32 = ours.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end(&process), -9);
    until("the server is gone too", || !mpserverd_tests::proc::is_running(server));
}

mpserverd_tests::suite![
    what_a_dead_client_held_comes_back,
    dead_waiters_take_nothing,
    a_killed_server_ends_all_waits,
    a_server_ends_with_who_started_it,
];

#[test]
fn dropping_the_last_proxy_gives_back_what_is_held() {
    let manager = crate::spawned();
    let lock = manager.lock().unwrap();
    manager.publish("lock", &lock).unwrap();
    assert!(lock.acquire(true, None).unwrap().is_held());
    drop(lock);
    let again: mp::LockProxy = manager.find("lock").unwrap();
    assert!(again.lock_timeout(PATIENCE).unwrap().unwrap().owner_died());
}
