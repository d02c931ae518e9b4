//! Holds workers to their limits: by control groups where the daemon has them, else by measuring
//! and killing what can be found. Decides nothing: which limits, and when, is the core's.

use super::cgroup::Groups;
use super::sampler::Sampler;
use super::tree::{self, Found};
use super::{Server, sweep};
use crate::config::Config;
use crate::core::{Event, Held, Measure, Sample};
use mpserverd_proto::bounds::{Bound, Bounds};
use mpserverd_proto::death::{Cause, LastWords, LimitKind};
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::status::ExitRecord;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The count of the machine's kills for want of memory is not read more often than this while
/// workers end by themselves.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The control groups, to the next image of the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GroupsRow {
    #[serde(with = "crate::state::path")]
    base: PathBuf,
    controllers: bool,
}

/// The means.
#[derive(Debug)]
pub(super) struct Limiter {
    groups: Option<Groups>,
    sampler: Option<Sampler>,
    /// Descendants of workers that were asked to end, and may end before them.
    condemned: HashMap<WorkerId, Vec<Found>>,
    /// Kills for want of memory on this machine, and when that was read.
    oom_kills: Option<u64>,
    looked: Instant,
}

impl Limiter {
    /// Takes what there is, and says what is missing.
    pub(super) fn start(config: &Config) -> Self {
        let groups = match Groups::find(&config.cgroup, std::process::id()) {
            Ok(groups) => Some(groups),
            Err(why) => {
                info!("limits: no control groups: {why}");
                None
            }
        };
        let limiter = Self {
            groups,
            sampler: None,
            condemned: HashMap::new(),
            oom_kills: machine_oom_kills(),
            looked: Instant::now(),
        };
        for line in describe(&limiter.held(), limiter.groups.as_ref(), config) {
            info!("limits: {line}");
        }
        limiter.warn_of_unheld(config);
        limiter
    }

    /// Where the groups are, and whether they limit, for the next image of the daemon.
    pub(super) fn carry(&self) -> Option<GroupsRow> {
        let base = self.groups.as_ref().map(Groups::base)?;
        let Held { memory, cpu, pids, .. } = self.held();
        Some(GroupsRow { base: base.to_owned(), controllers: memory || cpu || pids })
    }

    /// Goes on with the groups of the image before: those of its workers are where they were.
    pub(super) fn go_on(row: Option<GroupsRow>) -> Self {
        let groups = row.and_then(|GroupsRow { base, controllers }| {
            let groups = Groups::at(&base, std::process::id(), controllers);
            groups.inspect_err(|error| warn!(%error, "limits: no control groups any more")).ok()
        });
        Self {
            groups,
            sampler: None,
            condemned: HashMap::new(),
            oom_kills: machine_oom_kills(),
            looked: Instant::now(),
        }
    }

    /// Whether nobody waits for descendants of a worker to end, of whom only this image knows.
    pub(super) fn is_quiet(&self) -> bool {
        self.condemned.is_empty()
    }

    /// What the kernel holds.
    pub(super) fn held(&self) -> Held {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        Held { cpus, ..self.groups.as_ref().map(Groups::held).unwrap_or_default() }
    }

    /// Configured limits that nothing here can hold.
    pub(super) fn warn_of_unheld(&self, config: &Config) {
        let held = self.held();
        let limits = &config.settings.limits;
        let all = [&limits.host].into_iter().chain(limits.uids.values());
        for (bound, rule) in all.chain(limits.modules.values()).flatten() {
            if let Some(why) = held.cannot_hold(*bound) {
                warn!("limits: `{bound}` of {} is not enforced: {why}", rule.set_in);
            }
        }
    }

    /// Descendants that have ended may have been the last of their group.
    pub(super) fn sweep(&mut self) {
        if let Some(groups) = &mut self.groups {
            groups.sweep();
        }
    }

    /// The daemon ends.
    pub(super) fn close(&mut self) {
        if let Some(groups) = &mut self.groups {
            groups.close();
        }
    }

    /// Whether the machine's count of kills for want of memory has moved since the last look.
    fn machine_killed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.oom_kills, machine_oom_kills());
        self.looked = Instant::now();
        before.zip(self.oom_kills).is_some_and(|(before, now)| now > before)
    }
}

/// By what each limit is held, in words.
fn describe(held: &Held, groups: Option<&Groups>, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(groups) = groups {
        lines.push(format!("control groups below {}", groups.base().display()));
    }
    let every = crate::config::values::spell(config.settings.limits.sample_every);
    let by = |has: bool, what: &str, file: &str, otherwise: &str| match has {
        true => format!("{what}: {file}"),
        false => format!("{what}: {file} is not delegated: {otherwise}"),
    };
    let sampled = format!("private memory is sampled every {every}");
    lines.push(by(held.memory, "memory", "memory.max", &sampled));
    let counted = format!("processes and threads are counted every {every}");
    lines.push(by(held.pids, "pids", "pids.max", &counted));
    lines.push(by(held.cpu, "cpu_weight, cpu_quota", "cpu.max", "they are refused"));
    let killed = if held.groups { "cgroup.kill" } else { "the tree of processes in /proc" };
    lines.push(format!("descendants are found by {killed}"));
    lines
}

/// `oom_kill` of `/proc/vmstat`.
fn machine_oom_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

impl Server<'_> {
    /// Gives a worker a group with these limits.
    pub(super) fn limit(&mut self, worker: WorkerId, bounds: &Bounds) {
        let Some(groups) = &mut self.limiter.groups else { return };
        let Some((pid, pidfd)) = self.workers.process(worker) else { return };
        if !tree::is_alive(pidfd) {
            // Its pid may mean another process by now.
            return;
        }
        if let Err(error) = groups.hold(worker, pid, bounds) {
            let held = groups.held();
            let loses = [(Bound::Memory, held.memory), (Bound::Pids, held.pids)];
            if loses.iter().any(|(bound, held)| *held && bounds.get(*bound).is_some()) {
                warn!(%worker, pid, %error, "a worker has no control group, it is measured");
            }
            self.events.push_back(Event::NotHeld { worker });
        }
    }

    /// Measures a worker, at once where that is one small file.
    pub(super) fn measure(&mut self, worker: WorkerId, what: Measure) {
        let cpu = self.limiter.groups.as_ref().and_then(|groups| groups.cpu(worker));
        if let Some(cpu) = cpu
            && what.memory_above.is_none()
            && !what.tasks
        {
            let sample = Some(Sample { cpu, ..Sample::default() });
            return self.events.push_back(Event::Measured { worker, sample });
        }
        if let Err(error) = self.order_sample(worker, what) {
            warn!(%worker, %error, "cannot measure a worker");
            self.events.push_back(Event::Measured { worker, sample: None });
        }
    }

    fn order_sample(&mut self, worker: WorkerId, what: Measure) -> std::io::Result<()> {
        let gone = || std::io::Error::other("it has ended");
        let (pid, pidfd) = self.workers.process(worker).ok_or_else(gone)?;
        let pidfd = pidfd.try_clone_to_owned()?;
        let sampler = match self.limiter.sampler.take() {
            Some(sampler) => sampler,
            None => Sampler::start(&self.poller)?,
        };
        let ordered = sampler.order(worker, pid, pidfd, what);
        self.limiter.sampler = ordered.then_some(sampler);
        if ordered { Ok(()) } else { Err(std::io::Error::other("the thread has ended")) }
    }

    /// Something was measured.
    pub(super) fn take_samples(&mut self) {
        let Some(sampler) = &self.limiter.sampler else { return };
        for (worker, sample) in sampler.results() {
            self.events.push_back(Event::Measured { worker, sample });
        }
    }

    /// Asks a worker to end, and takes hold of its descendants, should it end before them.
    pub(super) fn ask_to_end(&mut self, worker: WorkerId, signal: i32) {
        let Some((pid, pidfd)) = self.workers.process(worker) else { return };
        if self.limiter.groups.as_ref().is_none_or(|groups| !groups.has(worker)) {
            self.limiter.condemned.insert(worker, tree::descendants(pid, pidfd));
        }
        self.workers.signal(worker, signal);
    }

    /// Kills a worker and its descendants.
    pub(super) fn kill_tree(&mut self, worker: WorkerId) {
        if self.limiter.groups.as_ref().is_none_or(|groups| !groups.kill(worker)) {
            let known = self.limiter.condemned.remove(&worker).unwrap_or_default();
            tree::kill(self.workers.process(worker), known);
        }
        // Should it have left its group: nothing may, but nothing is lost by it.
        self.workers.signal(worker, libc::SIGKILL);
    }

    /// A worker has ended: who is left of it is killed if it was beyond a limit.
    pub(super) fn unlimit(&mut self, worker: WorkerId, kill: bool) {
        let known = self.limiter.condemned.remove(&worker).unwrap_or_default();
        if kill && !known.is_empty() {
            tree::kill(None, known);
        }
        if let Some(groups) = &mut self.limiter.groups {
            if kill {
                groups.kill(worker);
            }
            groups.remove(worker);
        }
    }

    /// Looks why a worker ended, before its group is gone.
    pub(super) fn examine(
        &mut self,
        worker: WorkerId,
        record: &ExitRecord,
        last: Option<&LastWords>,
    ) {
        let peak = self.limiter.groups.as_ref().and_then(|groups| groups.peak(worker));
        if let Some(bytes) = peak {
            self.events.push_back(Event::Peaked { worker, kib: bytes >> 10 });
        }
        if record.code != -libc::SIGKILL {
            if self.limiter.looked.elapsed() > LOOK_PAUSE {
                self.limiter.machine_killed();
            }
            return;
        }
        let events = self.limiter.groups.as_ref().map(|groups| groups.events(worker));
        let events = events.unwrap_or_default();
        // Somebody was killed on this machine: it, unless it said why it would end.
        let is_silent = last.is_none_or(|last| last.foreseen.is_none()) && !record.out_of_cpu;
        let machine = self.limiter.machine_killed() && is_silent;
        let cause = if events.oom_kill && events.own_limit {
            Cause::Limit(LimitKind::Memory)
        } else if events.oom_kill || machine {
            Cause::Oom
        } else {
            return;
        };
        self.events.push_back(Event::Blamed { worker, cause });
    }

    /// Reaps orphans, and removes groups that became empty.
    pub(super) fn on_child(&mut self) {
        self.reap_strangers();
        self.limiter.sweep();
    }

    /// Leaves nothing behind.
    pub(super) fn close_limiter(&mut self) {
        self.limiter.close();
        sweep::leave_no_process();
    }
}
