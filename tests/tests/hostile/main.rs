//! Clients that misbehave: each loses its own connection, and nobody else notices.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod crowd;
mod peer;
mod queue;
mod silence;
mod socket;

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::value;

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}

/// Others are served, whatever one client does.
fn serves(daemon: &Daemon) {
    assert_eq!(value(daemon.context().process::<square>((12,))), 144);
}
