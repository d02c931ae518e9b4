//! Workers that are replaced.

use super::{nap, pool, square, wait_for};
use mpserverd_tests::{eventually, suite};
use std::collections::BTreeMap;
use std::time::Duration;

fn a_worker_runs_so_many_tasks(ctx: &mp::Context) {
    let pool = ctx.pool().processes(2).max_tasks_per_child(10).build().unwrap();
    for chunk in [1, 7, 40] {
        let pids = pool.mapping::<nap>().chunk(chunk).map([0u64; 200]).unwrap();
        let mut counts = BTreeMap::new();
        pids.iter().for_each(|pid| *counts.entry(pid).or_insert(0) += 1);
        assert!(counts.values().all(|count| *count <= 10), "{counts:?}");
    }
    assert_eq!(pool.apply::<square>((2,)).unwrap(), 4);
    assert_eq!(pool.status().workers_lost, 0);
}

fn a_worker_for_each_task(ctx: &mp::Context) {
    let pool = ctx.pool().processes(2).max_tasks_per_child(1).build().unwrap();
    let mut pids = pool.map::<nap>([1u64; 30]).unwrap();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 30);
}

fn nothing_is_lost_under_load(ctx: &mp::Context) {
    let pool =
        ctx.pool().processes(3).max_tasks_per_child(100).max_tasks_jitter(50).build().unwrap();
    let squares = pool.mapping::<square>().chunk(13).map(0..5_000).unwrap();
    assert!(squares.into_iter().eq((0..5_000).map(|x| x * x)));
    let results = (0..500).map(|x| pool.apply_async::<square>((x,)).unwrap()).collect::<Vec<_>>();
    for (x, result) in (0..).zip(&results) {
        assert_eq!(super::get(result).unwrap(), x * x);
    }
    pool.close();
    pool.join_timeout(super::PATIENCE).unwrap();
    let status = pool.status();
    assert!(status.workers_retired >= 30 && status.workers_lost == 0, "{status:?}");
}

fn an_old_worker_is_replaced(ctx: &mp::Context) {
    let age = Duration::from_millis(200);
    let pool = ctx.pool().processes(1).max_age(age).build().unwrap();
    let first = pool.apply::<nap>((0,)).unwrap();
    // Idle or not, and without a moment in which there is none.
    let replaced = eventually(super::PATIENCE, || pool.apply::<nap>((0,)).unwrap() != first);
    assert!(replaced && pool.status().workers_lost == 0);
}

/// Keeps memory for ever.
#[mp::task]
fn leak(bytes: usize) -> u32 {
    std::mem::forget(vec![1u8; bytes]);
    std::process::id()
}

fn a_large_worker_is_replaced(ctx: &mp::Context) {
    let pool = ctx.pool().processes(1).max_private_memory(200 << 20).build().unwrap();
    let first = pool.apply::<leak>((1 << 10,)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(pool.apply::<leak>((300 << 20,)).unwrap(), first, "it was small until now");
    let replaced = eventually(super::PATIENCE, || pool.apply::<leak>((1,)).unwrap() != first);
    assert!(replaced && pool.status().workers_lost == 0);
}

fn a_pool_tells_how_it_is(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    pool.map::<nap>([5u64; 10]).unwrap();
    super::ready(&pool, 2);
    let status = pool.status();
    assert_eq!((status.done, status.pending, status.running), (10, 0, 0));
    assert_eq!(status.workers.iter().map(|worker| worker.tasks_done).sum::<u64>(), 10);
    assert!(status.workers.iter().all(|worker| worker.private_memory.is_some_and(|b| b > 0)));
    let go = mp::Event::new().unwrap();
    let wait = |_| pool.apply_async::<wait_for>((go.clone(),)).unwrap();
    let naps = (0..5).map(wait).collect::<Vec<_>>();
    let status = pool.status();
    assert_eq!(status.running + status.pending, 5, "{status:?}");
    go.set();
    naps.iter().for_each(|nap| drop(super::get(nap)));
}

suite![
    a_worker_runs_so_many_tasks,
    a_worker_for_each_task,
    nothing_is_lost_under_load,
    an_old_worker_is_replaced,
    a_large_worker_is_replaced,
    a_pool_tells_how_it_is,
];
