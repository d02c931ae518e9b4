//! What the kernel says about this process.

use crate::metrics::Process;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Asks it. What it does not tell is left out.
pub(super) fn of_this() -> Process {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').map(|pages| pages.parse::<u64>().ok());
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| size.try_into().ok());
    let mut bytes = || pages.next().flatten()?.checked_mul(page?);
    let (virtual_bytes, resident_bytes) = (bytes(), bytes());
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok();
    Process {
        cpu: getrusage(UsageWho::RUSAGE_SELF)
            .ok()
            .map(|usage| duration(usage.user_time()).saturating_add(duration(usage.system_time()))),
        resident_bytes,
        virtual_bytes,
        open_fds: open_fds(),
        max_fds: limit.map(|(soft, _)| soft),
        started: started(),
    }
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
}

/// Since Linux 6.2 the folder has a size, which is their number; before, they have to be counted.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.size() {
        0 => fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64),
        size => Some(size),
    }
}

/// When the machine started, and how long after it this process.
fn started() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let each = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|rate| rate.try_into().ok())?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let (seconds, rest) = (ticks.checked_div(each)?, ticks.checked_rem(each)?);
    Some(
        Duration::from_secs(boot)
            + Duration::from_secs(seconds)
            + Duration::from_secs(rest) / u32::try_from(each).ok()?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn this_process_is_described() {
        let process = of_this();
        assert!(process.resident_bytes.unwrap() > 4096);
        assert!(process.virtual_bytes.unwrap() > process.resident_bytes.unwrap());
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.max_fds.unwrap() >= process.open_fds.unwrap());
        assert!(process.cpu.unwrap() < Duration::from_secs(86_400));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.saturating_sub(process.started.unwrap());
        assert!(age < Duration::from_secs(86_400), "{age:?}");
    }
}
