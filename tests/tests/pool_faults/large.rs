//! Many workers, many tasks, many replacements.

use crate::census::Census;
use crate::killer::signal;
use crate::work::{plain, result_of};
use crate::{alone, is_whole, ready};
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, proc};
use nix::sys::signal::Signal;
use std::time::Duration;

#[mp::task]
fn brief(number: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(number % 1000));
    result_of(number)
}

/// A quarter of them is killed while all of them work.
fn crowd(ctx: &mp::Context, workers: usize, tasks: u64) {
    is_whole(&ctx.pool().processes(1).build().unwrap(), 1);
    let before = Census::take();
    let pool = ctx.pool().processes(workers).init_attempts(u32::MAX).build().unwrap();
    let pids = ready(&pool, workers);
    alone::beat();
    let mut moments = Moments::of(seeds::any());
    let mut victims = Vec::new();
    while victims.len() < workers / 4 {
        let pid = pids[moments.below(pids.len() as u64) as usize];
        if !victims.contains(&pid) {
            victims.push(pid);
        }
    }
    let lost = std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            for pid in &victims {
                crate::pause(&mut moments, Duration::from_millis(5));
                assert!(signal(*pid, Signal::SIGKILL), "{pid} has ended by itself");
            }
        });
        let each = pool.mapping::<brief>().chunk(1).map_each(0..tasks).unwrap();
        killing.join().unwrap();
        assert_eq!(each.len() as u64, tasks);
        let mut lost = 0;
        for (number, outcome) in (0..).zip(each) {
            match outcome {
                Ok(result) => assert_eq!(result, result_of(number)),
                Err(mp::TaskFailure::WorkerLost { pid, .. }) => {
                    assert!(victims.contains(&pid));
                    lost += 1;
                }
                Err(other) => panic!("{number}: {other}"),
            }
        }
        lost
    });
    alone::beat();
    assert!(lost <= victims.len(), "{lost} tasks were lost with {} workers", victims.len());
    is_whole(&pool, workers);
    let all = pool.status().workers.iter().map(|worker| worker.pid).collect::<Vec<_>>();
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
    drop(pool);
    assert!(eventually(PATIENCE, || !all.iter().any(|pid| proc::is_running(*pid))));
    before.holds_again();
    println!("{lost} of {tasks} tasks were lost with {} of {workers} workers", victims.len());
}

fn forty_workers(ctx: &mp::Context) {
    crowd(ctx, 40, 2000);
}

fn two_hundred_workers(ctx: &mp::Context) {
    crowd(ctx, 200, 10_000);
}

/// Each input counts once, whatever travels together.
fn sums(ctx: &mp::Context, tasks: u64) {
    let pool = ctx.pool().processes(2).build().unwrap();
    let wanted = (0..tasks).map(result_of).sum::<u64>();
    for chunk in [Some(1), None] {
        let mapping = pool.mapping::<plain>();
        let mapping = chunk.map_or(pool.mapping::<plain>(), |chunk| mapping.chunk(chunk));
        let results = mapping.map(0..tasks).unwrap();
        assert_eq!(results.len() as u64, tasks);
        assert_eq!(results.iter().sum::<u64>(), wanted);
        alone::beat();
    }
    assert_eq!(pool.status().done, 2 * tasks);
}

fn many_tasks(ctx: &mp::Context) {
    sums(ctx, 100_000);
}

fn a_million_tasks(ctx: &mp::Context) {
    sums(ctx, 1_000_000);
}

/// A worker runs ten tasks: nothing is lost with those that go.
fn replacements(ctx: &mp::Context, tasks: u64) {
    let pool = ctx.pool().processes(4).max_tasks_per_child(10).build().unwrap();
    for first in (0..tasks).step_by(1000) {
        let numbers = first..tasks.min(first + 1000);
        let chunk = [1, 4, 100][(first / 1000 % 3) as usize];
        let results = pool.mapping::<plain>().chunk(chunk).map(numbers.clone()).unwrap();
        assert!(results.into_iter().eq(numbers.map(result_of)));
        alone::beat();
    }
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
    let status = pool.status();
    assert_eq!((status.done, status.lost, status.workers_lost), (tasks, 0, 0), "{status:?}");
    assert!(status.workers_started >= tasks / 10, "{status:?}");
}

fn replaced_again_and_again(ctx: &mp::Context) {
    replacements(ctx, 1000);
}

fn replaced_ten_thousand_times(ctx: &mp::Context) {
    replacements(ctx, 100_000);
}

alone![
    forty_workers,
    many_tasks,
    replaced_again_and_again;
    long: two_hundred_workers,
    a_million_tasks,
    replaced_ten_thousand_times,
];
