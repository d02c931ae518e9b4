//! The configured limits: whom each applies to, and which one counts where several do.
//!
//! Every section that applies to a worker counts, and the tightest value of each limit wins: no
//! section can give what another one denies. A section for one user or module stands in the place
//! of the section for all of them, key by key.

use super::event::PoolSpec;
use mpserverd_proto::bounds::{Birth, Bound, Bounds};
use mpserverd_proto::error::Refusal;
use mpserverd_proto::quota::Holder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A configured limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its value, in the unit of its bound.
    pub value: i64,
    /// Where it was set, for people.
    #[serde(with = "super::state::shared_text")]
    pub set_in: Arc<str>,
}

/// Limits of one section.
pub type Section = BTreeMap<Bound, Rule>;

/// All configured limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// For each worker and for all together.
    pub host: Section,
    /// For users by number; `None` is everybody without an own value.
    pub uids: BTreeMap<Option<u32>, Section>,
    /// For modules by name; `None` is every module without an own value.
    pub modules: BTreeMap<Option<String>, Section>,
    /// How often memory and processes are looked at where the kernel does not hold them.
    pub sample_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            host: Section::new(),
            uids: BTreeMap::new(),
            modules: BTreeMap::new(),
            sample_every: Duration::from_millis(100),
        }
    }
}

/// What the kernel holds for the daemon, by control groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// A group for each limited worker, whose processes can be found and killed together.
    pub groups: bool,
    /// Memory.
    pub memory: bool,
    /// Weight and quota of the CPU.
    pub cpu: bool,
    /// Processes and threads.
    pub pids: bool,
    /// CPUs of this machine.
    pub cpus: u32,
}

impl Held {
    /// Why nothing on this machine can hold a limit, if so.
    #[must_use]
    pub fn cannot_hold(&self, bound: Bound) -> Option<&'static str> {
        match bound {
            Bound::MemoryHigh if !self.memory => Some("the memory controller is not delegated"),
            Bound::CpuWeight | Bound::CpuQuota if !self.cpu => {
                Some("the cpu controller is not delegated")
            }
            _ => None,
        }
    }
}

impl Held {
    /// Who holds a limit of single workers here.
    #[must_use]
    pub fn holder(&self, bound: Bound) -> Holder {
        let by_group = |held: bool, otherwise| if held { Holder::Cgroup } else { otherwise };
        match bound {
            Bound::Memory => by_group(self.memory, Holder::Sampling),
            Bound::Pids => by_group(self.pids, Holder::Sampling),
            Bound::MemoryHigh => by_group(self.memory, Holder::Nobody),
            Bound::CpuWeight | Bound::CpuQuota => by_group(self.cpu, Holder::Nobody),
            Bound::Fds | Bound::FileSize => Holder::Rlimit,
            Bound::Nice => Holder::Process,
            Bound::WallTime
            | Bound::CpuTime
            | Bound::KillGrace
            | Bound::Workers
            | Bound::Starts
            | Bound::Queue => Holder::Daemon,
        }
    }
}

/// Names that sections of modules may have for a pool: those of its modules without folder, `lib`
/// and ending, and its own.
pub(super) fn names(spec: &PoolSpec) -> Vec<Arc<str>> {
    let modules = spec.modules.iter().map(String::as_str).chain([spec.name.as_str()]);
    let mut names: Vec<Arc<str>> = modules.map(|module| stem(module).into()).collect();
    names.sort();
    names.dedup();
    names
}

/// `resize` of `/usr/lib/libresize.so`.
fn stem(module: &str) -> &str {
    let file = module.rsplit('/').next().unwrap_or(module);
    match file.strip_suffix(".so") {
        Some(name) => name.strip_prefix("lib").unwrap_or(name),
        None => file,
    }
}

impl Limits {
    /// Whether nothing is limited.
    pub(super) fn is_empty(&self) -> bool {
        self.host.is_empty() && self.uids.is_empty() && self.modules.is_empty()
    }

    /// Whether some section sets it.
    pub(super) fn mention(&self, bound: Bound) -> bool {
        let sections = [&self.host].into_iter().chain(self.uids.values());
        sections.chain(self.modules.values()).any(|section| section.contains_key(&bound))
    }

    /// The limit of a user, or of all without an own one.
    pub(super) fn of_uid(&self, uid: u32, bound: Bound) -> Option<&Rule> {
        of(&self.uids, &Some(uid), bound)
    }

    /// The limit of a module, or of all without an own one.
    pub(super) fn of_module(&self, name: &str, bound: Bound) -> Option<&Rule> {
        if self.modules.is_empty() {
            return None;
        }
        of(&self.modules, &Some(name.to_owned()), bound)
    }

    /// The tightest limit of each kind for a worker.
    pub(super) fn of_worker(&self, uid: u32, names: &[Arc<str>]) -> BTreeMap<Bound, &Rule> {
        let mut tightest = BTreeMap::new();
        if self.is_empty() {
            return tightest;
        }
        for bound in Bound::of_worker() {
            let modules = names.iter().filter_map(|name| self.of_module(name, *bound));
            let all = self.host.get(bound).into_iter().chain(self.of_uid(uid, *bound));
            let rule = all
                .chain(modules)
                .reduce(|a, b| if bound.is_tighter(b.value, a.value) { b } else { a });
            rule.map(|rule| tightest.insert(*bound, rule));
        }
        tightest
    }
}

fn of<'a, K: Ord>(
    sections: &'a BTreeMap<Option<K>, Section>,
    key: &Option<K>,
    bound: Bound,
) -> Option<&'a Rule> {
    let own = sections.get(key).and_then(|section| section.get(&bound));
    own.or_else(|| sections.get(&None)?.get(&bound))
}

/// The values of these rules.
pub(super) fn values(rules: &BTreeMap<Bound, &Rule>) -> Bounds {
    let mut bounds = Bounds::default();
    rules.iter().for_each(|(bound, rule)| bounds.set(*bound, rule.value));
    bounds
}

/// What a client asks for, checked against what is configured.
pub(super) fn check(
    asked: &Bounds,
    rules: &BTreeMap<Bound, &Rule>,
    held: &Held,
) -> Result<(), Refusal> {
    for (bound, value) in asked.iter() {
        if value < *bound.range().start() {
            let least = bound.spell(*bound.range().start());
            let text = format!("`{bound} = {}` is below {least}", bound.spell(value));
            return Err(Refusal::BadRequest(text));
        }
        if let Some(rule) = rules.get(&bound)
            && bound.is_tighter(rule.value, value)
        {
            return Err(Refusal::LimitLoosened {
                limit: bound.to_string(),
                asked: bound.spell(value),
                allowed: bound.spell(rule.value),
                set_in: rule.set_in.to_string(),
            });
        }
        if let Some(why) = held.cannot_hold(bound) {
            let why = why.to_owned();
            return Err(Refusal::LimitUnsupported { limit: bound.to_string(), why });
        }
    }
    Ok(())
}

/// What a template's workers limit themselves by at their birth.
pub(super) fn birth(bounds: &Bounds, held: &Held, grace: Duration) -> Birth {
    let number = |bound| bounds.get(bound).and_then(|value| u64::try_from(value).ok());
    let grace = number(Bound::KillGrace).map_or(grace, Duration::from_millis);
    let cpu = number(Bound::CpuTime).map(|ms| Duration::from_millis(ms).saturating_add(grace));
    Birth {
        fds: number(Bound::Fds),
        file_size: number(Bound::FileSize),
        // Rounded up, and one more: the daemon comes first while it lives.
        cpu_seconds: cpu.map(|cpu| cpu.as_secs().saturating_add(2)),
        nice: bounds.get(Bound::Nice).and_then(|nice| i32::try_from(nice).ok()),
        keeps_orphans: !held.groups && is_watched(bounds),
    }
}

/// Whether a worker with these limits has to be looked after as long as it runs; the others it
/// carries itself.
pub(super) fn is_watched(bounds: &Bounds) -> bool {
    bounds.iter().any(|(bound, _)| {
        !matches!(bound, Bound::Fds | Bound::FileSize | Bound::Nice | Bound::KillGrace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(rules: &[(Bound, i64)]) -> Section {
        let rule = |&(bound, value): &(Bound, i64)| (bound, Rule { value, set_in: "here".into() });
        rules.iter().map(rule).collect()
    }

    fn limits() -> Limits {
        let mut limits = Limits { host: section(&[(Bound::Pids, 50)]), ..Limits::default() };
        limits.uids.insert(None, section(&[(Bound::Pids, 40), (Bound::Fds, 100)]));
        limits.uids.insert(Some(7), section(&[(Bound::Pids, 90)]));
        limits.modules.insert(Some("resize".into()), section(&[(Bound::Fds, 64)]));
        limits
    }

    #[test]
    fn the_tightest_of_all_that_apply_counts() {
        let limits = limits();
        let of = |uid, name: &str| values(&limits.of_worker(uid, &[name.into()]));
        assert_eq!(of(1, "x").get(Bound::Pids), Some(40));
        assert_eq!(of(7, "x").get(Bound::Pids), Some(50), "the own section, not the host's");
        assert_eq!(of(7, "resize").get(Bound::Fds), Some(64));
        assert_eq!(of(7, "x").get(Bound::Fds), Some(100));
        assert_eq!(of(7, "x").get(Bound::Memory), None);
    }

    #[test]
    fn modules_are_found_by_name_and_by_file() {
        for module in ["resize", "/opt/libresize.so", "resize.so"] {
            assert_eq!(stem(module), "resize");
        }
        assert_eq!(stem("libx"), "libx");
    }

    #[test]
    fn a_client_may_tighten_and_is_told_what_it_may_not_loosen() {
        let limits = limits();
        let rules = limits.of_worker(1, &[]);
        let held = Held::default();
        let asked = |bound, value| {
            let mut bounds = Bounds::default();
            bounds.set(bound, value);
            check(&bounds, &rules, &held)
        };
        assert_eq!(asked(Bound::Pids, 40), Ok(()));
        assert_eq!(asked(Bound::Memory, 1 << 30), Ok(()));
        let refusal = asked(Bound::Pids, 41).expect_err("looser");
        assert_eq!(refusal.to_string(), "`pids = 41` is looser than `40`, which is set in here");
        assert!(matches!(asked(Bound::Memory, -1), Err(Refusal::BadRequest(_))));
        assert!(matches!(asked(Bound::CpuQuota, 50), Err(Refusal::LimitUnsupported { .. })));
    }
}
