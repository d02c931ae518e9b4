//! What the kernel says about a worker: two small files below `/proc`, and one that costs more.
//!
//! [`look`] costs no more than a read. [`memory`] walks the page tables, which takes a millisecond
//! for a gigabyte: whoever calls it bounds how often.

use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

/// A process, as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    /// What its client calls it, cut to 15 bytes; its program while it has no job.
    pub(super) name: String,
    /// `R`, `S`, `D`, `T`, `Z` and so on, as `ps` has it.
    pub(super) state: char,
    /// CPU time so far, user and system, milliseconds.
    pub(super) cpu_ms: u64,
    /// Resident, KiB, pages shared with its template included.
    pub(super) rss_kib: u64,
    /// Resident and not of a file, KiB: an upper bound of what is its own.
    pub(super) anonymous_kib: u64,
}

/// Looks at a process; `None` if it is gone or not visible from here.
pub(super) fn look(pid: u32) -> Option<Seen> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?;
    let mut seen = parse(&String::from_utf8_lossy(&stat), &statm, ticks as u64, page as u64)?;
    if let Some(name) = task_thread_name(pid) {
        seen.name = name;
    }
    Some(seen)
}

/// Memory of a process, by whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Owned {
    /// Its own, KiB: nobody else has these pages.
    pub(super) private_kib: u64,
    /// Resident pages that others have too, KiB: its template, above all.
    pub(super) shared_kib: u64,
}

/// Measures what memory is truly a process's own; `None` if it is gone, or not ours to look into.
pub(super) fn memory(pid: u32) -> Option<Owned> {
    parse_rollup(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn parse_rollup(text: &str) -> Option<Owned> {
    let mut owned = Owned::default();
    let mut found = false;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let sum = match name {
            "Private_Clean" | "Private_Dirty" | "Private_Hugetlb" => &mut owned.private_kib,
            "Shared_Clean" | "Shared_Dirty" | "Shared_Hugetlb" => &mut owned.shared_kib,
            _ => continue,
        };
        let kib = value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?;
        *sum = sum.saturating_add(kib);
        found = true;
    }
    found.then_some(owned)
}

/// A worker runs its task on its second thread, and that has the name of the process.
fn task_thread_name(pid: u32) -> Option<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let ids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // Ids begin again from below only where all are used up.
    let second = ids.filter(|id| *id > pid).min()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/task/{second}/comm")).ok()?;
    // So it is called before it has a job.
    Some(name.trim_end_matches('\n').to_owned()).filter(|name| name != "main")
}

/// `pid (name) state …`: the name may hold anything, parentheses too.
fn parse(stat: &str, statm: &str, ticks: u64, page_bytes: u64) -> Option<Seen> {
    let (front, back) = stat.rsplit_once(')')?;
    let (_, name) = front.split_once('(')?;
    let fields: Vec<&str> = back.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let pages: Vec<u64> = statm.split_whitespace().map_while(|pages| pages.parse().ok()).collect();
    let [_, resident, shared, ..] = pages[..] else { return None };
    let kib = |pages: u64| pages.saturating_mul(page_bytes) / 1024;
    Some(Seen {
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        cpu_ms: number(11)?.saturating_add(number(12)?).saturating_mul(1000) / ticks.max(1),
        rss_kib: kib(resident),
        anonymous_kib: kib(resident.saturating_sub(shared)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_malicious() {
        let stat = "7 (a) R (b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 2 0 5 9 9";
        let seen = parse(stat, "500 200 80 1 0 90 0\n", 100, 4096).expect("parsed");
        assert_eq!((seen.name.as_str(), seen.state), ("a) R (b", 'S'));
        assert_eq!((seen.cpu_ms, seen.rss_kib, seen.anonymous_kib), (2000, 800, 480));
    }

    #[test]
    fn this_process_is_visible_and_no_other() {
        let seen = look(std::process::id()).expect("visible");
        assert!(seen.rss_kib > 0 && seen.rss_kib >= seen.anonymous_kib, "{seen:?}");
        assert_eq!(look(0), None);
    }

    #[test]
    fn memory_is_told_by_whose_it_is() {
        let text = "55d0 ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nShared_Clean: 600 kB\n\
                    Shared_Dirty: 20 kB\nPrivate_Clean: 80 kB\nPrivate_Dirty:     200 kB\n";
        assert_eq!(parse_rollup(text), Some(Owned { private_kib: 280, shared_kib: 620 }));
        assert_eq!(parse_rollup("Rss: 900 kB\n"), None);
        assert!(memory(std::process::id()).is_none_or(|own| own.private_kib > 0));
        assert_eq!(memory(0), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(stat: String, statm: String, ticks: u64, page: u64) {
            let _ = parse(&stat, &statm, ticks, page);
            let _ = parse_rollup(&stat);
        }
    }
}
