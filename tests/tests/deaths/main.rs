//! Why workers end: every certificate names the right cause, whatever the boards say.
//!
//! | module | holds |
//! |---|---|
//! | `causes` | all causes of death, one after the other, many times |
//! | `boards` | boards: hostile ones, and those of templates and daemons that are gone |
//! | `missed` | deaths while no daemon runs |
//! | `stderr` | what workers write to standard error, caught |
//! | `traces` | the one number from client to certificate |
//! | `poison` | tasks that are refused for the deaths of their workers |
//! | `slow` | tasks that run long are reported once |
//! | `screens` | `mpctl deaths` |
#![cfg(target_os = "linux")]

mod boards;
mod causes;
mod missed;
mod poison;
mod screens;
mod slow;
mod stderr;
mod traces;

use mp::{Cause, ProcessError};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::death::{Certificate, Death, DeathsQuery, DeathsReport};
use mpserverd_proto::report::ProcessFilter;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::time::{Duration, Instant};

mp::enable_in_tests!();

/// `ps` of everybody.
fn all_processes() -> Request {
    let filter = ProcessFilter { spares: true, ..ProcessFilter::default() };
    Request::Processes { after: None, limit: u32::MAX, filter }
}

#[mp::task]
fn fine() -> u32 {
    17
}

#[mp::task]
fn exits(code: i32) {
    std::process::exit(code);
}

#[mp::task]
fn panics() {
    panic!("on purpose");
}

#[mp::task]
fn raises(number: i32) {
    nix::sys::signal::raise(Signal::try_from(number).unwrap()).unwrap();
    // The signal may go to another thread of the process.
    std::thread::sleep(PATIENCE);
}

#[mp::task]
fn sleeps(begun: mp::Event) {
    begun.set();
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// All certificates that this process may see.
fn deaths(daemon: &Daemon) -> DeathsReport {
    let query = DeathsQuery { after: 0, limit: u32::MAX, worker: None, cause: None };
    let deadline = Some(Instant::now() + PATIENCE);
    match daemon.connect().call(&Request::Deaths(query), &[], deadline) {
        Ok((Reply::Deaths(report), _)) => report,
        other => panic!("{other:?}"),
    }
}

/// The certificate of the worker that had this pid, which must be the only one.
fn certificate(daemon: &Daemon, pid: u32) -> Certificate {
    let mut found = Vec::new();
    let there = eventually(PATIENCE, || {
        let rows = deaths(daemon).rows.into_iter();
        found = rows.filter(|Death { certificate, .. }| certificate.pid == pid).collect();
        !found.is_empty()
    });
    assert!(there, "no certificate of pid {pid}");
    assert_eq!(found.len(), 1, "one worker ends once: {found:?}");
    found.remove(0).certificate
}

fn kill(pid: u32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid as i32), signal).unwrap();
}

/// Starts a worker that sleeps, and waits until it does.
fn sleeping(ctx: &mp::Context) -> mp::Process<()> {
    sleeping_with(ctx, |builder| builder)
}

fn sleeping_with(
    ctx: &mp::Context,
    change: impl FnOnce(mp::ProcessBuilder<()>) -> mp::ProcessBuilder<()>,
) -> mp::Process<()> {
    let begun = mp::Event::new().unwrap();
    let process = change(ctx.process::<sleeps>((begun.clone(),))).start().unwrap();
    assert!(begun.wait(Some(PATIENCE)), "it does not begin");
    process
}

/// The cause that the client's error names.
fn cause_of<R: std::fmt::Debug>(process: &mp::Process<R>) -> Option<Cause> {
    match process.result_timeout(PATIENCE) {
        Err(ProcessError::Died { cause: Some(cause), .. }) => Some(cause),
        // A daemon that is busy takes longer than an error waits for it.
        Err(ProcessError::Died { .. }) => {
            let _ = eventually(PATIENCE, || process.cause().is_some());
            process.cause()
        }
        other => panic!("it did not die: {other:?}"),
    }
}

/// Waits for what must not happen: nothing else tells that it does not.
fn a_while() {
    std::thread::sleep(Duration::from_millis(300));
}
