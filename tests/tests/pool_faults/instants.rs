//! Workers that are ended at special moments.

use crate::census::rounds;
use crate::killer::{self, signal, victim};
use crate::log::{self, Log, keep_log};
use crate::work::{Deed, Work, plain, result_of, work};
use crate::{get, is_whole, pause, ready};
use mp::TaskFailure;
use mp::pool::WorkerState::{Leaving, Starting};
use mpserverd_tests::eventually;
use mpserverd_tests::seeds::Moments;
use mpserverd_tests::suite::PATIENCE;
use nix::sys::signal::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Bytes that travel as such, not one by one.
#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// An input or a result of this size goes beside the rings.
const LARGE: usize = 64 << 20;

#[mp::task]
fn linger(log: Log, millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
    keep_log(log);
}

/// All `count` samples of the bytes, which must be alike.
fn all_alike(bytes: &[u8]) -> Option<u8> {
    let first = *bytes.first()?;
    bytes.chunks(4096).all(|page| page.iter().all(|byte| *byte == first)).then_some(first)
}

#[mp::task]
fn take_large(bytes: Bytes) -> Option<u8> {
    (bytes.0.len() == LARGE).then(|| all_alike(&bytes.0)).flatten()
}

#[mp::task]
fn give_large(number: u64, byte: u8) -> Bytes {
    log::own().begin(number);
    Bytes(vec![byte; LARGE])
}

#[mp::task]
fn pass_on(counter: mp::Value<u64>, back: mp::SimpleQueue<u64>) -> mp::SimpleQueue<u64> {
    counter.fetch_add(1);
    back
}

/// A pool whose workers have a log, and whose starts may fail as often as they like.
fn build(ctx: &mp::Context, workers: usize, log: &Log) -> mp::PoolBuilder {
    let pool = ctx.pool().processes(workers).init_attempts(u32::MAX);
    pool.initializer::<keep_log>((log.clone(),))
}

/// Nothing was handed to a worker that has not come up.
fn before_it_is_ready(ctx: &mp::Context) {
    rounds(4, |moments| {
        let log = Log::new(20);
        let millis = [0, 10, 30][moments.below(3) as usize];
        let builder = ctx.pool().processes(2).init_attempts(u32::MAX);
        let pool = builder.initializer::<linger>((log.clone(), millis)).build().unwrap();
        let work = |number| Work { number, micros: 1, deed: Deed::Return };
        let map = pool.mapping::<work>().chunk(3).map_async((0..20).map(work)).unwrap();
        let mut struck = 0;
        while struck < 4 && !map.ready() {
            let Some(pid) = victim(&pool, moments, |worker| worker.state == Starting) else {
                std::thread::yield_now();
                continue;
            };
            pause(moments, Duration::from_millis(millis + 2));
            struck += u64::from(killer::strike(pid, moments));
        }
        // One may have been ready in the moment before.
        match get(&pool, &map) {
            Ok(results) => assert!(results.into_iter().eq((0..20).map(result_of))),
            Err(error) => {
                assert!(error.error.is_lost(), "{error}");
                assert!(log.all_begun() > 0, "nothing has begun, and yet something is lost");
            }
        }
        is_whole(&pool, 2);
    });
}

fn with_a_large_input(ctx: &mp::Context) {
    rounds(3, |moments| {
        let log = Log::new(1);
        let pool = build(ctx, 2, &log).build().unwrap();
        ready(&pool, 2);
        let large = Bytes(vec![7; LARGE]);
        for at in 0..4 {
            let retries = [0, 1000][at % 2];
            let others = Moments::of(moments.below(1 << 20));
            let outcome = std::thread::scope(|scope| {
                // While it is written, read, or worked on.
                let killing = scope.spawn(|| few(&pool, others, Duration::from_millis(60)));
                let task = pool.task::<take_large>((large.clone(),)).retries(retries);
                let result = task.submit().unwrap();
                killing.join().unwrap();
                get(&pool, &result)
            });
            match outcome {
                Ok(byte) => assert_eq!(byte, Some(7), "torn"),
                Err(error) => assert!(error.is_lost() && retries == 0, "{error}"),
            }
        }
        is_whole(&pool, 2);
    });
}

/// Ends three workers.
fn few(pool: &mp::Pool, mut moments: Moments, within: Duration) {
    for _ in 0..3 {
        pause(&mut moments, within);
        if let Some(pid) = victim(pool, &mut moments, |_| true) {
            killer::strike(pid, &mut moments);
        }
    }
}

fn with_a_large_result(ctx: &mp::Context) {
    rounds(3, |moments| {
        let log = Log::new(4);
        let pool = build(ctx, 2, &log).build().unwrap();
        for number in 0..4 {
            let (retries, byte) = (2 * (number as u32 % 2), number as u8 + 1);
            let task = pool.task::<give_large>((number, byte)).retries(retries);
            let result = task.submit().unwrap();
            assert!(eventually(PATIENCE, || log.begun(number) > 0), "{:?}", pool.status());
            pause(moments, Duration::from_millis(60));
            if let Some(pid) = log.pids(number).last() {
                signal(*pid, Signal::SIGKILL);
            }
            match get(&pool, &result) {
                Ok(bytes) => {
                    assert_eq!((bytes.0.len(), all_alike(&bytes.0)), (LARGE, Some(byte)));
                }
                Err(error) => assert!(error.is_lost() && retries == 0, "{error}"),
            }
        }
        is_whole(&pool, 2);
    });
}

fn with_handles_on_their_way(ctx: &mp::Context) {
    rounds(3, |moments| {
        let log = Log::new(1);
        let retries = [0, 1000][moments.below(2) as usize];
        let pool = build(ctx, 2, &log).retries(retries).build().unwrap();
        let counter = mp::Value::new(0u64).unwrap();
        let queues = (0..60).map(|_| mp::SimpleQueue::new().unwrap()).collect::<Vec<_>>();
        let (stop, within) = (AtomicBool::new(false), Duration::from_millis(10));
        let each = std::thread::scope(|scope| {
            let moments = Moments::of(moments.below(1 << 20));
            let killing = scope.spawn(|| killer::rage(&pool, moments, within, &stop));
            let inputs = queues.iter().map(|queue| (counter.clone(), queue.clone()));
            let each = pool.mapping::<pass_on>().chunk(3).starmap_each(inputs).unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            killing.join().unwrap();
            each
        });
        let mut returned = 0;
        for (at, (outcome, queue)) in (0u64..).zip(each.into_iter().zip(&queues)) {
            match outcome {
                Ok(same) => {
                    same.put(&at).unwrap();
                    assert_eq!(queue.get().unwrap(), at, "it is another one's");
                    returned += 1;
                }
                Err(error) => assert!(error.is_lost() && retries == 0, "{at}: {error}"),
            }
        }
        assert!(counter.value() >= returned);
        is_whole(&pool, 2);
    });
}

/// The one that comes and the one that goes.
fn while_it_is_replaced(ctx: &mp::Context) {
    rounds(3, |moments| {
        let log = Log::new(120);
        let pool = build(ctx, 2, &log).max_tasks_per_child(4).max_tasks_jitter(2).build().unwrap();
        let work = |number| Work { number, micros: 1000, deed: Deed::Return };
        let singles = (0..120).map(|number| pool.apply_async::<work>((work(number),)).unwrap());
        let singles = singles.collect::<Vec<_>>();
        let mut struck = Vec::new();
        while struck.len() < 10 && !singles.iter().all(mp::AsyncResult::ready) {
            let comes_or_goes =
                |worker: &mp::pool::WorkerStatus| matches!(worker.state, Starting | Leaving);
            if let Some(pid) = victim(&pool, moments, comes_or_goes)
                && killer::strike(pid, moments)
            {
                struck.push(pid);
            }
            pause(moments, Duration::from_millis(4));
        }
        for (number, single) in (0..).zip(&singles) {
            match get(&pool, single) {
                Ok(result) => assert_eq!(result, result_of(number)),
                Err(TaskFailure::WorkerLost { pid, .. }) => {
                    assert!(struck.contains(&pid), "{number} was lost with {pid}: {struck:?}");
                }
                Err(other) => panic!("{number}: {other}"),
            }
            assert!(log.begun(number) <= 1);
        }
        is_whole(&pool, 2);
    });
}

/// Tasks of a closed pool are done, or lost with a worker that was ended.
fn while_the_pool_ends(ctx: &mp::Context) {
    rounds(4, |moments| {
        let log = Log::new(60);
        let pool = build(ctx, 3, &log).build().unwrap();
        let terminates = moments.below(2) == 0;
        let work = |number| Work { number, micros: 1000, deed: Deed::Return };
        let singles = (0..60).map(|number| pool.apply_async::<work>((work(number),)).unwrap());
        let singles = singles.collect::<Vec<_>>();
        pause(moments, Duration::from_millis(20));
        let (stop, within) = (AtomicBool::new(false), Duration::from_millis(5));
        let struck = std::thread::scope(|scope| {
            let rage = Moments::of(moments.below(1 << 20));
            let killing = scope.spawn(|| killer::rage(&pool, rage, within, &stop));
            pause(moments, Duration::from_millis(5));
            if terminates {
                pool.terminate();
            } else {
                pool.close();
            }
            let ended = pool.join_timeout(PATIENCE);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            ended.unwrap_or_else(|error| panic!("{error}: {:?}", pool.status()));
            killing.join().unwrap()
        });
        for (number, single) in (0..).zip(&singles) {
            assert!(single.ready(), "{number} has no outcome");
            match single.get() {
                Ok(result) => assert_eq!(result, result_of(number)),
                Err(TaskFailure::WorkerLost { pid, .. }) => assert!(struck.contains(&pid)),
                Err(TaskFailure::Pool(mp::PoolError::Terminated)) => assert!(terminates),
                Err(other) => panic!("{number}: {other}"),
            }
        }
        assert!(matches!(
            pool.apply_async::<plain>((1,)),
            Err(mp::PoolError::Closed | mp::PoolError::Terminated)
        ));
    });
}

alone![
    before_it_is_ready,
    with_a_large_input,
    with_a_large_result,
    with_handles_on_their_way,
    while_it_is_replaced,
    while_the_pool_ends,
];
