//! Pools under fire: workers, the pool's own process and what it waits for are ended at any moment,
//! and each task still has one outcome, in order, and nothing is left behind.
//!
//! `FAULT_SEED=n` repeats one round of a test, `FAULT_ROUNDS=n` makes all of them longer.
//!
//! | file | holds |
//! |---|---|
//! | `alone` | each test in a process of its own, under every start method |
//! | `census` | what that process has, before and after |
//! | `log` | which task began and ended where, in shared memory |
//! | `work` | tasks that log themselves, and end their worker if they are told to |
//! | `killer` | who ends workers from outside |
//! | `judge` | whether an outcome can be |
//! | `storm` | all of that at once |
//! | `instants` | workers that are ended at special moments |
//! | `ends` | pools that end, and tasks that are given up, under load |
//! | `large` | many workers, many tasks, many replacements |
//! | `owner` | the pool's own process is ended |
//! | `memory` | what a pool keeps, and workers that have too much |
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

#[macro_use]
mod alone;
mod census;
mod ends;
mod instants;
mod judge;
mod killer;
mod large;
mod log;
mod memory;
mod owner;
mod storm;
mod work;

use mp::pool::WorkerState::{Busy, Idle};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;

/// Waits until a pool has so many workers that could work, and gives their pids.
fn ready(pool: &mp::Pool, count: usize) -> Vec<u32> {
    let mut pids = Vec::new();
    let there = eventually(PATIENCE, || {
        let workers = pool.status().workers;
        let there = workers.iter().filter(|worker| matches!(worker.state, Idle | Busy));
        pids = there.map(|worker| worker.pid).collect();
        pids.len() >= count
    });
    assert!(there, "{:?}", pool.status());
    pids
}

/// The pool works: each worker is there, and no task is lost that nobody harms.
fn is_whole(pool: &mp::Pool, workers: usize) {
    ready(pool, workers);
    let results = pool.mapping::<work::plain>().chunk(3).retries(1000).map(0..100).unwrap();
    assert!(results.into_iter().eq((0..100).map(work::result_of)));
    assert_eq!(pool.task::<work::plain>((5,)).retries(1000).submit().unwrap().get().unwrap(), 15);
}

/// Waits for a result, which must come.
fn get<R, E: mp::pool::Failure>(pool: &mp::Pool, result: &mp::AsyncResult<R, E>) -> Result<R, E> {
    assert!(result.wait_timeout(PATIENCE), "{result:?} does not come: {:?}", pool.status());
    result.get()
}

/// Sleeps for a random time below this.
fn pause(moments: &mut mpserverd_tests::seeds::Moments, within: std::time::Duration) {
    let nanos = moments.below(within.as_nanos().max(1) as u64);
    std::thread::sleep(std::time::Duration::from_nanos(nanos));
}
