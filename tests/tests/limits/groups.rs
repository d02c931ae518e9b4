//! Real control groups, where this user may make some.

use super::{Groups, cause, death, groups, sleep_for_ever};
use mp::Limits;
use mpserverd_proto::death::{Cause, LimitKind};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, skip};
use std::time::Duration;

fn daemon(groups: &Groups, limits: &[&str]) -> Daemon {
    let own = groups.option();
    let mut arguments = vec!["--limits", &own];
    limits.iter().for_each(|limit| arguments.extend(["--limits", limit]));
    Daemon::start(&arguments)
}

fn has(groups: &Groups, group: &str, pid: u32) -> bool {
    let file = groups.path.join(group).join("cgroup.procs");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().any(|line| line == pid.to_string())
}

/// The group that a worker is in.
fn group_of(groups: &Groups, pid: u32) -> Option<String> {
    groups.workers().into_iter().find(|group| has(groups, group, pid))
}

#[test]
fn daemon_and_limited_workers_have_groups_of_their_own() {
    let groups = match groups() {
        Ok(groups) => groups,
        Err(why) => return skip(&why),
    };
    let mut daemon = daemon(&groups, &[]);
    assert!(has(&groups, "daemon", daemon.pid()), "{}", daemon.log());
    let ctx = daemon.context();
    let free = ctx.process::<sleep_for_ever>(()).start().unwrap();
    assert_eq!(group_of(&groups, free.pid()), None);
    let limits = Limits::new().wall_time(Duration::from_secs(600));
    let limited = ctx.process::<sleep_for_ever>(()).limits(limits).start().unwrap();
    let group = group_of(&groups, limited.pid()).expect("a group of its own");
    limited.kill().unwrap();
    let gone = eventually(PATIENCE, || !groups.path.join(&group).exists());
    assert!(gone, "{group} is left\n{}", daemon.log());
    free.kill().unwrap();
    assert!(daemon.stop().success());
    assert!(groups.workers().is_empty());
}

#[test]
fn time_on_the_cpu_is_that_of_the_whole_group() {
    #[mp::task]
    #[allow(clippy::disallowed_methods, reason = "a descendant that is no worker")]
    fn let_others_spin() {
        let mut shell = std::process::Command::new("setsid");
        drop(shell.args(["-f", "sh", "-c", "while :; do :; done"]).spawn().unwrap());
        std::thread::sleep(PATIENCE);
    }
    let groups = match groups() {
        Ok(groups) => groups,
        Err(why) => return skip(&why),
    };
    let daemon = daemon(&groups, &["cpu-time=500ms", "kill-grace=0s"]);
    let process = daemon.context().process::<let_others_spin>(()).start().unwrap();
    assert_eq!(death(&process), -libc::SIGKILL);
    assert_eq!(cause(&daemon, process.pid()), Cause::Limit(LimitKind::CpuTime));
}

#[test]
fn the_next_daemon_adopts_workers_in_their_groups() {
    let groups = match groups() {
        Ok(groups) => groups,
        Err(why) => return skip(&why),
    };
    let mut daemon = daemon(&groups, &["wall-time=3s", "kill-grace=0s"]);
    let process = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    let group = group_of(&groups, process.pid()).expect("a group of its own");
    daemon.kill();
    assert!(has(&groups, &group, process.pid()));
    daemon.restart();
    // Its time begins anew with the next daemon, and is held again.
    assert_eq!(death(&process), -libc::SIGKILL);
    assert_eq!(cause(&daemon, process.pid()), Cause::Limit(LimitKind::WallTime));
    let gone = eventually(PATIENCE, || !groups.path.join(&group).exists());
    assert!(gone, "{group} is left\n{}", daemon.log());
}

#[test]
fn what_is_used_and_what_is_missing_is_said_at_the_start() {
    let daemon = super::daemon(&["cpu-quota=50%"]);
    let log = daemon.log();
    for part in [
        "limits: no control groups: `cgroup = \"off\"`",
        "memory.max is not delegated: private memory is sampled every 100ms",
        "`cpu_quota` of --limits is not enforced: the cpu controller is not delegated",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
}

/// Groups with this controller, or why not.
fn with_controller(name: &str) -> Result<Groups, String> {
    let groups = groups()?;
    let offered = std::fs::read_to_string(groups.path.join("cgroup.controllers"));
    match offered.unwrap_or_default().split_ascii_whitespace().any(|found| found == name) {
        true => Ok(groups),
        false => Err(format!("the {name} controller is not there for control groups of version 2")),
    }
}

#[test]
fn the_kernel_holds_memory() {
    let groups = match with_controller("memory") {
        Ok(groups) => groups,
        Err(why) => return skip(&why),
    };
    let daemon = daemon(&groups, &["memory=64M"]);
    let ctx = daemon.context();
    for limits in [Limits::new(), Limits::new().memory(48 << 20)] {
        let greedy = ctx.process::<super::kinds::hoard>((400,)).limits(limits).start().unwrap();
        assert_eq!(death(&greedy), -libc::SIGKILL);
        assert_eq!(cause(&daemon, greedy.pid()), Cause::Limit(LimitKind::Memory));
    }
    let modest = ctx.process::<super::kinds::hoard>((4,)).start().unwrap();
    assert_eq!(modest.join_timeout(Duration::from_millis(500)), None, "it is within");
    modest.kill().unwrap();
    assert_eq!(modest.join(), -libc::SIGKILL);
    assert_ne!(cause(&daemon, modest.pid()), Cause::Limit(LimitKind::Memory));
}

#[test]
fn the_kernel_holds_processes_and_threads() {
    #[mp::task]
    fn threads(count: usize) -> usize {
        let sleep = || std::thread::sleep(PATIENCE);
        let made = (0..count).map_while(|_| std::thread::Builder::new().spawn(sleep).ok());
        made.collect::<Vec<_>>().len()
    }
    let groups = match with_controller("pids") {
        Ok(groups) => groups,
        Err(why) => return skip(&why),
    };
    let daemon = daemon(&groups, &["pids=10"]);
    let made = mpserverd_tests::suite::value(daemon.context().process::<threads>((50,)));
    assert!((1..10).contains(&made), "{made}");
}

#[test]
fn the_kernel_holds_weight_and_quota() {
    let groups = match with_controller("cpu") {
        Ok(groups) => groups,
        Err(why) => return skip(&why),
    };
    let daemon = daemon(&groups, &["cpu-quota=50%", "cpu-weight=20"]);
    let limits = Limits::new().cpu_quota(25);
    let process = daemon.context().process::<sleep_for_ever>(()).limits(limits).start().unwrap();
    let group = groups.path.join(group_of(&groups, process.pid()).expect("a group of its own"));
    let read = |file: &str| std::fs::read_to_string(group.join(file)).unwrap();
    assert_eq!((&*read("cpu.max"), &*read("cpu.weight")), ("25000 100000\n", "20\n"));
    process.kill().unwrap();
}
