//! Nothing is left behind by those who have ended, and their room is for the next.

use crate::record;
use mp::logging::Level;
use mpserverd_tests::suite::{PATIENCE, end, outcome};

#[mp::task]
fn log_once(number: u32) {
    let _span = tracing::info_span!("span", number).entered();
    tracing::info!("number {number}");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

#[mp::task]
fn many_workers(method: crate::Method) {
    let seen = record(Level::INFO);
    let ctx = method.context();
    let run = |number| {
        let process = ctx.process::<log_once>((number,)).start().unwrap();
        outcome(&process).unwrap();
        assert_eq!(end(&process), 0);
        let _ = process.close();
        let _ = mp::active_children();
    };
    (0..20).for_each(run);
    let before = (descriptors(), mappings());
    (20..220).for_each(run);
    let after = (descriptors(), mappings());
    assert!(after.0 <= before.0 + 2 && after.1 <= before.1 + 8, "{before:?} {after:?}");
    let want = (0..220).map(|number| format!("number {number}")).collect::<Vec<_>>();
    assert_eq!(seen.messages(), want);
    assert_eq!(seen.closed().len(), 220);
}

#[test]
fn two_hundred_workers_leave_nothing() {
    for method in mp::get_all_start_methods() {
        crate::in_own_process(*method, |spawn, method| spawn.process::<many_workers>((method,)));
    }
}

#[mp::task]
fn wait_and_log(number: u32, go: mp::Event) {
    tracing::info!("first of {number}");
    assert!(go.wait(Some(PATIENCE)));
    tracing::info!("second of {number}");
}

/// More processes at a time than have room of their own.
#[mp::task]
fn a_crowd(method: crate::Method) {
    let seen = record(Level::INFO);
    let ctx = method.context();
    let go = mp::Event::new().unwrap();
    let start = |number| ctx.process::<wait_and_log>((number, go.clone())).start().unwrap();
    let processes = (0..150).map(start).collect::<Vec<_>>();
    go.set();
    for process in &processes {
        outcome(process).unwrap();
        assert_eq!(end(process), 0);
    }
    let all = || seen.count() == 300;
    assert!(mpserverd_tests::eventually(PATIENCE, all), "{} of 300", seen.count());
    assert_eq!(seen.lost(), 0);
}

#[test]
fn a_crowd_shares() {
    crate::in_own_process(mp::StartMethod::ForkServer, |spawn, method| {
        spawn.process::<a_crowd>((method,))
    });
}
