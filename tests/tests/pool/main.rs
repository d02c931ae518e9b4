//! Pools: what the reference promises, what it does not keep, and what is more than it has.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod basics;
mod callbacks;
mod cancelling;
mod deadlines;
mod deaths;
mod handles;
mod imap;
mod initializer;
mod kills;
mod limits;
mod maps;
mod recycling;
mod results;
mod shutdown;
mod stderr;

use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use std::time::Duration;

/// A pool of so many workers.
fn pool(ctx: &mp::Context, processes: usize) -> mp::Pool {
    ctx.pool().processes(processes).build().unwrap()
}

/// Waits for a result, which must come.
fn get<R, E: mp::pool::Failure + std::fmt::Display>(
    result: &mp::AsyncResult<R, E>,
) -> Result<R, E> {
    assert!(result.wait_timeout(PATIENCE), "{result:?} does not come");
    result.get()
}

/// Waits until a pool has so many workers that could work, and gives their pids.
fn ready(pool: &mp::Pool, count: usize) -> Vec<u32> {
    use mp::pool::WorkerState::{Busy, Idle};
    let mut pids = Vec::new();
    let there = eventually(PATIENCE, || {
        let workers = pool.status().workers;
        pids = workers
            .iter()
            .filter(|worker| matches!(worker.state, Idle | Busy))
            .map(|worker| worker.pid)
            .collect();
        pids.len() == count
    });
    assert!(there, "{:?}", pool.status());
    pids
}

/// Sends a signal to a worker.
fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).unwrap();
}

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}

#[mp::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Sleeps and tells in which process.
#[mp::task]
fn nap(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

/// Waits until it is let go.
#[mp::task]
fn wait_for(go: mp::Event) -> u32 {
    assert!(go.wait(Some(PATIENCE)), "nobody lets it go");
    std::process::id()
}

/// Waits for that, if there is something to wait for; tells whether there was.
#[mp::task]
fn wait_if(go: Option<mp::Event>) -> bool {
    go.is_some_and(|go| go.wait(Some(PATIENCE)))
}

/// Says that it has begun, then never ends.
#[mp::task]
fn hang_begun(begun: mp::Event) {
    begun.set();
    hang();
}

/// Waits until so many tasks of a pool are not done yet.
fn outstanding(pool: &mp::Pool, count: usize) {
    let there = eventually(PATIENCE, || {
        let status = pool.status();
        (status.running + status.pending) as usize >= count
    });
    assert!(there, "{:?}", pool.status());
}

/// Sleeps until it is asked to stop.
#[mp::task]
fn wait_to_be_stopped() -> bool {
    while !mp::pool::is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Never ends.
#[mp::task]
fn hang() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

#[mp::task]
fn panics(text: String) -> u64 {
    panic!("{text}")
}

#[mp::task]
fn exits(code: i32) -> u64 {
    std::process::exit(code)
}

#[mp::task]
fn aborts() -> u64 {
    std::process::abort()
}
