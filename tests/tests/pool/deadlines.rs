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
    suite::in_time(Duration::from_secs(1), |limit| {
        let pool = ctx.pool().processes(1).task_deadline(limit).build().unwrap();
        // Together they take twice as long as each of them may.
        let naps = 2 * limit.as_millis() as u64 / 100;
        let nap = |_| pool.apply_async::<nap>((100,)).unwrap();
        let results = (0..naps).map(nap).collect::<Vec<_>>();
        results.iter().all(|result| meets_its_deadline(get(result))).then_some(())
    });
}

/// Whether a task was done in time, as it is where the machine does not stand still.
fn meets_its_deadline<R: std::fmt::Debug>(outcome: Result<R, mp::TaskFailure>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(mp::TaskFailure::DeadlineExceeded(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

fn a_map_loses_only_the_inputs_that_overrun(ctx: &mp::Context) {
    for chunk in [None, Some(4)] {
        suite::in_time(2 * SHORT, |limit| only_those_that_overrun(ctx, limit, chunk));
    }
}

/// `None` if the machine stood still for so long that another one overran.
fn only_those_that_overrun(ctx: &mp::Context, limit: Duration, chunk: Option<usize>) -> Option<()> {
    let pool = ctx.pool().processes(2).task_deadline(limit).build().unwrap();
    let mapping = pool.mapping::<nap>();
    let mapping = chunk.map_or(pool.mapping::<nap>(), |chunk| mapping.chunk(chunk));
    let long = 600_000;
    let each = mapping.map_each([0u64, 0, long, 0, 0, 0, long, 0]).unwrap();
    for (at, outcome) in each.iter().enumerate() {
        let overruns = at == 2 || at == 6;
        match outcome {
            Ok(_) => assert!(!overruns),
            Err(mp::TaskFailure::DeadlineExceeded(_)) if overruns => {}
            Err(mp::TaskFailure::DeadlineExceeded(_)) => return None,
            // Done in the moment before, and not told yet.
            Err(error) if chunk.is_some() && error.is_lost() => assert!(at % 4 < 2, "{at}"),
            Err(other) => panic!("{at}: {other}"),
        }
    }
    assert_eq!(pool.apply::<square>((2,)).unwrap(), 4);
    Some(())
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
