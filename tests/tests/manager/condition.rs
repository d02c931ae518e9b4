//! Conditions.

use crate::{SHORT, until};
use mp::{ManagerError, SyncError};
use mpserverd_tests::suite::{PATIENCE, end};
use std::time::Instant;

#[mp::task]
fn sleep_at(
    condition: mp::ConditionProxy,
    woken: mp::SemaphoreProxy,
) -> Result<bool, mp::TaskError> {
    let held = condition.lock()?;
    let notified = held.wait(None)?;
    woken.release()?;
    Ok(notified)
}

fn so_many_are_woken_as_are_notified(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let (condition, woken) = (manager.condition().unwrap(), manager.semaphore(0).unwrap());
    let start = |_| {
        let arguments = (condition.clone(), woken.clone());
        ctx.process::<sleep_at>(arguments).daemon(true).start().unwrap()
    };
    let sleepers = (0..4).map(start).collect::<Vec<_>>();
    until("all sleep", || condition.waiters().unwrap() == 4);
    let notify = |count| {
        let held = condition.lock().unwrap();
        held.notify(count).unwrap()
    };
    assert_eq!(notify(1), 1);
    assert!(woken.acquire(true, Some(PATIENCE)).unwrap());
    assert!(!woken.acquire(true, Some(SHORT)).unwrap());
    assert_eq!(notify(2), 2);
    assert!((0..2).all(|_| woken.acquire(true, Some(PATIENCE)).unwrap()));
    // One that is killed counts no more and holds up nobody.
    let before = condition.waiters().unwrap();
    sleepers.iter().for_each(|sleeper| drop(sleeper.kill()));
    until("the dead do not wait", || condition.waiters().unwrap() == 0);
    assert_eq!((before, notify(10)), (1, 0));
    // Those that were woken may have been about to end.
    assert!(sleepers.iter().all(|sleeper| matches!(end(sleeper), 0 | -9)));
}

mpserverd_tests::suite![so_many_are_woken_as_are_notified];

#[test]
fn a_wait_ends_by_itself_and_has_the_lock() {
    let manager = crate::spawned();
    let condition = manager.condition().unwrap();
    assert!(matches!(
        condition.wait(None),
        Err(ManagerError::Sync(SyncError::NotHeld { object: "ConditionProxy" }))
    ));
    assert!(condition.notify(1).is_err());
    let held = condition.lock().unwrap();
    assert!(condition.acquire(true, None).unwrap().is_held(), "its lock is recursive");
    let begun = Instant::now();
    assert!(!held.wait(Some(SHORT)).unwrap());
    assert!(begun.elapsed() >= SHORT && condition.locked().unwrap());
    // Held twice before, and twice again.
    condition.release().unwrap();
    assert!(condition.locked().unwrap());
    drop(held);
    assert!(!condition.locked().unwrap());
}

#[test]
fn waiting_for_a_predicate() {
    let manager = crate::spawned();
    let (condition, number) = (manager.condition().unwrap(), manager.value(&0).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 1..=4 {
                let held = condition.lock().unwrap();
                number.set(&value).unwrap();
                held.notify_all().unwrap();
            }
        });
        let held = condition.lock().unwrap();
        assert!(held.wait_for(Some(PATIENCE), || number.get().unwrap() == 4).unwrap());
        assert!(!held.wait_for(Some(SHORT), || number.get().unwrap() == 5).unwrap());
    });
}

#[test]
fn a_time_that_passed_takes_no_notification() {
    let manager = crate::spawned();
    let condition = manager.condition().unwrap();
    {
        let held = condition.lock().unwrap();
        assert!(!held.wait(Some(SHORT)).unwrap());
        assert_eq!(held.notify(1).unwrap(), 0, "nobody waits any more");
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let held = condition.lock().unwrap();
            held.wait(Some(PATIENCE)).unwrap()
        });
        until("one sleeps", || condition.waiters().unwrap() == 1);
        let held = condition.lock().unwrap();
        assert_eq!(held.notify(1).unwrap(), 1);
        drop(held);
        assert!(other.join().unwrap());
    });
}
