//! What this process has: nothing of a pool may be left when it is gone.

use crate::alone;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, proc};
use std::collections::BTreeSet;
use std::fs;

/// So many connections to a daemon, which it does not use, a process keeps for the next start.
const CONNECTIONS_KEPT: usize = 16;

/// What this process has at a moment.
#[derive(Debug)]
pub(crate) struct Census {
    fds: Vec<String>,
    sockets: Vec<String>,
    /// So many more there may be.
    sockets_kept: usize,
    threads: Vec<String>,
    /// Mappings that other processes may have as well.
    shared: Vec<String>,
    /// Names in the file system of shared memory.
    names: BTreeSet<String>,
    /// Processes that this one has started and not waited for.
    children: usize,
}

impl Census {
    pub(crate) fn take() -> Self {
        // Whoever has ended is waited for.
        let children = mp::active_children().len();
        let own = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().flatten();
        let link = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
        let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let is_shared = |line: &&str| {
            let mut words = line.split_whitespace();
            words.nth(1).is_some_and(|access| access.ends_with('s'))
        };
        let fds = own("fd").filter_map(link).map(|to| to.display().to_string());
        let (sockets, fds) = fds.partition(|to| to.starts_with("socket:"));
        let names = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        Self {
            fds,
            sockets,
            sockets_kept: if has_daemon() { CONNECTIONS_KEPT } else { 0 },
            threads: own("task").filter_map(name).collect(),
            shared: maps.lines().filter(is_shared).map(str::to_owned).collect(),
            // Semaphores have names there too, of other programs: this library has none.
            names: names
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|name| !name.starts_with("sem."))
                .collect(),
            children,
        }
    }

    /// How much there is now that was not there then; empty if there is nothing.
    fn more(&self, now: &Self) -> String {
        let mut more = String::new();
        let lists = [
            ("descriptors", &self.fds, &now.fds, 0),
            ("sockets", &self.sockets, &now.sockets, self.sockets_kept),
            ("threads", &self.threads, &now.threads, 0),
            ("shared mappings", &self.shared, &now.shared, 0),
        ];
        for (what, before, after, kept) in lists {
            if after.len() > before.len() + kept {
                more += &format!("{what}: {before:#?} and now {after:#?}; ");
            }
        }
        if now.children > self.children {
            more += &format!("children: {} and now {}; ", self.children, now.children);
        }
        // Other tests have names of their own there, which come and go.
        let names = now.names.difference(&self.names).cloned().collect::<Vec<_>>();
        if !names.is_empty() {
            more += &format!("in /dev/shm: {names:?}; ");
        }
        let zombies = proc::zombies_below(std::process::id());
        if !zombies.is_empty() {
            more += &format!("zombies: {zombies:?}");
        }
        more
    }

    /// All that has come since then goes again.
    pub(crate) fn holds_again(&self) {
        let mut more = String::new();
        let gone = eventually(PATIENCE, || {
            more = self.more(&Self::take());
            more.is_empty()
        });
        assert!(gone, "this is left: {more}");
    }
}

/// Whether workers come from a daemon.
fn has_daemon() -> bool {
    crate::alone::method() == Some(mp::StartMethod::ForkServer)
}

/// Rounds, after each of which nothing is left.
pub(crate) fn rounds(count: u64, mut round: impl FnMut(&mut Moments)) {
    let mut before = None;
    for (_, mut moments) in seeds::rounds(count) {
        round(&mut moments);
        // The first one leaves what the process needs once.
        before.get_or_insert_with(Census::take).holds_again();
        alone::beat();
    }
}
