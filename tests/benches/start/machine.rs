//! What the kernel says about the machine and about processes.

use super::remote;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The sum of some lines `NAME: NUMBER kB` of a file, in KiB.
fn kib(path: &str, names: &[&str]) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let number = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let wanted = names.contains(&name);
        wanted.then(|| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())?
    };
    Some(text.lines().filter_map(number).sum())
}

/// Bytes that can be had without swapping.
pub(crate) fn available() -> u64 {
    kib("/proc/meminfo", &["MemAvailable"]).unwrap_or(0) << 10
}

/// Memory that a process has for itself, KiB.
pub(crate) fn private_kib(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), &["Private_Clean", "Private_Dirty"])
}

/// Resident memory of a process, KiB.
pub(crate) fn resident_kib(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/status"), &["VmRSS"])
}

pub(crate) fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Lines about the machine.
pub(crate) fn describe() -> String {
    let huge = read("/sys/kernel/mm/transparent_hugepage/enabled");
    let huge = huge.split(['[', ']']).nth(1).unwrap_or("not there").to_owned();
    format!(
        "machine        {} CPUs, Linux {}, {:.1} GiB available\n\
         huge pages     {huge} (templates ask for them by madvise, through glibc)\n\
         load           {}\n\
         python3        {}",
        mp::available_cpus(),
        read("/proc/sys/kernel/osrelease"),
        available() as f64 / f64::from(1 << 30),
        load(),
        python().unwrap_or_else(|reason| format!("skipped: {reason}")),
    )
}

/// The version of `python3`, if it is there and new enough.
pub(crate) fn python() -> Result<String, String> {
    let code = "import sys; assert sys.version_info >= (3, 8); print(sys.version.split()[0])";
    let output = remote::command(Path::new("python3")).args(["-c", code]).output();
    let output = output.map_err(|error| format!("no python3: {error}"))?;
    if !output.status.success() {
        return Err("python3 is older than 3.8".to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
