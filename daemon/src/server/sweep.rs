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
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold anything, a `)` too.
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?.chars().next()?;
            (fields.next()?.parse::<u32>().ok()? == own).then_some((pid, state))
        })
        .collect()
}

/// Children of this process that have ended and were not reaped.
pub(super) fn zombies() -> Vec<u32> {
    // Asked without a child that has ended, the kernel says so at no cost.
    match wait::ended(wait::Whom::Any, false, Reporter::Daemon) {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => return Vec::new(),
    }
    children().into_iter().filter(|(_, state)| *state == 'Z').map(|(pid, _)| pid).collect()
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
