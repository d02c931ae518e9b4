//! Control groups (version 2): one for the daemon itself, `daemon`, and one for each limited
//! worker, `w-ID`, side by side in the group that was delegated.
//!
//! Everything is files below a folder, so tests run on plain ones. What must never be in here:
//! which limits a worker has, and a look at a group that is not ours.

use crate::config::limits::Cgroup;
use crate::core::Held;
use mpserverd_proto::bounds::{Bound, Bounds};
use mpserverd_proto::ids::WorkerId;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The daemon's own group.
const OWN: &str = "daemon";
/// Controllers that limits need.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// Set by units that take the controllers back when a daemon has ended (`ExecStopPost=`).
pub(super) const RELEASED: &str = "MPSERVERD_GROUP_RELEASED";
/// Period of a CPU quota, microseconds: the kernel's usual one.
const QUOTA_PERIOD_US: i64 = 100_000;
/// Rounds of killing one by one, where the kernel cannot kill a group (before Linux 5.14).
const KILL_ROUNDS: usize = 64;

/// The groups.
#[derive(Debug)]
pub(super) struct Groups {
    base: PathBuf,
    held: Held,
    /// Groups whose processes have not all ended.
    lingering: Vec<PathBuf>,
}

/// What happened in a group, by the kernel's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// Its own limit of memory was in the way.
    pub(super) own_limit: bool,
    /// The kernel killed somebody in it for want of memory.
    pub(super) oom_kill: bool,
}

impl Groups {
    /// The groups that this configuration and this machine allow.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn find(wanted: &Cgroup, pid: u32) -> Result<Self, String> {
        match wanted {
            Cgroup::Off => Err("`cgroup = \"off\"`".to_owned()),
            Cgroup::Path(path) => {
                let text = |error| format!("{}: {error}", path.display());
                make(path).map_err(text)?;
                Self::at(path, pid, true).map_err(text)
            }
            Cgroup::Auto => {
                let (base, in_subgroup) = delegated(pid)?;
                // systemd tells every service who it is by this variable; our units say the other.
                let is_service = std::env::var_os("INVOCATION_ID").is_some();
                let is_released = std::env::var_os(RELEASED).is_some();
                let controllers = in_subgroup || is_released || !is_service;
                Self::at(&base, pid, controllers)
                    .map_err(|error| format!("{}: {error}", base.display()))
            }
        }
    }

    /// The groups in this one: moves the daemon into its own, and asks for the controllers if
    /// that is wanted.
    ///
    /// With controllers, no process can be put into the group itself any more. systemd does just
    /// that when it starts a service again: with workers left over from a crash, it would fail.
    /// Unless the service has a group below it (`DelegateSubgroup=`, since 254), or its unit takes
    /// the controllers back in between (`mpctl release-group`).
    ///
    /// # Errors
    /// As the kernel says; then nothing is changed.
    pub(super) fn at(base: &Path, pid: u32, controllers: bool) -> io::Result<Self> {
        let own = base.join(OWN);
        make(&own)?;
        fs::write(own.join("cgroup.procs"), pid.to_string())?;
        let mut held = Held { groups: true, ..Held::default() };
        let offered = read(&base.join("cgroup.controllers"));
        let wanted = CONTROLLERS.iter().filter(|name| controllers && has_word(&offered, name));
        for name in wanted {
            // Refused while processes of others are in it: then the rest works without.
            let _ = fs::write(base.join("cgroup.subtree_control"), format!("+{name}"));
        }
        let given = read(&base.join("cgroup.subtree_control"));
        held.memory = has_word(&given, "memory");
        held.cpu = has_word(&given, "cpu");
        held.pids = has_word(&given, "pids");
        let mut groups = Self { base: base.to_owned(), held, lingering: Vec::new() };
        groups.find_left_over();
        Ok(groups)
    }

    /// Groups of an earlier daemon's workers: the empty ones go, the others wait for their end or
    /// for their workers to be adopted.
    fn find_left_over(&mut self) {
        let entries = fs::read_dir(&self.base).into_iter().flatten().flatten();
        let of_worker = entries.filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("w-"));
            number.is_some_and(|number| number.parse::<u64>().is_ok())
        });
        self.lingering = of_worker.map(|entry| entry.path()).collect();
        self.sweep();
    }

    /// What the kernel holds.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// Where they are.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    fn of(&self, worker: WorkerId) -> PathBuf {
        self.base.join(format!("w-{}", worker.0))
    }

    /// Limits a worker, in a group of its own that is made if need be.
    ///
    /// # Errors
    /// As the kernel says; the worker may be without a limit then.
    pub(super) fn hold(&mut self, worker: WorkerId, pid: u32, bounds: &Bounds) -> io::Result<()> {
        let group = self.of(worker);
        let is_new = make(&group)?;
        self.lingering.retain(|lingering| *lingering != group);
        let set = |bound, file, enabled: bool| match bounds.get(bound).filter(|_| enabled) {
            Some(value) => tighten(&group.join(file), value, is_new),
            None => Ok(()),
        };
        set(Bound::Memory, "memory.max", self.held.memory)?;
        set(Bound::MemoryHigh, "memory.high", self.held.memory)?;
        set(Bound::Pids, "pids.max", self.held.pids)?;
        set(Bound::CpuWeight, "cpu.weight", self.held.cpu)?;
        if let Some(percent) = bounds.get(Bound::CpuQuota).filter(|_| self.held.cpu) {
            let quota = percent.saturating_mul(QUOTA_PERIOD_US / 100).max(1000);
            fs::write(group.join("cpu.max"), format!("{quota} {QUOTA_PERIOD_US}"))?;
        }
        if bounds.get(Bound::Memory).is_some() && self.held.memory {
            // One for all: half a worker is of no use. Not there before Linux 4.19.
            let _ = fs::write(group.join("memory.oom.group"), "1");
            // What is swapped out does not count as memory, and would be a way around the limit.
            let _ = fs::write(group.join("memory.swap.max"), "0");
        }
        if !is_new && has_pid(&group, pid) {
            return Ok(());
        }
        fs::write(group.join("cgroup.procs"), pid.to_string())
    }

    /// Time on the CPU of a worker and all its descendants so far; counted with or without a
    /// controller.
    pub(super) fn cpu(&self, worker: WorkerId) -> Option<Duration> {
        let text = fs::read_to_string(self.of(worker).join("cpu.stat")).ok()?;
        Some(Duration::from_micros(field(&text, "usage_usec")?))
    }

    /// The most memory that a worker's group had, bytes, where the kernel counts it (Linux 5.19).
    pub(super) fn peak(&self, worker: WorkerId) -> Option<u64> {
        let text = fs::read_to_string(self.of(worker).join("memory.peak")).ok()?;
        text.trim().parse().ok()
    }

    /// What happened in a worker's group.
    pub(super) fn events(&self, worker: WorkerId) -> Events {
        let text = read(&self.of(worker).join("memory.events"));
        let count = |name| field(&text, name).unwrap_or(0) > 0;
        Events { own_limit: count("oom"), oom_kill: count("oom_kill") }
    }

    /// Kills everybody in a worker's group; false if it has none.
    pub(super) fn kill(&self, worker: WorkerId) -> bool {
        kill_group(&self.of(worker))
    }

    /// Whether a worker has a group.
    pub(super) fn has(&self, worker: WorkerId) -> bool {
        self.of(worker).is_dir()
    }

    /// Removes a worker's group, now or when its last process has ended.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        let group = self.of(worker);
        if fs::remove_dir(&group).is_err() && group.is_dir() {
            self.lingering.push(group);
        }
    }

    /// Removes the groups whose last process has ended by now.
    pub(super) fn sweep(&mut self) {
        self.lingering.retain(|group| fs::remove_dir(group).is_err() && group.is_dir());
    }

    /// The daemon ends, and so do its workers: what is left is killed and removed.
    pub(super) fn close(&mut self) {
        self.find_left_over();
        for group in &self.lingering {
            kill_group(group);
        }
        for _ in 0..KILL_ROUNDS {
            self.sweep();
            if self.lingering.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Makes a group; false if it is there.
fn make(group: &Path) -> io::Result<bool> {
    match fs::create_dir(group) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_ascii_whitespace().any(|found| found == word)
}

fn has_pid(group: &Path, pid: u32) -> bool {
    has_word(&read(&group.join("cgroup.procs")), &pid.to_string())
}

/// The number after a name, in a file with one of each on a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Writes a limit. One of an earlier daemon, whose client may have asked for less, stays if it is
/// tighter.
fn tighten(file: &Path, value: i64, is_new: bool) -> io::Result<()> {
    let own = read(file).trim().parse::<i64>().ok();
    if !is_new && own.is_some_and(|own| own <= value) {
        return Ok(());
    }
    fs::write(file, value.to_string())
}

fn kill_group(group: &Path) -> bool {
    if !group.is_dir() {
        return false;
    }
    if fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return true;
    }
    // Frozen, nobody forks away meanwhile; the killed leave the ice by themselves.
    let _ = fs::write(group.join("cgroup.freeze"), "1");
    for _ in 0..KILL_ROUNDS {
        let text = read(&group.join("cgroup.procs"));
        let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            let Ok(pidfd) = mp::sys::wait::pidfd_open(pid) else { continue };
            // Still in the group, so it is the one that the list meant.
            if has_pid(group, pid) {
                let _ = mp::sys::wait::signal(std::os::fd::AsFd::as_fd(&pidfd), libc::SIGKILL);
            }
        }
    }
    let _ = fs::write(group.join("cgroup.freeze"), "0");
    true
}

/// The folder in which groups can be made, if it is the daemon's alone; and whether somebody has put
/// this process into the daemon's own group in it.
fn delegated(pid: u32) -> Result<(PathBuf, bool), String> {
    let mounts = read(Path::new("/proc/self/mountinfo"));
    let own = read(Path::new("/proc/self/cgroup"));
    let folder = locate(&mounts, &own)?;
    let in_subgroup = folder.file_name().is_some_and(|name| name == OWN);
    let (base, alone) = match folder.parent().filter(|_| in_subgroup) {
        // A supervisor, or this daemon before it executed itself anew, has put it there.
        Some(parent) => (parent.to_owned(), ""),
        None => (folder.clone(), &*pid.to_string()),
    };
    let processes = read(&base.join("cgroup.procs"));
    let strangers = processes.split_ascii_whitespace().filter(|found| *found != alone).count();
    if strangers > 0 {
        let shown = base.display();
        return Err(format!("{shown} is not delegated: {strangers} other processes are in it"));
    }
    let writable = nix::unistd::access(&base.join("cgroup.procs"), nix::unistd::AccessFlags::W_OK);
    match writable {
        Ok(()) => Ok((base, in_subgroup)),
        Err(error) => Err(format!("{} is not delegated: {error}", base.display())),
    }
}

/// Finds the folder of a group of version 2, from `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn locate(mounts: &str, own: &str) -> Result<PathBuf, String> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    let path = path.ok_or("the kernel has control groups of version 1 only")?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_v2 = after.split(' ').next() == Some("cgroup2");
        let mut fields = before.split(' ').skip(3);
        is_v2.then(|| Some((fields.next()?, fields.next()?)))?
    });
    let (root, point) = mount.ok_or("control groups of version 2 are not mounted")?;
    let below = Path::new(path)
        .strip_prefix(root)
        .map_err(|_| format!("the own group `{path}` is not below the mounted one, `{root}`"))?;
    // A group outside of the namespace is shown as `/../…`.
    if below.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(format!("the own group `{path}` is outside of the namespace"));
    }
    Ok(Path::new(point).join(below))
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
