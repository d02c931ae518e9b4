//! Pools that end, and tasks that are given up, at random moments and under load.

use crate::census::rounds;
use crate::killer;
use crate::log::{Log, keep_log};
use crate::work::{Deed, Work, hang, plain, result_of, work};
use crate::{get, is_whole, pause};
use mp::TaskFailure;
use mpserverd_tests::eventually;
use mpserverd_tests::seeds::Moments;
use mpserverd_tests::suite::PATIENCE;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn sleeper(number: u64, micros: u64) -> Work {
    Work { number, micros, deed: Deed::Return }
}

fn is_end(error: &TaskFailure) -> bool {
    matches!(error, TaskFailure::Pool(mp::PoolError::Terminated))
}

/// Nobody works any more: what was given up included.
fn comes_to_rest(pool: &mp::Pool) {
    let idle = eventually(PATIENCE, || {
        let status = pool.status();
        status.running == 0 && status.pending == 0
    });
    assert!(idle, "{:?}", pool.status());
}

/// Whatever others do with it, each gets to know.
fn terminated_by_anybody(ctx: &mp::Context) {
    rounds(4, |moments| {
        let pool = ctx.pool().processes(3).build().unwrap();
        let who = moments.below(3);
        let wait = Duration::from_nanos(moments.below(60_000_000));
        std::thread::scope(|scope| {
            let maps = scope.spawn(|| {
                loop {
                    match pool.map_each::<plain>(0..500) {
                        Ok(each) => {
                            assert!(each.iter().all(|o| o.as_ref().map_or_else(is_end, |_| true)))
                        }
                        Err(error) => return assert!(matches!(error, mp::PoolError::Terminated)),
                    }
                }
            });
            let imaps = scope.spawn(|| {
                while let Ok(imap) = pool.imap::<plain>(0..) {
                    for (number, outcome) in (0..).zip(imap) {
                        match outcome {
                            Ok(result) => assert_eq!(result, result_of(number)),
                            Err(error) => assert!(is_end(&error), "{error}"),
                        }
                    }
                }
            });
            let singles = scope.spawn(|| {
                let mut results = Vec::new();
                while let Ok(result) = pool.apply_async::<plain>((7,)) {
                    results.push(result);
                    if results.len() > 5000 {
                        results.drain(..).for_each(|result| drop(get(&pool, &result)));
                    }
                }
                for result in results {
                    assert!(result.ready(), "it is over, and this does not know");
                    assert!(result.get().map_or_else(|e| is_end(&e), |result| result == 21));
                }
            });
            std::thread::sleep(wait);
            match who {
                0 => pool.terminate(),
                1 => {
                    let inside = pool.clone();
                    let task = pool.task::<plain>((1,)).callback(move |_| inside.terminate());
                    drop(task.submit().unwrap());
                }
                _ => pool.terminate_timeout(PATIENCE).unwrap(),
            }
            for thread in [maps, imaps, singles] {
                thread.join().unwrap();
            }
        });
        pool.join_timeout(PATIENCE).unwrap();
    });
}

/// The last handle goes while others take results.
fn dropped_while_others_take_results(ctx: &mp::Context) {
    rounds(3, |moments| {
        let pool = ctx.pool().processes(2).build().unwrap();
        let map = pool.map_async::<plain>(0..200_000).unwrap();
        let threads = std::thread::scope(|scope| {
            let (one, other) = (pool.clone(), pool.clone());
            let in_order = scope.spawn(move || {
                let mut imap = one.imap::<plain>(0u64..).unwrap();
                drop(one);
                let last = imap.by_ref().find_map(Result::err).expect("it ends with an error");
                (is_end(&last), imap.next().is_none())
            });
            let unordered = scope.spawn(move || {
                let mapping = other.mapping::<plain>().chunk(20);
                let mut imap = mapping.imap_unordered(0u64..).unwrap();
                drop(other);
                let last = imap.by_ref().find_map(Result::err).expect("it ends with an error");
                (is_end(&last), imap.next().is_none())
            });
            pause(moments, Duration::from_millis(30));
            drop(pool);
            (in_order.join().unwrap(), unordered.join().unwrap())
        });
        assert_eq!(threads, ((true, true), (true, true)));
        assert!(map.ready());
        assert!(map.get().map_or_else(|error| is_end(&error.error), |all| all.len() == 200_000));
    });
}

/// Who stops half way takes the rest with him, and nobody else's.
fn dropped_in_the_middle(ctx: &mp::Context) {
    rounds(3, |moments| {
        let log = Log::new(4000);
        let pool = ctx.pool().processes(2).initializer::<keep_log>((log.clone(),));
        let pool = pool.init_attempts(u32::MAX).grace(Duration::from_millis(1)).build().unwrap();
        let stop = AtomicBool::new(false);
        let (rage, kills) = (Moments::of(moments.below(1 << 20)), moments.below(2) == 0);
        std::thread::scope(|scope| {
            let killing = kills.then(|| {
                scope.spawn(|| killer::rage(&pool, rage, Duration::from_millis(20), &stop))
            });
            for at in 0..8 {
                let numbers = at * 500..(at + 1) * 500;
                let works = numbers.map(|number| sleeper(number, number % 3 * 500));
                let mapping = pool.mapping::<work>().chunk([1, 7][at as usize % 2]);
                let mut imap = mapping.imap(works).unwrap();
                for number in at * 500..at * 500 + moments.below(40) {
                    match imap.next_timeout(PATIENCE).expect("there is more") {
                        Ok(result) => assert_eq!(result, result_of(number)),
                        Err(error) => assert!(error.is_lost() && kills, "{error}"),
                    }
                }
                let other = pool.task::<plain>((at,)).retries(1000).submit().unwrap();
                drop(imap);
                assert_eq!(get(&pool, &other).unwrap(), result_of(at), "it is somebody else's");
            }
            stop.store(true, Ordering::Relaxed);
            killing.map(|killing| killing.join().unwrap());
        });
        comes_to_rest(&pool);
        let begun = log.all_begun();
        is_whole(&pool, 2);
        assert_eq!(log.all_begun(), begun, "what was given up was begun");
        assert!((0..4000).all(|number| log.begun(number) <= 1));
    });
}

/// Random tasks are cancelled at random moments; all others are done.
fn cancelled_at_random(ctx: &mp::Context) {
    const TASKS: u64 = 250;
    rounds(3, |moments| {
        let log = Log::new(TASKS);
        let pool = ctx.pool().processes(3).initializer::<keep_log>((log.clone(),));
        let pool = pool.grace(Duration::from_millis(moments.below(4))).build().unwrap();
        let micros = [10, 1000, 4000][moments.below(3) as usize];
        let submit = |number| match number % 50 {
            // Only a cancel ends these.
            9 => pool.apply_async::<hang>((number,)).unwrap(),
            _ => pool.apply_async::<work>((sleeper(number, micros),)).unwrap(),
        };
        let results = (0..TASKS).map(submit).collect::<Vec<_>>();
        let mut cancels = (0..TASKS)
            .filter(|number| number % 50 == 9 || moments.below(3) == 0)
            .collect::<Vec<_>>();
        for at in (1..cancels.len()).rev() {
            cancels.swap(at, moments.below(at as u64 + 1) as usize);
        }
        let mut cancelled = Vec::new();
        for number in cancels {
            pause(moments, Duration::from_micros(500));
            if results[number as usize].cancel() {
                cancelled.push(number);
                assert!(results[number as usize].ready());
            }
        }
        for (number, result) in (0..).zip(&results) {
            match get(&pool, result) {
                Ok(result) => {
                    assert_eq!(result, result_of(number));
                    assert!(!cancelled.contains(&number));
                    assert_eq!(log.ended(number), 1);
                }
                Err(TaskFailure::Cancelled) => assert!(cancelled.contains(&number), "{number}"),
                Err(other) => panic!("{number}, which nobody has cancelled: {other}"),
            }
            assert!(log.begun(number) <= 1);
        }
        comes_to_rest(&pool);
        is_whole(&pool, 3);
    });
}

/// Tasks with all sorts of deadlines: only they are ended, and those that hang always are.
fn overrun_at_random(ctx: &mp::Context) {
    const TASKS: u64 = 150;
    rounds(3, |moments| {
        let log = Log::new(TASKS);
        let pool = ctx.pool().processes(3).initializer::<keep_log>((log.clone(),));
        let grace = Duration::from_millis(moments.below(4));
        let pool = pool.grace(grace).retries(1000).build().unwrap();
        let limits = (0..TASKS).map(|_| Duration::from_millis(1 + moments.below(8)));
        let limits = limits.collect::<Vec<_>>();
        let results = (0..).zip(&limits).map(|(number, limit)| match number % 30 {
            9 => pool.task::<hang>((number,)).deadline(*limit).submit(),
            10..20 => pool.task::<work>((sleeper(number, 4000),)).deadline(*limit).submit(),
            _ => pool.apply_async::<work>((sleeper(number, 500),)),
        });
        let results = results.map(Result::unwrap).collect::<Vec<_>>();
        for ((number, result), limit) in (0..).zip(&results).zip(&limits) {
            let outcome = get(&pool, result);
            // What overruns is not tried again, and may have had no time to say that it began.
            let begun = log.begun(number);
            match outcome {
                Ok(result) => {
                    assert_eq!((result, begun), (result_of(number), 1));
                    assert_ne!(number % 30, 9, "it never ends");
                }
                Err(TaskFailure::DeadlineExceeded(passed)) => {
                    assert!(passed == *limit && (9..20).contains(&(number % 30)), "{number}");
                    assert!(begun <= 1, "{number} began {begun} times");
                }
                Err(other) => panic!("{number}: {other}"),
            }
        }
        comes_to_rest(&pool);
        is_whole(&pool, 3);
    });
}

/// Whoever has joined a pool has no worker of it any more, one that was about to come included.
fn ended_before_it_has_begun(ctx: &mp::Context) {
    rounds(10, |moments| {
        let workers = 1 + moments.below(6) as usize;
        let pool = ctx.pool().processes(workers).build().unwrap();
        pause(moments, Duration::from_millis(20));
        match moments.below(3) {
            0 => pool.terminate(),
            1 => pool.close(),
            _ => {
                drop(pool.apply_async::<plain>((1,)).unwrap());
                pool.close();
            }
        }
        pool.join_timeout(PATIENCE).unwrap();
        let left = mp::active_children();
        assert!(left.is_empty(), "{left:?} are left");
    });
}

/// Counts, after some time.
#[mp::task]
fn count(counter: mp::Value<u64>, millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    counter.fetch_add(1)
}

/// Descriptors of what was taken back from a busy worker wait for it. There may be so many that no
/// more go there, and still what comes then is only late.
fn taken_back_with_handles(ctx: &mp::Context) {
    rounds(2, |moments| {
        let pool = ctx.pool().processes(1).build().unwrap();
        let counter = mp::Value::new(0u64).unwrap();
        let submit = |millis| pool.apply_async::<count>((counter.clone(), millis)).unwrap();
        // They are short, as far as the pool knows: it gives several at a time.
        pool.starmap::<count>((0..1000).map(|_| (counter.clone(), 0))).unwrap();
        let long = submit(400);
        for _ in 0..60 {
            let short = (0..20).map(|_| submit(0)).collect::<Vec<_>>();
            pause(moments, Duration::from_micros(100));
            short.iter().for_each(|short| assert!(short.cancel() || short.ready()));
        }
        let last = (0..20).map(|_| submit(0)).collect::<Vec<_>>();
        for result in last.iter().chain([&long]) {
            get(&pool, result).unwrap_or_else(|error| panic!("{error}"));
        }
        is_whole(&pool, 1);
    });
}

alone![
    ended_before_it_has_begun,
    taken_back_with_handles,
    terminated_by_anybody,
    dropped_while_others_take_results,
    dropped_in_the_middle,
    cancelled_at_random,
    overrun_at_random,
];
