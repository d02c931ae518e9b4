//! What the reference promises of a pool.

use super::{PATIENCE, add, get, pool, square, wait_for};
use mpserverd_tests::suite;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn a_task_is_applied(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    assert_eq!(pool.apply::<square>((7,)).unwrap(), 49);
    let result = pool.apply_async::<add>((1, 2)).unwrap();
    assert_eq!(get(&result).unwrap(), 3);
    assert_eq!(result.get().unwrap(), 3, "it can be asked for again");
    assert_eq!((result.ready(), result.successful()), (true, Ok(true)));
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
}

fn maps_keep_the_order(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let expected = (0..1000u64).map(|x| x * x).collect::<Vec<_>>();
    assert_eq!(pool.map::<square>(0..1000).unwrap(), expected);
    for chunk in [1, 7, 1000, 5000] {
        assert_eq!(pool.mapping::<square>().chunk(chunk).map(0..1000).unwrap(), expected);
    }
    let pairs = (0..100u64).map(|x| (x, 2 * x)).collect::<Vec<_>>();
    let sums = pairs.iter().map(|(a, b)| a + b).collect::<Vec<_>>();
    assert_eq!(pool.starmap::<add>(&pairs).unwrap(), sums);
    assert_eq!(pool.starmap::<add>(pairs.clone()).unwrap(), sums);
    assert_eq!(get(&pool.map_async::<square>(0..1000).unwrap()).unwrap(), expected);
    assert_eq!(get(&pool.starmap_async::<add>(pairs).unwrap()).unwrap(), sums);
}

fn nothing_to_do_is_done_at_once(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let nothing = || std::iter::empty::<u64>();
    assert!(pool.map::<square>(nothing()).unwrap().is_empty());
    assert!(get(&pool.map_async::<square>(nothing()).unwrap()).unwrap().is_empty());
    assert!(pool.imap::<square>(nothing()).unwrap().next().is_none());
    assert!(pool.imap_unordered::<square>(nothing()).unwrap().next().is_none());
    assert!(pool.map_each::<square>(nothing()).unwrap().is_empty());
}

fn workers_are_named_daemonic_children_of_this_process(ctx: &mp::Context) {
    let pool = ctx.pool().processes(2).name("web").build().unwrap();
    let (name, parent, daemon) = pool.apply::<who>(()).unwrap();
    assert!(name.starts_with("webPoolWorker-"), "{name}");
    assert_eq!(parent, std::process::id());
    assert!(daemon);
    let default = super::pool(ctx, 1);
    let (name, ..) = default.apply::<who>(()).unwrap();
    assert_eq!(name.split_once("PoolWorker-").unwrap().1, "1");
}

#[mp::task]
fn who() -> (String, u32, bool) {
    let me = mp::current_process();
    let parent = mp::parent_process().unwrap();
    (me.name().to_owned(), parent.pid(), me.daemon())
}

fn workers_work_side_by_side(ctx: &mp::Context) {
    let pool = pool(ctx, 3);
    super::ready(&pool, 3);
    // None of them ends before all have begun.
    let all = mp::Barrier::new(3, None).unwrap();
    let results = (0..3).map(|_| pool.apply_async::<meet>((all.clone(),)).unwrap());
    let results = results.collect::<Vec<_>>();
    let pids = results.iter().map(|result| get(result).unwrap()).collect::<BTreeSet<_>>();
    assert_eq!(pids.len(), 3, "{pids:?}");
}

/// Waits for the others, and tells in which process.
#[mp::task]
fn meet(all: mp::Barrier) -> u32 {
    all.wait(Some(PATIENCE)).unwrap();
    std::process::id()
}

fn workers_may_have_children(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    assert_eq!(pool.apply::<delegate>((6,)).unwrap(), 36);
}

#[mp::task]
fn delegate(x: u64) -> u64 {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    ctx.process::<square>((x,)).start().unwrap().result().unwrap()
}

fn a_timeout_ends_the_wait_and_not_the_task(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    super::ready(&pool, 1);
    let go = mp::Event::new().unwrap();
    let result = pool.apply_async::<wait_for>((go.clone(),)).unwrap();
    let begun = Instant::now();
    let error = result.get_timeout(Duration::from_millis(50)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert!(result.successful().is_err(), "it is not ready");
    assert!(!result.wait_timeout(Duration::ZERO));
    go.set();
    get(&result).unwrap();
}

fn many_threads_use_one_pool(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let pool = pool.clone();
            scope.spawn(move || {
                for round in 0..60 {
                    let x = thread * 1000 + round;
                    match round % 3 {
                        0 => assert_eq!(pool.apply::<square>((x,)).unwrap(), x * x),
                        1 => {
                            let sum = pool.apply_async::<add>((x, 1)).unwrap();
                            assert_eq!(get(&sum).unwrap(), x + 1);
                        }
                        _ => {
                            let squares = pool.map::<square>(x..x + 10).unwrap();
                            assert_eq!(squares[3], (x + 3) * (x + 3));
                        }
                    }
                }
            });
        }
    });
}

suite![
    a_task_is_applied,
    maps_keep_the_order,
    nothing_to_do_is_done_at_once,
    workers_are_named_daemonic_children_of_this_process,
    workers_work_side_by_side,
    workers_may_have_children,
    a_timeout_ends_the_wait_and_not_the_task,
    many_threads_use_one_pool,
];
