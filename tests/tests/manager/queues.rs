//! Queues.

use crate::{SHORT, until};
use mp::ManagerError;
use mp::queue::JoinError;
use mpserverd_tests::suite::{PATIENCE, end, value};
use std::time::{Duration, Instant};

#[mp::task]
fn produce(queue: mp::QueueProxy<u32>, from: u32, count: u32) -> Result<(), mp::TaskError> {
    (from..from + count).try_for_each(|item| queue.put(&item))?;
    Ok(())
}

#[mp::task]
fn consume(queue: mp::QueueProxy<u32>, count: u32) -> Result<Vec<u32>, mp::TaskError> {
    Ok((0..count).map(|_| queue.get()).collect::<Result<_, _>>()?)
}

fn producers_and_consumers(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let queue = manager.queue(7).unwrap();
    let producer = |from| ctx.process::<produce>((queue.clone(), from, 300)).start().unwrap();
    let consumer = || ctx.process::<consume>((queue.clone(), 300)).start().unwrap();
    let producers = [producer(0), producer(1000)];
    let consumers = [consumer(), consumer()];
    let mut all = Vec::new();
    for consumer in &consumers {
        let got = consumer.result().unwrap().unwrap();
        for first in [0, 1000] {
            let of_one = got.iter().filter(|item| (first..first + 300).contains(*item));
            assert!(of_one.is_sorted(), "items of one producer come in order");
        }
        all.extend(got);
    }
    assert!(producers.iter().all(|producer| end(producer) == 0));
    all.sort_unstable();
    assert_eq!(all, (0..300).chain(1000..1300).collect::<Vec<_>>());
}

#[mp::task]
fn take_and_die(queue: mp::JoinableQueueProxy<u32>) {
    queue.get().unwrap();
    queue.get().unwrap();
    queue.task_done().unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn who_joins_learns_what_was_lost(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let queue = manager.joinable_queue(0).unwrap();
    for item in 0..3 {
        queue.put(&item).unwrap();
    }
    let process = ctx.process::<take_and_die>((queue.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    assert_eq!(queue.get_timeout(PATIENCE).unwrap(), 2);
    queue.task_done().unwrap();
    let joined = queue.join_timeout(PATIENCE);
    assert!(
        matches!(joined, Err(ManagerError::Join(JoinError::ItemsLost { items: 1, .. }))),
        "{joined:?}"
    );
    queue.join_timeout(PATIENCE).unwrap();
}

mpserverd_tests::suite![producers_and_consumers, who_joins_learns_what_was_lost];

#[test]
fn full_and_empty() {
    let manager = crate::spawned();
    let queue = manager.queue(2).unwrap();
    assert!(queue.empty().unwrap() && !queue.full().unwrap());
    queue.put(&1).unwrap();
    queue.put_nowait(&2).unwrap();
    let begun = Instant::now();
    let is_full = |result| matches!(result, Err(ManagerError::Full { .. }));
    assert!(is_full(queue.put_nowait(&3)) && is_full(queue.put_timeout(&3, SHORT)));
    assert!(is_full(queue.put_with(&3, false, Some(PATIENCE))));
    assert!(begun.elapsed() >= SHORT && queue.full().unwrap());
    assert_eq!((queue.qsize().unwrap(), queue.get().unwrap()), (2, 1));
    assert_eq!(queue.get_nowait().unwrap(), 2);
    let begun = Instant::now();
    let is_empty = |result| matches!(result, Err(ManagerError::Empty { .. }));
    assert!(is_empty(queue.get_nowait()) && is_empty(queue.get_timeout(SHORT)));
    assert!(is_empty(queue.get_with(false, Some(PATIENCE))) && begun.elapsed() >= SHORT);
    std::thread::scope(|scope| {
        let getter = scope.spawn(|| queue.get().unwrap());
        queue.put(&9).unwrap();
        assert_eq!(getter.join().unwrap(), 9);
        [7, 8].iter().for_each(|item| queue.put(item).unwrap());
        let putter = scope.spawn(|| queue.put(&10));
        assert_eq!(queue.get().unwrap(), 7);
        putter.join().unwrap().unwrap();
    });
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (8, 10));
}

#[test]
fn joining() {
    let manager = crate::spawned();
    let queue = manager.joinable_queue(0).unwrap();
    queue.join().unwrap();
    (0..5).for_each(|item| queue.put(&item).unwrap());
    let joined = queue.join_timeout(SHORT);
    let timed_out = JoinError::TimedOut { queue: "JoinableQueueProxy", unfinished: 5 };
    assert!(matches!(&joined, Err(ManagerError::Join(error)) if *error == timed_out));
    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| queue.join());
        for _ in 0..5 {
            queue.get().unwrap();
            queue.task_done().unwrap();
        }
        joiner.join().unwrap().unwrap();
    });
    assert!(matches!(queue.task_done(), Err(ManagerError::TasksDone(_))));
    assert_eq!(queue.unfinished().unwrap(), 0);
}

#[test]
fn no_item_is_lost_when_the_time_passes() {
    let manager = crate::spawned();
    let queue = manager.queue(0).unwrap();
    const ITEMS: u32 = 300;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for item in 0..ITEMS {
                queue.put(&item).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let mut expected = 0;
        let begun = Instant::now();
        while expected < ITEMS {
            assert!(begun.elapsed() < PATIENCE);
            match queue.get_timeout(Duration::from_micros(u64::from(expected % 7) * 100)) {
                Ok(item) => {
                    assert_eq!(item, expected);
                    expected += 1;
                }
                Err(error) => assert!(error.is_timeout(), "{error}"),
            }
        }
    });
    until("it is empty", || queue.empty().unwrap());
}

#[test]
fn a_queue_outlives_who_fills_it() {
    let manager = crate::spawned();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let queue = manager.queue(0).unwrap();
    value(spawn.process::<produce>((queue.clone(), 5, 2))).unwrap();
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (5, 6));
}
