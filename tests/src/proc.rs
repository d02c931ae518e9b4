//! What `/proc` says about processes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A process, by what tells it from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Its pid.
    pub pid: u32,
    /// When it was started, in ticks since the boot.
    pub started: u64,
}

/// One line of `/proc/PID/stat`, as far as anybody here needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(line: &str) -> Option<Stat> {
    // The name, in parentheses, may contain anything, parentheses and spaces too.
    let (_, rest) = line.rsplit_once(')')?;
    let fields = rest.split_whitespace().collect::<Vec<_>>();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn all() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?))
        })
        .collect()
}

/// Processes below this one, children before grandchildren; zombies included.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    below(vec![pid], &all())
}

/// Those of these processes that still are, and everybody below them, from one look at the system.
#[must_use]
pub fn families(of: &[Identity]) -> Vec<Identity> {
    let all = all();
    let named = |pid: u32| all.get(&pid).map(|stat| Identity { pid, started: stat.started });
    let there = of.iter().filter(|one| named(one.pid) == Some(**one));
    let mut found = there.map(|one| one.pid).collect::<Vec<_>>();
    found.extend(below(found.clone(), &all));
    found.into_iter().filter_map(named).collect()
}

/// Who is below these, without themselves.
fn below(of: Vec<u32>, all: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let mut children = BTreeMap::<u32, Vec<u32>>::new();
    all.iter().for_each(|(pid, stat)| children.entry(stat.parent).or_default().push(*pid));
    let (first, mut found, mut at) = (of.len(), of, 0);
    while at < found.len() {
        // Each is somebody's child once; who is named twice is looked at once.
        found.extend(children.remove(&found[at]).unwrap_or_default());
        at += 1;
    }
    found.split_off(first)
}

/// Dead processes below this one that nobody has waited for.
#[must_use]
pub fn zombies_below(pid: u32) -> Vec<u32> {
    let dead = |pid: &u32| stat(*pid).is_some_and(|stat| stat.state == 'Z');
    descendants(pid).into_iter().filter(dead).collect()
}

/// Whether every dead process below this one has been waited for.
#[must_use]
pub fn no_zombies_below(pid: u32) -> bool {
    zombies_below(pid).is_empty()
}

/// How many descriptors a process has open; 0 if there is no such process.
#[must_use]
pub fn fd_count(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Whether a process exists and is not a zombie.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// The identity of a process, if it exists.
#[must_use]
pub fn identity(pid: u32) -> Option<Identity> {
    stat(pid).map(|stat| Identity { pid, started: stat.started })
}

/// Processes, other than this one, whose command line or first environment names a path.
#[must_use]
pub fn mentioning(path: &Path) -> Vec<u32> {
    let wanted = path.as_os_str().as_encoded_bytes();
    let mentions = |pid: u32, file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    };
    all()
        .into_keys()
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| mentions(*pid, "cmdline") || mentions(*pid, "environ"))
        .collect()
}

/// Kills a process, unless its pid means another one by now.
pub fn kill_exactly(process: Identity) {
    if identity(process.pid) == Some(process) {
        // It may end in between; that is what is wanted.
        let _ = kill(Pid::from_raw(process.pid as i32), Signal::SIGKILL);
    }
}

/// Limits how many descriptors another process may have open, if it has not ended.
///
/// # Panics
/// When the system refuses.
pub fn limit_descriptors(pid: u32, limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    let nowhere = std::ptr::null_mut();
    // SAFETY: the kernel reads one rlimit and writes none.
    let done = unsafe { libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, &raw const limit, nowhere) };
    let error = std::io::Error::last_os_error();
    assert!(done == 0 || error.raw_os_error() == Some(libc::ESRCH), "{error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let fields = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let line = format!("17 (a ) b) (c) S {fields}");
        let stat = parse_stat(&line).unwrap();
        assert_eq!(stat, Stat { state: 'S', parent: 4, started: 22 });
    }

    #[test]
    fn this_process_is_below_its_parent() {
        let own = std::process::id();
        let parent = stat(own).unwrap().parent;
        assert!(descendants(parent).contains(&own));
        assert!(is_running(own) && fd_count(own) > 2);
        assert!(identity(own).is_some());
    }
}
