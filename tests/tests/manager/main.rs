//! Managers: every type and method, proxies on their ways, servers and clients that are killed,
//! strangers, and what is left behind.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod barrier;
mod condition;
mod containers;
mod deaths;
mod flood;
mod hammer;
mod hostile;
mod journeys;
mod leaks;
mod locks;
mod pools;
mod queues;
mod remote;
mod servers;
mod shared_memory;
mod stopped;

use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use std::time::Duration;

/// A wait that is expected to be in vain.
const SHORT: Duration = Duration::from_millis(50);

/// Waits for something that is expected to happen.
fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(eventually(PATIENCE, condition), "{what}");
}

/// A manager whose server is spawned: what does not depend on the start method.
fn spawned() -> mp::Manager {
    mp::get_context(mp::StartMethod::Spawn).manager().unwrap()
}

/// Sleeps until it is killed.
fn sleep_on() -> ! {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}
