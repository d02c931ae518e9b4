//! How pools end.

use super::{PATIENCE, get, hang, nap, panics, pool, square};
use mpserverd_tests::{eventually, proc, suite};
use std::time::{Duration, Instant};

fn a_closed_pool_does_what_it_has(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let results = (0..50).map(|x| pool.apply_async::<square>((x,)).unwrap()).collect::<Vec<_>>();
    assert!(matches!(pool.join(), Err(mp::PoolError::StillOpen)));
    pool.close();
    let error = pool.apply_async::<square>((1,)).unwrap_err();
    assert!(matches!(error, mp::PoolError::Closed), "{error}");
    assert!(pool.map::<square>(0..3).is_err() && pool.map_async::<square>(0..3).is_err());
    assert!(pool.map_each::<square>(0..3).is_err());
    pool.join_timeout(PATIENCE).unwrap();
    assert!(results.iter().all(|result| result.ready()));
    assert_eq!(results[49].get().unwrap(), 49 * 49);
    pool.join().unwrap();
}

fn a_map_goes_on_after_a_close(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let other = pool.clone();
    std::thread::scope(|scope| {
        let map = scope.spawn(move || other.mapping::<nap>().chunk(1).map([5u64; 100]));
        super::outstanding(&pool, 1);
        pool.close();
        assert_eq!(map.join().unwrap().unwrap().len(), 100);
    });
    pool.join_timeout(PATIENCE).unwrap();
}

fn a_join_ends_in_time(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let result = pool.apply_async::<hang>(()).unwrap();
    pool.close();
    let begun = Instant::now();
    let error = pool.join_timeout(Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, mp::PoolError::Timeout(_)), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(100));
    pool.terminate_timeout(PATIENCE).unwrap();
    let error = get(&result).unwrap_err();
    assert!(matches!(error, mp::TaskFailure::Pool(mp::PoolError::Terminated)), "{error}");
}

fn ten_thousand_queued_tasks_are_given_up_at_once(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let pids = super::ready(&pool, 2);
    let map = pool.map_async::<nap>([60_000u64; 10_000]).unwrap();
    let results = (0..100).map(|_| pool.apply_async::<hang>(()).unwrap()).collect::<Vec<_>>();
    pool.terminate();
    assert!(map.ready() && results.iter().all(|result| result.ready()), "they are over at once");
    pool.join_timeout(PATIENCE).unwrap();
    assert!(map.get().is_err());
    let gone = |pid: &u32| !proc::is_running(*pid);
    assert!(eventually(PATIENCE, || pids.iter().all(gone)));
    let error = pool.apply::<square>((1,)).unwrap_err();
    assert!(matches!(error, mp::TaskFailure::Pool(mp::PoolError::Terminated)), "{error}");
}

fn terminating_wakes_whoever_waits(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    std::thread::scope(|scope| {
        let waiting = (0..3).map(|_| pool.clone()).map(|pool| {
            scope.spawn(move || {
                let result = pool.apply_async::<hang>(()).unwrap();
                let own = result.get();
                (own.is_err(), pool.map::<nap>([60_000u64; 3]).is_err())
            })
        });
        let waiting = waiting.collect::<Vec<_>>();
        let mapping = pool.clone();
        let map = scope.spawn(move || mapping.map::<nap>([60_000u64; 5]).unwrap_err());
        // Three that hang, and five of the map.
        super::outstanding(&pool, 8);
        pool.terminate();
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), (true, true));
        }
        assert_eq!(map.join().unwrap().index, 0);
    });
}

fn a_dropped_pool_is_terminated(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let pids = super::ready(&pool, 2);
    let result = pool.apply_async::<hang>(()).unwrap();
    let clone = pool.clone();
    drop(pool);
    assert!(!result.wait_timeout(Duration::from_millis(50)), "a clone is the same pool");
    drop(clone);
    assert!(result.ready());
    for pid in pids {
        assert!(eventually(PATIENCE, || !proc::is_running(pid)), "{pid} still runs");
    }
}

fn nothing_is_left_of_pools(ctx: &mp::Context) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let round = || {
        let pool = pool(ctx, 2);
        pool.map::<square>(0..100).unwrap();
        let _ = pool.map_each::<panics>(["a"; 3]).unwrap();
        drop(pool.apply_async::<hang>(()).unwrap());
    };
    round();
    let _ = mp::active_children();
    let (fds, threads) = (count("fd"), count("task"));
    for _ in 0..3 {
        round();
    }
    let back = eventually(PATIENCE, || {
        let _ = mp::active_children();
        count("fd") <= fds && count("task") <= threads
    });
    assert!(
        back,
        "{fds} descriptors before, {} now; {threads} threads, {}",
        count("fd"),
        count("task")
    );
}

fn a_pool_may_end_before_it_has_begun(ctx: &mp::Context) {
    for _ in 0..5 {
        drop(pool(ctx, 4));
        let pool = pool(ctx, 4);
        pool.close();
        pool.join_timeout(PATIENCE).unwrap();
    }
}

fn a_large_pool_comes_and_goes(ctx: &mp::Context) {
    let pool = pool(ctx, 24);
    super::ready(&pool, 24);
    assert_eq!(pool.map::<square>(0..2000).unwrap().len(), 2000);
    drop(pool);
}

suite![
    a_closed_pool_does_what_it_has,
    a_map_goes_on_after_a_close,
    a_join_ends_in_time,
    ten_thousand_queued_tasks_are_given_up_at_once,
    terminating_wakes_whoever_waits,
    a_dropped_pool_is_terminated,
    nothing_is_left_of_pools,
    a_pool_may_end_before_it_has_begun,
    a_large_pool_comes_and_goes,
];
