//! A process's own program code, as far as it is in memory.
//!
//! Contract: only pages that equal what their file says are let go, and the kernel brings back any
//! of them at the next access, so nothing changes but what the process is said to take.

use std::ops::Range;

/// Lets go of the program code that this process has used so far: what it needs from now on comes
/// back from the page cache (about a microsecond for 64 KiB), what only its start has needed does
/// not.
pub fn let_go() {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for range in unwritten(&maps) {
        let start = std::ptr::without_provenance_mut(range.start);
        // SAFETY: all pages of this private mapping are those of its file, and nobody may write.
        unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
    }
}

/// The private mappings of files that nobody may write to, nor has (`proc_pid_smaps(5)`): what has
/// been relocated, or has a debugger's breakpoint, has anonymous pages.
fn unwritten(maps: &str) -> Vec<Range<usize>> {
    let (mut ranges, mut last) = (Vec::new(), None);
    for line in maps.lines() {
        match line.split_once(':').map(|(key, value)| (key, value.trim())) {
            Some(("Anonymous" | "Swap", value)) if value != "0 kB" => last = None,
            // It ends what is said of a mapping.
            Some(("VmFlags", _)) => ranges.extend(last.take()),
            _ => last = of_file(line).or(last),
        }
    }
    ranges
}

/// The addresses in the first line of a mapping, if it is a file's, private and read-only.
fn of_file(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (access, inode) = (words.next()?, words.nth(2)?);
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start)?..address(end)?;
    (matches!(access, "r-xp" | "r--p") && inode != "0").then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_has_written_goes() {
        let goes = |access, inode, anonymous, swap| {
            let line = format!("55d0a000-55d0c000 {access} 002f3000 fe:00 {inode} /usr/bin/it");
            let own = format!("Anonymous: {anonymous} kB\nKSM: 0 kB\nSwap: {swap} kB");
            let all = format!("{line}\nRss: 8 kB\n{own}\nVmFlags: rd ex mr mw me dw \n");
            match &unwritten(&all)[..] {
                [] => false,
                [range] => *range == (0x55d0_a000..0x55d0_c000),
                more => panic!("{more:?}"),
            }
        };
        assert!(goes("r-xp", 5281, 0, 0));
        assert!(goes("r--p", 5281, 0, 0));
        assert!(!goes("r--p", 5281, 4, 0));
        assert!(!goes("r--p", 5281, 0, 4));
        assert!(!goes("rw-p", 5281, 0, 0));
        assert!(!goes("rwxp", 5281, 0, 0));
        assert!(!goes("r-xs", 5281, 0, 0));
        assert!(!goes("r-xp", 0, 0, 0));
        assert_eq!(unwritten("VmFlags: rd\nnonsense\n"), []);
    }

    #[test]
    fn code_runs_on() {
        let maps = || std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!unwritten(&maps()).is_empty());
        let_go();
        assert!(!unwritten(&maps()).is_empty());
    }
}
