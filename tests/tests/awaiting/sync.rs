//! Objects of synchronisation: each form completes, and times out.

use crate::{SHORT, block_on, in_tokio, in_vain, soon};
use mp::{BoundedSemaphore, BrokenBarrier, Condition, Event, Lock, RLock, Semaphore, SyncError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, value};
use std::time::Duration;

suite![
    locks_of_others,
    recursive_locks_of_others,
    permits_of_others,
    events_of_others,
    notifications_of_others,
    parties_of_others,
];

/// Holds a lock until it is told to let go.
#[mp::task]
fn hold(lock: Lock, held: Event, go: Event) {
    let _guard = lock.lock().unwrap();
    held.set();
    go.wait(None);
}

fn locks_of_others(ctx: &mp::Context) {
    let (lock, held, go) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let arguments = (lock.clone(), held.clone(), go.clone());
    let process = ctx.process::<hold>(arguments).start().unwrap();
    in_tokio(async {
        soon("it has the lock", held.wait_async()).await;
        in_vain("it has the lock", lock.lock_async()).await;
        go.set();
        let guard = soon("it is free", lock.lock_async()).await.unwrap();
        assert!(lock.try_lock().is_err());
        in_vain("this process has it", lock.acquire_async()).await;
        drop(guard);
        assert!(soon("free", lock.acquire_async()).await.is_held());
        lock.release().unwrap();
    });
    assert_eq!(end(&process), 0);
}

#[mp::task]
fn hold_twice(lock: RLock, held: Event, go: Event) {
    let _guard = block_on(lock.lock_async()).unwrap();
    let _inner = _guard.again().unwrap();
    held.set();
    go.wait(None);
}

fn recursive_locks_of_others(ctx: &mp::Context) {
    let (lock, held, go) = (RLock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let arguments = (lock.clone(), held.clone(), go.clone());
    let process = ctx.process::<hold_twice>(arguments).start().unwrap();
    in_tokio(async {
        soon("it has the lock", held.wait_async()).await;
        in_vain("it has the lock", lock.lock_async()).await;
        go.set();
        let guard = soon("it is free", lock.lock_async()).await.unwrap();
        let again = guard.again().unwrap();
        // The guard is the owner, not this thread.
        assert!(lock.try_lock().is_err());
        assert!(matches!(lock.release(), Err(SyncError::NotOwner { .. })));
        drop(guard);
        assert!(lock.locked());
        drop(again);
        assert!(!lock.locked());
    });
    assert_eq!(end(&process), 0);
}

/// Takes a permit in one thread and gives it back in another.
#[mp::task]
fn borrow_permits(semaphore: Semaphore, bounded: BoundedSemaphore, held: Event, go: Event) {
    assert!(semaphore.acquire(true, None).unwrap());
    let _permit = bounded.permit().unwrap();
    held.set();
    go.wait(None);
    semaphore.release().unwrap();
}

fn permits_of_others(ctx: &mp::Context) {
    let (semaphore, bounded) = (Semaphore::new(1).unwrap(), BoundedSemaphore::new(1).unwrap());
    let (held, go) = (Event::new().unwrap(), Event::new().unwrap());
    let arguments = (semaphore.clone(), bounded.clone(), held.clone(), go.clone());
    let process = ctx.process::<borrow_permits>(arguments).start().unwrap();
    in_tokio(async {
        soon("it has both", held.wait_async()).await;
        in_vain("none is left", semaphore.acquire_async()).await;
        in_vain("none is left", bounded.permit_async()).await;
        go.set();
        soon("it comes back", semaphore.acquire_async()).await.unwrap();
        let permit = soon("it comes back", bounded.permit_async()).await.unwrap();
        assert_eq!((semaphore.get_value(), bounded.get_value()), (0, 0));
        drop(permit);
        semaphore.release().unwrap();
        assert_eq!((semaphore.get_value(), bounded.get_value()), (1, 1));
    });
    assert_eq!(end(&process), 0);
}

#[mp::task]
fn set_later(event: Event) {
    std::thread::sleep(SHORT);
    event.set();
    event.clear();
}

fn events_of_others(ctx: &mp::Context) {
    let event = Event::new().unwrap();
    in_tokio(async {
        in_vain("nobody sets it", event.wait_async()).await;
        event.set();
        soon("it is set", event.wait_async()).await;
        event.clear();
        let mut waits = std::pin::pin!(event.wait_async());
        assert!(crate::poll_once(waits.as_mut()).is_pending());
        let process = ctx.process::<set_later>((event.clone(),)).start().unwrap();
        // It was there when it was set, whatever it is now.
        soon("it was set", waits).await;
        assert_eq!(soon("it ends", process.join_async()).await, 0);
    });
}

/// Waits under the lock until somebody counts further, by thread.
#[mp::task]
fn count_to(condition: Condition, number: mp::RawValue<u32>, last: u32) {
    let _guard = condition.lock().unwrap();
    condition.wait_for(|| number.get() >= last, None).unwrap();
}

fn notifications_of_others(ctx: &mp::Context) {
    for condition in [Condition::new(), Condition::with_lock(Lock::new().unwrap())] {
        let condition = condition.unwrap();
        let number = mp::RawValue::new(0u32).unwrap();
        let arguments = (condition.clone(), number.clone(), 3);
        let process = ctx.process::<count_to>(arguments).start().unwrap();
        in_tokio(async {
            let waits = async {
                let guard = condition.lock_async().await.unwrap();
                let (guard, waited) = guard.wait_for_async(|| number.get() >= 3).await;
                waited.unwrap();
                assert!(condition.locked());
                drop(guard);
            };
            let counts = async {
                while condition.waiters() < 2 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                for _ in 0..3 {
                    let guard = condition.lock_async().await.unwrap();
                    number.set(number.get() + 1);
                    assert!(guard.notify_all() <= 2);
                    drop(guard);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            soon("both are told", async { tokio::join!(waits, counts) }).await;
            let guard = condition.lock_async().await.unwrap();
            in_vain("nobody notifies", guard.wait_async()).await;
            // The guard went with the future: the lock is free, and nobody waits.
            assert!(!condition.locked());
            assert_eq!(condition.waiters(), 0);
        });
        assert_eq!(end(&process), 0);
    }
}

#[mp::task]
fn meet(barrier: mp::Barrier, rounds: usize) -> usize {
    (0..rounds).map(|_| barrier.wait(None).unwrap()).sum()
}

fn parties_of_others(ctx: &mp::Context) {
    const ROUNDS: usize = 20;
    let barrier = mp::Barrier::new(3, None).unwrap();
    let process = ctx.process::<meet>((barrier.clone(), ROUNDS)).start().unwrap();
    let ours = in_tokio(soon("they meet", async {
        let rounds = || async {
            let mut sum = 0;
            for _ in 0..ROUNDS {
                sum += barrier.wait_async().await.unwrap();
            }
            sum
        };
        let (one, other) = tokio::join!(rounds(), rounds());
        one + other
    }));
    assert_eq!(ours + suite::outcome(&process).unwrap(), 3 * ROUNDS);
    in_tokio(async {
        // Who waits no more breaks it, as a timeout does.
        in_vain("nobody else comes", barrier.wait_async()).await;
        assert!(barrier.broken());
        let broken = soon("broken", barrier.wait_async()).await;
        assert_eq!(broken, Err(BrokenBarrier::TimedOut));
        barrier.reset();
        let brief = mp::Barrier::new(2, Some(SHORT)).unwrap();
        let broken = soon("its own time passes", brief.wait_async()).await;
        assert_eq!(broken, Err(BrokenBarrier::TimedOut));
        let (action, other) = (barrier.wait_with_async(|| barrier.abort()), barrier.wait_async());
        let third = barrier.wait_async();
        let all = soon("aborted", async { tokio::join!(action, other, third) }).await;
        let all = [all.0, all.1, all.2];
        // Whoever came last ran the action, or none did that had one.
        assert!(all.iter().all(Result::is_ok) || all.iter().all(Result::is_err), "{all:?}");
    });
}

#[mp::task]
fn all_at_once() -> u32 {
    let lock = Lock::new().unwrap();
    in_tokio(async {
        let tasks = (0..8u32).map(|number| {
            let lock = lock.clone();
            tokio::spawn(async move {
                let guard = lock.lock_async().await.unwrap();
                tokio::task::yield_now().await;
                drop(guard);
                number
            })
        });
        let mut sum = 0;
        for task in tasks.collect::<Vec<_>>() {
            sum += soon("all get it", task).await.unwrap();
        }
        sum
    })
}

#[test]
fn a_worker_awaits_as_well() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    assert_eq!(value(ctx.process::<all_at_once>(())), 28);
}
