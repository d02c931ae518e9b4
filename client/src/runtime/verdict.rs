//! Is it safe to fork from here?
//!
//! Threads would not exist in the child; a connection, an event queue or a ring would be shared
//! by every child. Files, memfds, devices and directories are fine: preloaded data live there.

use crate::sys::{fork, wait};
use mpserverd_proto::error::Fault;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, RawFd};
use std::time::Duration;

/// How long threads that were just started or joined may take to show what they are.
const SETTLE_ROUNDS: u32 = 10;
const SETTLE_ROUND: Duration = Duration::from_millis(2);

/// What a process has at some moment: thread ids with names, descriptors with what they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    threads: BTreeMap<u32, String>,
    descriptors: BTreeMap<RawFd, String>,
}

impl Census {
    /// Takes it now.
    pub(crate) fn take() -> Self {
        Self { threads: threads(), descriptors: descriptors() }
    }

    /// What was added since, if it makes forking unsafe.
    pub(crate) fn fault_since(&self) -> Option<Fault> {
        let now = Self::take();
        let names = self.settled_threads(&now);
        if !names.is_empty() {
            return Some(Fault::StartedThreads { count: names.len() as u32, names });
        }
        let what = now
            .descriptors
            .iter()
            .filter(|(number, what)| self.descriptors.get(number) != Some(what))
            .filter(|(_, what)| is_unshareable(what))
            .map(|(number, what)| format!("{what} (descriptor {number})"))
            .collect::<Vec<_>>();
        (!what.is_empty()).then_some(Fault::OpenDescriptors { what })
    }

    /// Names of the threads that were added and stay. One that has just been joined is listed for
    /// another moment, and one that has just been started has yet to take its name.
    fn settled_threads(&self, now: &Self) -> Vec<String> {
        let new = |threads: &BTreeMap<u32, String>| {
            let new = threads.iter().filter(|(tid, _)| !self.threads.contains_key(tid));
            new.map(|(_, name)| name.clone()).collect::<Vec<_>>()
        };
        let mut names = new(&now.threads);
        for _ in 0..SETTLE_ROUNDS {
            if names.is_empty() {
                break;
            }
            std::thread::sleep(SETTLE_ROUND);
            names = new(&threads());
        }
        names
    }

    /// The lowest descriptor number above all that are open.
    pub(crate) fn above_descriptors(&self) -> RawFd {
        self.descriptors.keys().next_back().map_or(3, |last| last + 1)
    }
}

/// Names of the threads of this process, by id.
pub(crate) fn threads() -> BTreeMap<u32, String> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let tid = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((tid, name.trim_end().to_owned()))
        })
        .collect()
}

fn descriptors() -> BTreeMap<RawFd, String> {
    let numbers = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect::<BTreeSet<RawFd>>();
    numbers
        .into_iter()
        .filter_map(|number| {
            // The descriptor that read the directory itself is gone by now.
            let what = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
            Some((number, what.to_string_lossy().into_owned()))
        })
        .collect()
}

fn is_unshareable(what: &str) -> bool {
    ["socket:", "anon_inode:[eventpoll]", "anon_inode:[io_uring]", "anon_inode:inotify"]
        .iter()
        .any(|kind| what.starts_with(kind))
}

/// Forks once and waits for the child to say that it lives; gives the time that `fork` took.
pub(crate) fn canary(limit: Duration) -> Result<Duration, Fault> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| Fault::CanaryFailed(format!("{what}: {error}"));
    let (read, write) = crate::sys::fd::pipe().map_err(|e| failed("pipe", &e))?;
    let before = std::time::Instant::now();
    // SAFETY: the census has just shown that this process has one thread.
    let side = unsafe { fork::fork() }.map_err(|e| failed("fork", &e))?;
    let pid = match side {
        fork::Side::Child => {
            // What every spare does first: allocate, lock, make a thread.
            let alive = std::thread::Builder::new()
                .spawn(|| std::hint::black_box(vec![1u8; 4096]).len())
                .is_ok_and(|thread| thread.join().is_ok());
            let _ = nix::unistd::write(&write, &[u8::from(alive)]);
            fork::exit_now(0)
        }
        fork::Side::Parent(pid) => pid,
    };
    let took = before.elapsed();
    drop(write);
    let millis = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let answered = poll(&mut [PollFd::new(read.as_fd(), PollFlags::POLLIN)], millis);
    let mut byte = [0];
    let alive = matches!(answered, Ok(1)) && matches!(nix::unistd::read(&read, &mut byte), Ok(1));
    if !alive {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid as i32),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
    let record = reap(pid);
    match (alive, byte) {
        (true, [1]) => Ok(took),
        (true, _) => Err(Fault::CanaryFailed("it cannot start a thread".to_owned())),
        (false, _) if matches!(answered, Ok(0)) => Err(Fault::CanaryFailed(format!(
            "no sign of life within {} ms: a lock held across fork?",
            limit.as_millis()
        ))),
        (false, _) => Err(Fault::CanaryFailed(record)),
    }
}

/// Waits for a child that is about to end; says how it did.
fn reap(pid: u32) -> String {
    use mpserverd_proto::status::Reporter;
    loop {
        match wait::ended(wait::Whom::Pid(pid), true, Reporter::Template) {
            Ok(Some((_, record))) => return format!("it ended with code {}", record.code),
            Ok(None) => std::thread::sleep(Duration::from_micros(200)),
            Err(error) => return error.to_string(),
        }
    }
}
