//! How many processes a pool may have: what the system would refuse is refused before anything is
//! started.

use super::engine::WORKERS_MAX;
use super::error::PoolError;
use crate::sys::attributes;
use mpserverd_proto::job::Rlimit;
use std::fs;
use std::path::PathBuf;

/// Descriptors that the pool's process has for each worker: socket of the job, pidfd, status,
/// standard error, and the channel's memory and socket.
const DESCRIPTORS_EACH: u64 = 6;
/// Descriptors left to everything else.
const DESCRIPTORS_SPARE: u64 = 32;
/// Threads of a worker, each of which counts as a process.
const THREADS_EACH: u64 = 2;

/// `RLIMIT_NPROC` by the kernel's number.
const PROCESSES: u32 = 6;

/// Whether a pool may have so many.
///
/// # Errors
/// [`PoolError::NoProcesses`], [`PoolError::TooManyProcesses`].
pub(super) fn check(asked: usize) -> Result<(), PoolError> {
    if asked == 0 {
        return Err(PoolError::NoProcesses);
    }
    let limits = [
        ("the pool itself", Some(WORKERS_MAX as u64)),
        ("RLIMIT_NOFILE", Some(by_descriptors(attributes::descriptor_limit(), open_descriptors()))),
        ("RLIMIT_NPROC", by_processes(&attributes::rlimits())),
        ("pids.max", by_control_group()),
    ];
    for (limit, most) in limits {
        if let Some(most) = most.filter(|most| asked as u64 > *most) {
            return Err(PoolError::TooManyProcesses { asked, most, limit });
        }
    }
    Ok(())
}

fn open_descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn by_descriptors(limit: u64, open: u64) -> u64 {
    limit.saturating_sub(open + DESCRIPTORS_SPARE) / DESCRIPTORS_EACH
}

/// Root is not limited.
fn by_processes(limits: &[Rlimit]) -> Option<u64> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    let limit = limits.iter().find(|limit| limit.resource == PROCESSES)?;
    Some(limit.soft / THREADS_EACH)
}

fn by_control_group() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = PathBuf::from("/sys/fs/cgroup").join(path);
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    Some(number("pids.max")?.saturating_sub(number("pids.current")?) / THREADS_EACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_too_many_are_refused_with_the_limit() {
        assert!(matches!(check(0), Err(PoolError::NoProcesses)));
        let refused = check(1_000_000).unwrap_err();
        let PoolError::TooManyProcesses { asked, most, .. } = refused else { panic!("{refused}") };
        assert!(asked == 1_000_000 && most <= WORKERS_MAX as u64);
        assert!(check(1).is_ok());
    }

    #[test]
    fn limits_leave_room_for_the_rest() {
        assert_eq!(by_descriptors(1024, 16), (1024 - 48) / DESCRIPTORS_EACH);
        assert_eq!(by_descriptors(20, 16), 0);
    }
}
