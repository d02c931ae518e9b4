//! What the kernel says about the machine and about processes.

use std::fs;

/// So many times the second-level cache is memory that it does not hold.
const BEYOND: usize = 8;
/// What is taken for its size where the kernel does not tell.
const L2_BYTES: usize = 1 << 20;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn cache(index: u32) -> Option<usize> {
    let text = read(&format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size"));
    text.strip_suffix('K')?.parse::<usize>().ok().map(|kib| kib << 10)
}

/// Bytes of memory that the second-level cache cannot hold.
#[must_use]
pub fn beyond_l2() -> usize {
    cache(2).unwrap_or(L2_BYTES) * BEYOND
}

/// How busy the machine was in the last 1, 5 and 15 minutes.
#[must_use]
pub fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
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
#[must_use]
pub fn available() -> u64 {
    kib("/proc/meminfo", &["MemAvailable"]).unwrap_or(0) << 10
}

/// Memory that a process has for itself, KiB.
#[must_use]
pub fn private_kib(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), &["Private_Clean", "Private_Dirty"])
}

/// Memory that a process has for itself and has written to, KiB: unlike all that is its own, that
/// does not grow by the program's code when nobody else happens to run the same program.
#[must_use]
pub fn written_kib(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), &["Private_Dirty"])
}

/// Resident memory of a process, KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/status"), &["VmRSS"])
}

/// Lines about the machine, and the interpreter of the peers.
#[must_use]
pub fn describe(python: Option<&str>) -> String {
    let caches = (1..=3).filter_map(cache).map(|bytes| format!("{} KiB", bytes >> 10));
    let setting = |name: &str| {
        let text = read(&format!("/sys/kernel/mm/transparent_hugepage/{name}"));
        text.split(['[', ']']).nth(1).unwrap_or("not there").to_owned()
    };
    let version = python.and_then(crate::parity::version);
    let version = version.map(|(major, minor)| format!("{major}.{minor}"));
    format!(
        "machine        {} CPUs, Linux {}, {:.1} GiB available\n\
         caches         {}\n\
         huge pages     {}, in shared memory {}\n\
         load           {}\n\
         CPython        {}",
        mp::available_cpus(),
        read("/proc/sys/kernel/osrelease"),
        available() as f64 / f64::from(1 << 30),
        caches.collect::<Vec<_>>().join(", "),
        setting("enabled"),
        setting("shmem_enabled"),
        load(),
        version.unwrap_or_else(|| "skipped: there is no python3".to_owned()),
    )
}

/// What this process takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Memory that is there, its own and shared, KiB.
    pub resident_kib: u64,
    /// Open ones.
    pub descriptors: u64,
    /// Lines of `/proc/self/maps`.
    pub mappings: u64,
}

/// What this process takes now.
#[must_use]
pub fn taken() -> Taken {
    let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    Taken {
        resident_kib: kib("/proc/self/smaps_rollup", &["Rss"]).unwrap_or(0),
        descriptors: descriptors as u64,
        mappings: read("/proc/self/maps").lines().count() as u64,
    }
}
