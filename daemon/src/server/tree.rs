//! A process and its descendants, by what `/proc` says: for measuring and killing where there are
//! no control groups.
//!
//! The gap: who has left the tree is not found. A limited worker therefore inherits the orphans
//! among its descendants; but once it has ended, they are the daemon's and nobody knows whose they
//! were.

use mp::sys::wait;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Rounds of looking for descendants that were forked while we looked.
const ROUNDS: usize = 16;
/// Descendants of one worker that are looked at, at most.
const TREE_MAX: usize = 65_536;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    dead: bool,
    parent: u32,
    ticks: u64,
    threads: u64,
    /// Resident memory, pages.
    resident: u64,
}

fn parse(line: &str) -> Option<Stat> {
    // The name, in parentheses, may hold anything, parentheses and spaces too.
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        dead: matches!(*fields.first()?, "Z" | "X"),
        parent: u32::try_from(number(1)?).ok()?,
        // Its own, and that of the children that it has waited for.
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        threads: number(17)?,
        resident: number(21)?,
    })
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Children of a process, those of all its threads.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A process and all below it, parents before children.
fn tree(pid: u32) -> Vec<u32> {
    let (mut found, mut known) = (vec![pid], BTreeSet::from([pid]));
    let mut at = 0;
    while at < found.len() && found.len() < TREE_MAX {
        found.extend(children(found[at]).into_iter().filter(|child| known.insert(*child)));
        at += 1;
    }
    found
}

/// What a tree of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    /// Private memory, bytes; `None` if it was not looked at.
    pub(super) private: Option<u64>,
    pub(super) tasks: u64,
}

/// Measures a tree. Private memory is looked at only where the resident memory is above the limit:
/// it costs 16 ms a GiB, and cannot be more than that.
pub(super) fn measure(pid: u32, memory_above: Option<u64>) -> Usage {
    let all = tree(pid);
    let alive: Vec<_> = all.iter().filter_map(|pid| Some((*pid, stat(*pid)?))).collect();
    let ticks: u64 = alive.iter().map(|(_, stat)| stat.ticks).sum();
    let living = alive.iter().filter(|(_, stat)| !stat.dead);
    let resident: u64 = living.clone().map(|(_, stat)| stat.resident).sum();
    let looks = memory_above.is_some_and(|limit| resident.saturating_mul(page_bytes()) > limit);
    Usage {
        cpu: Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second()),
        private: looks.then(|| living.clone().map(|(pid, _)| private_bytes(*pid)).sum()),
        tasks: living.map(|(_, stat)| stat.threads).sum(),
    }
}

/// Memory that a process has for itself, swapped out or not.
fn private_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let kib = ["Private_Clean:", "Private_Dirty:", "Swap:"].map(|name| field(name).unwrap_or(0));
    kib.iter().sum::<u64>().saturating_mul(1024)
}

fn page_bytes() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or(4096)
}

fn ticks_per_second() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(100)
}

/// A process with what its pid cannot be mistaken by.
#[derive(Debug)]
pub(super) struct Found {
    pid: u32,
    pidfd: OwnedFd,
}

/// Whether a process has not ended: only then its pid means it.
pub(super) fn is_alive(pidfd: BorrowedFd<'_>) -> bool {
    let mut ended = [PollFd::new(pidfd, PollFlags::POLLIN)];
    matches!(poll(&mut ended, PollTimeout::ZERO), Ok(0))
}

/// Takes hold of the descendants of a process, without itself.
pub(super) fn descendants(pid: u32, pidfd: BorrowedFd<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut known = BTreeSet::from([pid]);
    extend(pid, &mut known, &mut found);
    // They were its own only if it was there all the time.
    if is_alive(pidfd) { found } else { Vec::new() }
}

/// Adds who is below a process and not known yet; true if there was somebody.
fn extend(pid: u32, known: &mut BTreeSet<u32>, found: &mut Vec<Found>) -> bool {
    let before = found.len();
    for child in tree(pid) {
        if !known.insert(child) {
            continue;
        }
        let Ok(pidfd) = wait::pidfd_open(child) else { continue };
        // Its parent is still in the tree, so it is the one that the list meant.
        if stat(child).is_some_and(|stat| known.contains(&stat.parent)) {
            found.push(Found { pid: child, pidfd });
        }
    }
    found.len() > before
}

/// Kills a process, the given descendants and all that are below any of them. All are stopped
/// first, so that nobody forks away or is lost when its parent ends.
pub(super) fn kill(root: Option<(u32, BorrowedFd<'_>)>, mut found: Vec<Found>) {
    let mut known: BTreeSet<u32> = found.iter().map(|process| process.pid).collect();
    if let Some((_, pidfd)) = root {
        let _ = wait::signal(pidfd, libc::SIGSTOP);
    }
    // Stopped, it stays what its pid means.
    let root = root.filter(|(_, pidfd)| is_alive(*pidfd));
    known.extend(root.map(|(pid, _)| pid));
    let mut stopped = 0;
    for _ in 0..ROUNDS {
        for process in &found[stopped..] {
            let _ = wait::signal(process.pidfd.as_fd(), libc::SIGSTOP);
        }
        stopped = found.len();
        let roots = root.map(|(pid, _)| pid).into_iter().chain(found.iter().map(|p| p.pid));
        let more = roots
            .collect::<Vec<_>>()
            .into_iter()
            .filter(|pid| extend(*pid, &mut known, &mut found));
        if more.count() == 0 {
            break;
        }
    }
    for process in &found {
        let _ = wait::signal(process.pidfd.as_fd(), libc::SIGKILL);
    }
    if let Some((_, pidfd)) = root {
        let _ = wait::signal(pidfd, libc::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let fields = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let found = parse(&format!("17 (a ) b) (c) Z {fields}"));
        let ticks = 14 + 15 + 16 + 17;
        let want = Stat { dead: true, parent: 4, ticks, threads: 20, resident: 24 };
        assert_eq!(found, Some(want));
        assert_eq!(parse("17 (a) S 1 2"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = measure(std::process::id(), Some(0));
        assert!(usage.tasks >= 1);
        assert!(usage.private.is_some_and(|bytes| bytes > 100_000), "{usage:?}");
        assert_eq!(measure(std::process::id(), Some(u64::MAX)).private, None);
    }
}
