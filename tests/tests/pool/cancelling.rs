//! Tasks that nobody wants any more.

use super::{get, hang_begun, nap, pool, square, wait_for, wait_to_be_stopped};
use mpserverd_tests::suite;
use std::time::Duration;

fn a_queued_task_is_cancelled_at_once(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let go = mp::Event::new().unwrap();
    let long = pool.apply_async::<wait_for>((go.clone(),)).unwrap();
    let queued = (0..20).map(|_| pool.apply_async::<nap>((1,)).unwrap()).collect::<Vec<_>>();
    assert!(queued[7].cancel());
    assert!(queued[7].ready());
    assert!(matches!(queued[7].get(), Err(mp::TaskFailure::Cancelled)));
    assert_eq!(queued[7].successful(), Ok(false));
    assert!(!queued[7].cancel(), "it is over");
    go.set();
    get(&long).unwrap();
    for (at, result) in queued.iter().enumerate().filter(|(at, _)| *at != 7) {
        get(result).unwrap_or_else(|error| panic!("{at}: {error}"));
    }
    assert_eq!(pool.status().workers_lost, 0, "nobody was killed for it");
}

fn a_task_that_listens_stops_and_its_worker_lives(ctx: &mp::Context) {
    let pool = ctx.pool().processes(1).grace(Duration::from_secs(30)).build().unwrap();
    let pid = pool.apply::<nap>((0,)).unwrap();
    let result = pool.apply_async::<wait_to_be_stopped>(()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(result.cancel());
    assert!(matches!(result.get(), Err(mp::TaskFailure::Cancelled)));
    assert_eq!(pool.apply::<nap>((0,)).unwrap(), pid);
    assert!(!pool.apply::<is_asked>(()).unwrap(), "the next task is not meant");
}

#[mp::task]
fn is_asked() -> bool {
    mp::pool::is_cancelled()
}

fn a_task_that_does_not_listen_is_killed(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let pid = super::ready(&pool, 1)[0];
    let begun = mp::Event::new().unwrap();
    let result = pool.apply_async::<hang_begun>((begun.clone(),)).unwrap();
    assert!(begun.wait(Some(super::PATIENCE)));
    assert!(result.cancel());
    assert!(matches!(result.get(), Err(mp::TaskFailure::Cancelled)));
    let next = pool.apply::<nap>((0,)).unwrap();
    assert_ne!(next, pid, "there is another worker");
}

fn a_whole_map_is_cancelled(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let map = pool.map_async::<nap>([100u64; 1000]).unwrap();
    let other = pool.map_async::<square>(0..100).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(map.cancel());
    assert!(matches!(map.get().unwrap_err().error, mp::TaskFailure::Cancelled));
    assert_eq!(get(&other).unwrap().len(), 100);
}

fn a_result_that_nobody_keeps_is_not_a_cancel(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("done");
    let pool = pool(ctx, 1);
    drop(pool.apply_async::<touch>((path.to_str().unwrap().to_owned(),)).unwrap());
    pool.close();
    pool.join_timeout(super::PATIENCE).unwrap();
    assert!(path.exists());
}

#[mp::task]
fn touch(path: String) {
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(path, "").unwrap();
}

suite![
    a_queued_task_is_cancelled_at_once,
    a_task_that_listens_stops_and_its_worker_lives,
    a_task_that_does_not_listen_is_killed,
    a_whole_map_is_cancelled,
    a_result_that_nobody_keeps_is_not_a_cancel,
];
