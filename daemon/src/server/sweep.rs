//! Leaving no process behind: as a subreaper, the daemon is the parent of every orphan below it.

use mp::sys::wait;
use mpserverd_proto::status::Reporter;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// How long the killed may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pids of this process's children, with their states.
fn children() -> Vec<(u32, char)> {
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| look(pid, own)).collect()
}

/// A process with its state, if it is this one's child.
fn look(pid: u32, own: u32) -> Option<(u32, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, a `)` too.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    (fields.next()?.parse::<u32>().ok()? == own).then_some((pid, state))
}

/// The same as the kernel lists them, where it does: without a look at every process of the machine,
/// but it may miss one amid a change.
fn listed_children() -> Vec<(u32, char)> {
    let own = std::process::id();
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        let pids = list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
        pids.collect::<Vec<_>>()
    });
    pids.filter_map(|pid| look(pid, own)).collect()
}

/// Children of this process that have ended and were not reaped.
pub(super) fn zombies() -> Vec<u32> {
    // Asked without a child that has ended, the kernel says so at no cost.
    let first = match wait::ended(wait::Whom::Any, false, Reporter::Daemon) {
        Ok(Some((pid, _))) => pid,
        Ok(None) | Err(_) => return Vec::new(),
    };
    let ended = |children: Vec<(u32, char)>| {
        let zombies = children.into_iter().filter(|(_, state)| *state == 'Z');
        zombies.map(|(pid, _)| pid).collect::<Vec<_>>()
    };
    let listed = ended(listed_children());
    if listed.contains(&first) { listed } else { ended(children()) }
}

/// Kills and reaps every child, and the orphans that follow, until there is none.
pub(super) fn leave_no_process() {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        while let Ok(Some(_)) = wait::ended(wait::Whom::Any, true, Reporter::Daemon) {}
        let left = children();
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            // Our child and not reaped yet: the pid cannot mean another process.
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
