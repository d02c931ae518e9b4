//! Tasks that run longer than they may.

use super::{get, hang, nap, pool, square, wait_to_be_stopped};
use mpserverd_tests::suite;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(100);

fn a_task_that_overruns_is_ended_and_its_worker_replaced(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    super::ready(&pool, 2);
    let begun = Instant::now();
    let result = pool.task::<hang>(()).deadline(SHORT).submit().unwrap();
    let other = pool.apply_async::<nap>((400,)).unwrap();
    let error = get(&result).unwrap_err();
    assert!(matches!(error, mp::TaskFailure::DeadlineExceeded(SHORT)), "{error}");
    assert!(begun.elapsed() >= SHORT);
    get(&other).unwrap();
    super::ready(&pool, 2);
}

fn a_task_that_listens_keeps_its_worker(ctx: &mp::Context) {
    let pool = ctx.pool().processes(1).grace(Duration::from_secs(30)).build().unwrap();
    let pid = pool.apply::<nap>((0,)).unwrap();
    let result = pool.task::<wait_to_be_stopped>(()).deadline(SHORT).submit().unwrap();
    let error = get(&result).unwrap_err();
    assert!(matches!(error, mp::TaskFailure::DeadlineExceeded(_)), "{error}");
    assert_eq!(pool.apply::<nap>((0,)).unwrap(), pid);
}

fn the_time_in_the_queue_does_not_count(ctx: &mp::Context) {
    let pool = ctx.pool().processes(1).task_deadline(Duration::from_secs(1)).build().unwrap();
    let results = (0..20).map(|_| pool.apply_async::<nap>((100,)).unwrap()).collect::<Vec<_>>();
    for result in &results {
        get(result).unwrap();
    }
}

fn a_map_loses_only_the_inputs_that_overrun(ctx: &mp::Context) {
    let pool = ctx.pool().processes(2).task_deadline(2 * SHORT).build().unwrap();
    for chunk in [None, Some(4)] {
        let mapping = pool.mapping::<nap>();
        let mapping = chunk.map_or(pool.mapping::<nap>(), |chunk| mapping.chunk(chunk));
        let each = mapping.map_each([0u64, 0, 60_000, 0, 0, 0, 60_000, 0]).unwrap();
        for (at, outcome) in each.iter().enumerate() {
            match outcome {
                Ok(_) => assert!(at != 2 && at != 6),
                Err(mp::TaskFailure::DeadlineExceeded(_)) => assert!(at == 2 || at == 6, "{at}"),
                // Done in the moment before, and not told yet.
                Err(error) if chunk.is_some() && error.is_lost() => assert!(at % 4 < 2, "{at}"),
                Err(other) => panic!("{at}: {other}"),
            }
        }
    }
    assert_eq!(pool.apply::<square>((2,)).unwrap(), 4);
}

fn a_deadline_behind_a_task_without_one_is_kept(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    // Short tasks: several are given at a time.
    pool.map::<nap>([0u64; 500]).unwrap();
    let long = pool.apply_async::<nap>((300,)).unwrap();
    let result = pool.task::<hang>(()).deadline(SHORT).submit().unwrap();
    get(&long).unwrap();
    let error = get(&result).unwrap_err();
    assert!(matches!(error, mp::TaskFailure::DeadlineExceeded(_)), "{error}");
}

suite![
    a_task_that_overruns_is_ended_and_its_worker_replaced,
    a_task_that_listens_keeps_its_worker,
    the_time_in_the_queue_does_not_count,
    a_map_loses_only_the_inputs_that_overrun,
    a_deadline_behind_a_task_without_one_is_kept,
];
