//! Objects of synchronisation between processes, under each start method: what they do, what
//! misuse of them gives, and what is left of them when somebody dies.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod barrier;
mod condition;
mod event;
mod killer;
mod lock;
mod rlock;
mod semaphore;

use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

/// A wait that is expected to be in vain.
const SHORT: Duration = Duration::from_millis(50);

/// Longer than any death may go unnoticed: a stop of that length must not look like one.
const STOP: Duration = Duration::from_millis(350);

/// Waits for something that is expected to happen.
fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(eventually(PATIENCE, condition), "{what}");
}

fn signal<R>(process: &mp::Process<R>, signal: Signal) {
    kill(Pid::from_raw(process.pid() as i32), signal).unwrap();
}

/// Sleeps until it is killed.
fn sleep_on() -> ! {
    loop {
        std::thread::sleep(PATIENCE);
    }
}
