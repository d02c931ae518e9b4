//! After a hard limit nobody of a worker is left: no child, no orphan, no daemon of its own.

use super::{Groups, cause, groups};
use mpserverd_proto::death::{Cause, LimitKind};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, proc, seeds, skip};
use std::time::{Duration, Instant};

/// When everybody has to be gone.
const SOON: Duration = Duration::from_millis(100);

/// Starts a child, an orphan in a session of its own, and one that forks others for ever; sleeps.
#[mp::task]
#[allow(clippy::disallowed_methods, reason = "descendants that are no workers")]
fn breed(tag: String) {
    let forks = format!("while :; do sleep {tag}.3 & sleep 0.05; done");
    let lines: [&[&str]; 3] = [
        &["sleep", &format!("{tag}.1")],
        &["setsid", "-f", "sleep", &format!("{tag}.2")],
        &["setsid", "-f", "sh", "-c", &forks],
    ];
    for line in lines {
        let mut command = std::process::Command::new(line[0]);
        // The child that setsid leaves is the orphan's; it ends by itself.
        drop(command.args(&line[1..]).spawn().unwrap());
    }
    std::thread::sleep(PATIENCE);
}

/// Processes whose command line has this tag.
fn tagged(tag: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_tag = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(tag.len()).any(|part| part == tag.as_bytes()) && proc::is_running(*pid)
    };
    pids.filter(has_tag).collect()
}

/// One worker with descendants that is ended by its time; gives how long the last one lived on.
fn round(daemon: &Daemon, number: u64) -> Duration {
    let tag = format!("{}{number:04}", 100_000 + std::process::id() % 100_000);
    let worker = daemon.context().process::<breed>((tag.clone(),)).start().unwrap();
    let bred = eventually(PATIENCE, || tagged(&tag).len() >= 4 || !worker.is_alive());
    assert!(bred, "descendants of {} do not come up", worker.pid());
    let known = tagged(&tag);
    worker.join_timeout(PATIENCE).expect("its time is over");
    let ended = Instant::now();
    // Looking at all processes takes longer than what is measured, so those that are known come
    // first; then the last time that anybody was seen.
    let _ = eventually(PATIENCE, || !known.iter().any(|pid| proc::is_running(*pid)));
    let mut took = ended.elapsed();
    let gone = eventually(PATIENCE, || {
        let left = tagged(&tag);
        if !left.is_empty() {
            took = ended.elapsed();
        }
        left.is_empty()
    });
    assert!(gone, "{:?} outlive their worker\n{}", tagged(&tag), daemon.log());
    assert_eq!(cause(daemon, worker.pid()), Cause::Limit(LimitKind::WallTime));
    took
}

fn rounds(daemon: &Daemon, count: u64) {
    let took: Vec<_> = (0..count).map(|number| round(daemon, number)).collect();
    let late = took.iter().filter(|took| **took > SOON).count();
    let longest = took.iter().max().copied().unwrap_or_default();
    println!("{count} rounds, the longest {longest:?}, {late} later than {SOON:?}");
}

fn with_groups(groups: &Groups, grace: &str) -> Daemon {
    let grace = format!("kill-grace={grace}");
    let limits = ["--limits", &groups.option(), "--limits", "wall-time=700ms", "--limits", &grace];
    Daemon::start(&limits)
}

fn in_groups(count: u64, grace: &str) {
    let groups = match groups() {
        Ok(groups) => groups,
        Err(why) => return skip(&why),
    };
    let daemon = with_groups(&groups, grace);
    rounds(&daemon, count);
    let left = || groups.workers().len();
    assert!(eventually(PATIENCE, || left() <= 33), "groups are left: {}", left());
}

fn without_groups(count: u64, grace: &str) {
    let grace = format!("kill-grace={grace}");
    rounds(&super::daemon(&["wall-time=700ms", &grace]), count);
}

#[test]
fn nobody_outlives_a_worker_that_is_killed() {
    in_groups(seeds::count(3), "0s");
}

#[test]
fn nobody_outlives_a_worker_that_ends_when_asked() {
    in_groups(seeds::count(3), "1s");
}

#[test]
fn without_control_groups_neither() {
    without_groups(seeds::count(3), "0s");
}

#[test]
fn without_control_groups_a_worker_that_ends_when_asked_takes_who_was_known() {
    // One that forks for ever might have forked between the look and the end.
    without_groups(seeds::count(2), "1s");
}

#[test]
#[ignore = "long: a thousand workers with descendants, 15 minutes"]
fn nobody_outlives_a_thousand_workers() {
    in_groups(seeds::count(1000), "0s");
}
