//! A thousand futures that wait at once, in one process.

use crate::{in_tokio, soon};
use mp::{Event, Lock, Queue, Semaphore};
use mpserverd_tests::suite;
use mpserverd_tests::suite::end;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

suite![one_event_for_all, a_lock_for_each, one_lock_for_all, items_for_all];

const CROWD: usize = 1000;

async fn all<T>(what: &str, tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let begun = Instant::now();
    let mut results = Vec::new();
    for task in tasks {
        results.push(soon(what, task).await.unwrap());
    }
    println!("{what}: {:?}", begun.elapsed());
    results
}

/// Lets what was started begin to wait.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}

#[mp::task]
fn set(event: Event) {
    event.set();
}

fn one_event_for_all(ctx: &mp::Context) {
    let event = Event::new().unwrap();
    in_tokio(async {
        let tasks = (0..CROWD).map(|_| {
            let event = event.clone();
            tokio::spawn(async move { event.wait_async().await })
        });
        let tasks = tasks.collect::<Vec<_>>();
        settle().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        let process = ctx.process::<set>((event.clone(),)).start().unwrap();
        all("an event for all", tasks).await;
        assert_eq!(soon("its end", process.join_async()).await, 0);
    });
}

#[mp::task]
fn release_all(locks: Vec<Lock>) {
    for lock in &locks {
        lock.release().unwrap();
    }
}

/// More words than one call of the system takes.
fn a_lock_for_each(ctx: &mp::Context) {
    let locks = (0..CROWD).map(|_| Lock::new().unwrap()).collect::<Vec<_>>();
    for lock in &locks {
        assert!(lock.acquire(true, None).is_held());
    }
    in_tokio(async {
        let tasks = locks.iter().map(|lock| {
            let lock = lock.clone();
            tokio::spawn(async move { drop(lock.lock_async().await.unwrap()) })
        });
        let tasks = tasks.collect::<Vec<_>>();
        settle().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        let process = ctx.process::<release_all>((locks.clone(),)).start().unwrap();
        all("a lock for each", tasks).await;
        assert_eq!(soon("its end", process.join_async()).await, 0);
    });
    assert!(locks.iter().all(|lock| !lock.locked()));
}

/// Takes and releases both until it is told to stop.
#[mp::task]
fn be_in_the_way(lock: Lock, semaphore: Semaphore, stop: Event) {
    while !stop.wait(Some(Duration::from_micros(100))) {
        let _both = (lock.lock().unwrap(), semaphore.permit().unwrap());
    }
}

fn one_lock_for_all(ctx: &mp::Context) {
    let (lock, semaphore) = (Lock::new().unwrap(), Semaphore::new(3).unwrap());
    let stop = Event::new().unwrap();
    let arguments = (lock.clone(), semaphore.clone(), stop.clone());
    let process = ctx.process::<be_in_the_way>(arguments).start().unwrap();
    let count = mp::RawValue::new(0usize as u64).unwrap();
    in_tokio(async {
        let held = soon("the lock", lock.lock_async()).await.unwrap();
        let tasks = (0..CROWD).map(|_| {
            let (lock, semaphore, count) = (lock.clone(), semaphore.clone(), count.clone());
            tokio::spawn(async move {
                let guard = lock.lock_async().await.unwrap();
                count.set(count.get() + 1);
                drop(guard);
                let permit = semaphore.permit_async().await.unwrap();
                tokio::task::yield_now().await;
                drop(permit);
            })
        });
        let tasks = tasks.collect::<Vec<_>>();
        settle().await;
        drop(held);
        all("one lock for all", tasks).await;
    });
    assert_eq!(count.get(), CROWD as u64);
    stop.set();
    assert_eq!(end(&process), 0);
    assert_eq!(semaphore.get_value(), 3);
}

#[mp::task]
fn put_numbers(queue: mp::Producer<u64>) {
    for number in 0..CROWD as u64 {
        queue.put(&number).unwrap();
    }
}

fn items_for_all(ctx: &mp::Context) {
    let (producer, consumer) = Queue::<u64>::new().unwrap().split();
    in_tokio(async {
        let tasks = (0..CROWD + 50).map(|_| {
            let consumer = consumer.clone();
            tokio::spawn(async move { consumer.get_async().await.ok() })
        });
        let tasks = tasks.collect::<Vec<_>>();
        settle().await;
        let process = ctx.process::<put_numbers>((producer,)).start().unwrap();
        let items = all("items for all, and the end for some", tasks).await;
        let mut items = items.into_iter().flatten().collect::<Vec<_>>();
        items.sort_unstable();
        assert!(items.into_iter().eq(0..CROWD as u64));
        assert_eq!(soon("its end", process.join_async()).await, 0);
    });
}

#[test]
fn many_connections_and_timers() {
    const PIPES: usize = 200;
    let pipes = (0..PIPES).map(|_| mp::pipe(true).unwrap()).collect::<Vec<_>>();
    let (ours, theirs): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
    in_tokio(async {
        let receives = ours.into_iter().map(|connection| {
            tokio::spawn(async move { connection.recv_async::<usize>().await.unwrap() })
        });
        let receives = receives.collect::<Vec<_>>();
        let timers = (0..CROWD as u64).map(|number| {
            tokio::spawn(async move {
                let begun = Instant::now();
                let time = Duration::from_millis(number % 50);
                mp::timeout(std::future::pending::<()>(), time).await.unwrap_err();
                assert!(begun.elapsed() >= time);
            })
        });
        let timers = timers.collect::<Vec<_>>();
        settle().await;
        for (number, connection) in theirs.iter().enumerate() {
            connection.send_async(&number).await.unwrap();
        }
        assert!(all("messages", receives).await.into_iter().eq(0..PIPES));
        all("times", timers).await;
    });
}
