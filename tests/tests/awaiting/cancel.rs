//! Futures that are dropped at random moments lose nothing: no permit, no lock, no notification, no
//! item.
//!
//! Tasks of a runtime and threads of another process work on one object; tasks give up after a
//! random number of polls or a random time. What they were given must be all there was.

use crate::{in_tokio, soon};
use mp::{Condition, Event, Lock, Queue, Semaphore};
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::{PATIENCE, end};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

const ROUNDS: u64 = 4;
const MANY: u64 = 300;
const TASKS: u64 = 12;

/// A future, dropped at a random moment unless it is ready before.
async fn perhaps<F: Future>(moments: &mut Moments, future: F) -> Option<F::Output> {
    let polls = moments.below(4);
    let time = Duration::from_micros(moments.below(1500));
    let mut future = pin!(future);
    let mut polled = 0;
    let limited = std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        polled += 1;
        if polled > polls { Poll::Ready(None) } else { Poll::Pending }
    });
    mp::timeout(limited, time).await.unwrap_or_default()
}

/// Runs so many tasks on one thread, and waits for all.
async fn tasks<F: Future<Output = ()> + Send + 'static>(
    moments: &mut Moments,
    task: impl Fn(Moments) -> F,
) {
    let started = (0..TASKS).map(|_| tokio::spawn(task(Moments::of(moments.below(1 << 32)))));
    for task in started.collect::<Vec<_>>() {
        soon("every task ends", task).await.unwrap();
    }
}

#[mp::task]
fn contend(lock: Lock, semaphore: Semaphore, stop: Event) {
    while !stop.is_set() {
        drop(lock.lock().unwrap());
        drop(semaphore.permit().unwrap());
        std::thread::yield_now();
    }
}

fn locks_and_permits(rounds: u64) {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    for (_, mut moments) in seeds::rounds(rounds) {
        let (lock, semaphore) = (Lock::new().unwrap(), Semaphore::new(3).unwrap());
        let stop = Event::new().unwrap();
        let arguments = (lock.clone(), semaphore.clone(), stop.clone());
        let process = ctx.process::<contend>(arguments).start().unwrap();
        let inside = Arc::new(AtomicU64::new(0));
        in_tokio(tasks(&mut moments, |mut moments| {
            let (lock, semaphore, inside) = (lock.clone(), semaphore.clone(), inside.clone());
            async move {
                for _ in 0..40 {
                    if let Some(guard) = perhaps(&mut moments, lock.lock_async()).await {
                        let guard = guard.unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    }
                    if let Some(permit) = perhaps(&mut moments, semaphore.permit_async()).await {
                        let permit = permit.unwrap();
                        tokio::task::yield_now().await;
                        drop(permit);
                    }
                }
                drop(soon("the lock", lock.lock_async()).await.unwrap());
                drop(soon("a permit", semaphore.permit_async()).await.unwrap());
            }
        }));
        stop.set();
        assert_eq!(end(&process), 0);
        assert!(!lock.locked());
        assert_eq!(semaphore.get_value(), 3);
    }
}

#[test]
fn no_lock_and_no_permit_is_lost() {
    locks_and_permits(ROUNDS);
}

#[test]
#[ignore = "long: hundreds of rounds of random cancellations"]
fn no_lock_and_no_permit_is_lost_long() {
    locks_and_permits(MANY);
}

#[mp::task]
fn exchange(from: mp::Consumer<u64>, to: mp::Producer<u64>) {
    for item in from.iter() {
        to.put(&item.unwrap()).unwrap();
    }
}

fn items(rounds: u64) {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    for (_, mut moments) in seeds::rounds(rounds) {
        let (jobs, theirs) = Queue::<u64>::bounded(3).unwrap().split();
        let (back, ours) = Queue::<u64>::bounded(3).unwrap().split();
        let process = ctx.process::<exchange>((theirs, back)).start().unwrap();
        let (put, got) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        in_tokio(async {
            let puts = tasks(&mut moments, |mut moments| {
                let (jobs, ours) = (jobs.clone(), ours.clone());
                let (put, got) = (put.clone(), got.clone());
                async move {
                    for _ in 0..40 {
                        let item = moments.below(1 << 20);
                        if let Some(done) = perhaps(&mut moments, jobs.put_async(&item)).await {
                            done.unwrap();
                            put.fetch_add(item, Ordering::SeqCst);
                        }
                        if let Some(item) = perhaps(&mut moments, ours.get_async()).await {
                            got.fetch_add(item.unwrap(), Ordering::SeqCst);
                        }
                    }
                }
            });
            puts.await;
            drop(jobs);
            while let Ok(item) = soon("the rest", ours.get_async()).await {
                got.fetch_add(item, Ordering::SeqCst);
            }
        });
        assert_eq!(end(&process), 0);
        assert_eq!(put.load(Ordering::SeqCst), got.load(Ordering::SeqCst));
    }
}

#[test]
fn no_item_is_lost_or_taken_twice() {
    items(ROUNDS);
}

#[test]
#[ignore = "long: hundreds of rounds of random cancellations"]
fn no_item_is_lost_or_taken_twice_long() {
    items(MANY);
}

/// Makes so many things under the lock, and tells of each.
#[mp::task]
fn make(condition: Condition, things: mp::RawValue<u64>, count: u64) {
    for _ in 0..count {
        let _guard = condition.lock().unwrap();
        things.set(things.get() + 1);
        condition.notify(1).unwrap();
    }
}

fn notifications(rounds: u64) {
    const THINGS: u64 = 200;
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    for (_, mut moments) in seeds::rounds(rounds) {
        let condition = Condition::with_lock(Lock::new().unwrap()).unwrap();
        let things = mp::RawValue::new(0u64).unwrap();
        let arguments = (condition.clone(), things.clone(), THINGS);
        let process = ctx.process::<make>(arguments).start().unwrap();
        let taken = Arc::new(AtomicU64::new(0));
        in_tokio(tasks(&mut moments, |mut moments| {
            let (condition, things, taken) = (condition.clone(), things.clone(), taken.clone());
            async move {
                while taken.load(Ordering::SeqCst) < THINGS {
                    let guard = soon("the lock", condition.lock_async()).await.unwrap();
                    let waits = guard.wait_for_async(|| things.get() > 0);
                    // Some give up, which must not cost the others a notification.
                    let waited = if moments.below(3) > 0 {
                        perhaps(&mut moments, waits).await
                    } else {
                        mp::timeout(waits, Duration::from_millis(300)).await.ok()
                    };
                    let Some((guard, waited)) = waited else { continue };
                    waited.unwrap();
                    things.set(things.get() - 1);
                    taken.fetch_add(1, Ordering::SeqCst);
                    drop(guard);
                }
            }
        }));
        assert_eq!(end(&process), 0);
        assert_eq!((taken.load(Ordering::SeqCst), things.get()), (THINGS, 0));
        assert_eq!(condition.waiters(), 0);
    }
}

#[test]
fn notifications_reach_those_who_stay() {
    notifications(ROUNDS);
}

#[test]
#[ignore = "long: hundreds of rounds of random cancellations"]
fn notifications_reach_those_who_stay_long() {
    notifications(MANY);
}

/// Two wait, the first is notified and dropped before it can look: the other has the notification,
/// long before any nap could tell it.
#[test]
fn a_notification_is_handed_on() {
    let condition = Condition::new().unwrap();
    in_tokio(async {
        for _ in 0..20 {
            let waits = || async { condition.lock_async().await.unwrap().wait_async().await.1 };
            let mut first = Box::pin(waits());
            assert!(crate::poll_once(first.as_mut()).is_pending());
            let mut second = Box::pin(waits());
            assert!(crate::poll_once(second.as_mut()).is_pending());
            assert_eq!(condition.lock_async().await.unwrap().notify(1), 1);
            drop(first);
            soon("it has it", second).await.unwrap();
            assert_eq!(condition.waiters(), 0);
        }
    });
}

/// A wake-up that was meant for a future which is dropped goes to the next one.
#[test]
fn a_wake_up_is_passed_on() {
    let lock = Lock::new().unwrap();
    let semaphore = Semaphore::new(0).unwrap();
    in_tokio(async {
        for _ in 0..20 {
            let guard = lock.lock_async().await.unwrap();
            let mut first = Box::pin(lock.lock_async());
            assert!(crate::poll_once(first.as_mut()).is_pending());
            let mut second = Box::pin(lock.lock_async());
            assert!(crate::poll_once(second.as_mut()).is_pending());
            drop(guard);
            std::thread::sleep(Duration::from_micros(200));
            drop(first);
            drop(soon("the second has it", second).await.unwrap());
            let mut first = Box::pin(semaphore.acquire_async());
            assert!(crate::poll_once(first.as_mut()).is_pending());
            let mut second = Box::pin(semaphore.acquire_async());
            assert!(crate::poll_once(second.as_mut()).is_pending());
            semaphore.release().unwrap();
            std::thread::sleep(Duration::from_micros(200));
            drop(first);
            soon("the second has it", second).await.unwrap();
            assert_eq!(semaphore.get_value(), 0);
            semaphore.release().unwrap();
            assert!(semaphore.acquire(true, Some(PATIENCE)).unwrap());
        }
    });
}
