//! What the kernel says about the machine and about this process.

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
pub(crate) fn beyond_l2() -> usize {
    cache(2).unwrap_or(L2_BYTES) * BEYOND
}

pub(crate) fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Lines about the machine.
pub(crate) fn describe(python: Option<&str>) -> String {
    let caches = (1..=3).filter_map(cache).map(|bytes| format!("{} KiB", bytes >> 10));
    let setting = |name: &str| {
        let text = read(&format!("/sys/kernel/mm/transparent_hugepage/{name}"));
        text.split(['[', ']']).nth(1).unwrap_or("not there").to_owned()
    };
    let version = python.and_then(mpserverd_tests::parity::version);
    let version = version.map(|(major, minor)| format!("{major}.{minor}"));
    format!(
        "machine        {} CPUs, Linux {}\n\
         caches         {}\n\
         huge pages     {}, in shared memory {}\n\
         load           {}\n\
         CPython        {}",
        mp::available_cpus(),
        read("/proc/sys/kernel/osrelease"),
        caches.collect::<Vec<_>>().join(", "),
        setting("enabled"),
        setting("shmem_enabled"),
        load(),
        version.unwrap_or_else(|| "skipped: there is no python3".to_owned()),
    )
}

/// What this process takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Memory that is there, its own and shared, KiB.
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: u64,
    pub(crate) mappings: u64,
}

pub(crate) fn taken() -> Taken {
    let rollup = read("/proc/self/smaps_rollup");
    let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let resident = resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    Taken {
        resident_kib: resident.unwrap_or(0),
        descriptors: descriptors as u64,
        mappings: read("/proc/self/maps").lines().count() as u64,
    }
}
