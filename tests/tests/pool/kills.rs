//! Workers killed at random while the pool is busy: each task has exactly one outcome, in order.

use super::pool;
use mp::pool::WorkerState;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Spins for so many microseconds.
#[mp::task]
fn spin(number: u64, micros: u64) -> u64 {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    number
}

#[mp::task]
fn spin_some(number: u64) -> u64 {
    spin(number, number % 50)
}

/// Ends the killing, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills a worker now and then until it is told to stop; gives how many.
fn killer(pool: &mp::Pool, seed: u64, within: Duration, stop: &AtomicBool) -> u64 {
    let (mut moments, mut killed) = (Moments::of(seed), 0);
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_nanos(moments.below(within.as_nanos() as u64)));
        // One that has yet to come up would be a failure of its initializer.
        let mut workers = pool.status().workers;
        workers.retain(|worker| matches!(worker.state, WorkerState::Idle | WorkerState::Busy));
        if workers.is_empty() {
            continue;
        }
        let victim = &workers[moments.below(workers.len() as u64) as usize];
        // By its pidfd: it may have ended, and its pid mean somebody else.
        if let Some(child) = mp::active_children().iter().find(|child| child.pid() == victim.pid) {
            child.kill().unwrap();
            killed += 1;
        }
    }
    killed
}

fn kill_rounds(rounds: u64) {
    let daemon = Daemon::start(&["--spares", "4..16"]);
    let pool = pool(&daemon.context(), 3);
    let (stop, seed) = (AtomicBool::new(false), seeds::any());
    std::thread::scope(|scope| {
        let killing = scope.spawn(|| killer(&pool, seed, Duration::from_millis(20), &stop));
        let over = Stop(&stop);
        let (mut done, mut lost) = (0u64, 0u64);
        for round in 0..rounds {
            let chunk = [1, 3, 50][(round % 3) as usize];
            let each = pool.mapping::<spin_some>().chunk(chunk).map_each(0..400).unwrap();
            assert_eq!(each.len(), 400);
            for (number, outcome) in (0..).zip(each) {
                match outcome {
                    Ok(back) => assert_eq!(back, number, "out of order"),
                    Err(mp::TaskFailure::WorkerLost { .. }) => lost += 1,
                    Err(other) => panic!("{number}: {other}"),
                }
                done += 1;
            }
            let singles = (0..50).map(|at| pool.apply_async::<spin>((at, at * 7)).unwrap());
            for (number, single) in (0..).zip(singles.collect::<Vec<_>>()) {
                assert!(single.wait_timeout(PATIENCE), "{number} has no outcome: {pool:?}");
                match single.get() {
                    Ok(back) => assert_eq!(back, number),
                    Err(error) => assert!(error.is_lost(), "{error}"),
                }
            }
        }
        drop(over);
        let killed = killing.join().unwrap();
        println!("{killed} workers killed, {lost} of {done} tasks lost with them");
        assert!(killed > 0);
    });
    super::ready(&pool, 3);
    let all = pool.mapping::<spin_some>().retries(100).map(0..100).unwrap();
    assert!(all.into_iter().eq(0..100));
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
}

#[test]
fn each_task_has_one_outcome() {
    kill_rounds(seeds::count(30));
}

#[test]
#[ignore = "long: thousands of rounds"]
fn each_task_has_one_outcome_for_long() {
    kill_rounds(seeds::count(3000));
}

/// With retries nothing is lost, however many workers are.
#[test]
fn retried_tasks_are_all_done() {
    let daemon = Daemon::start(&["--spares", "4..16"]);
    let pool = daemon.context().pool().processes(3).retries(1000).build().unwrap();
    let (stop, seed) = (AtomicBool::new(false), seeds::any());
    std::thread::scope(|scope| {
        let killing = scope.spawn(|| killer(&pool, seed, Duration::from_millis(10), &stop));
        let over = Stop(&stop);
        for _ in 0..10 {
            let inputs = (0..300).map(|number| (number, 30));
            let results = pool.starmap::<spin>(inputs).unwrap();
            assert!(results.into_iter().eq(0..300));
        }
        drop(over);
        killing.join().unwrap();
    });
}
