//! Control groups: which version, which controllers, and whether the daemon may use them.

use super::files::{Files, Subject};
use super::finding::{Finding, Thing};
use std::os::unix::fs::MetadataExt;

const VERSION: Thing = Thing("cgroup.version", "control groups");
const CONTROLLERS: Thing = Thing("cgroup.controllers", "their controllers");
const DELEGATION: Thing = Thing("cgroup.delegation", "their delegation");

/// The controllers that limits use, each with what is missing without it.
const WANTED: [(&str, &str); 3] = [
    ("cpu", "CPU is not shared by weight or quota"),
    ("memory", "limits of memory are kept by sampling, which a fast worker outruns"),
    ("pids", "nobody counts the processes that a worker starts"),
];
/// What is missing without groups.
const COST: &str = "limits of memory are kept by sampling, which a fast worker outruns; CPU is not \
                    shared by weight or quota; nobody counts the processes that a worker starts; a \
                    limited worker's descendants are hunted one by one";
/// The group that the daemon makes for itself below its service's.
const LEAF: &str = "/daemon";

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    subject: Subject,
    kind: Kind,
    /// Of the subject, in version 2.
    group: String,
    /// That its group may hand on.
    controllers: Vec<String>,
    /// Whose its group is.
    owner: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    /// Version 1 alone.
    Old,
    /// Both, with the controllers at version 1.
    Both,
    New,
}

impl Facts {
    /// Reads it.
    pub(super) fn gather(files: &Files, subject: Subject) -> Self {
        let mounts = files.read("/proc/self/mountinfo").unwrap_or_default();
        let groups = files.read(format!("/proc/{}/cgroup", subject.pid)).unwrap_or_default();
        let group = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        // What counts is what was delegated.
        let group = group.strip_suffix(LEAF).filter(|_| subject.is_daemon).unwrap_or(group);
        let mount = mounted(&mounts, "cgroup2");
        let folder = mount.map(|mount| format!("{mount}{group}"));
        let controllers =
            folder.as_ref().and_then(|f| files.read(format!("{f}/cgroup.controllers")));
        let controllers = controllers.unwrap_or_default();
        let owner = folder.and_then(|folder| files.path(folder).metadata().ok());
        Self {
            subject,
            kind: match (mount, mounted(&mounts, "cgroup")) {
                (None, None) => Kind::None,
                (None, Some(_)) => Kind::Old,
                (Some(_), Some(_)) => Kind::Both,
                (Some(_), None) => Kind::New,
            },
            group: group.to_owned(),
            controllers: controllers.split_whitespace().map(str::to_owned).collect(),
            owner: owner.map(|metadata| metadata.uid()),
        }
    }

    /// What that means.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let version = match self.kind {
            Kind::New => VERSION.ok("version 2"),
            Kind::Both => VERSION.warn(
                "version 2 beside version 1, which has the controllers",
                COST,
                "systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
            ),
            Kind::Old => VERSION.warn(
                "version 1 only",
                COST,
                "systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
            ),
            Kind::None => VERSION.warn("none", COST, "mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        };
        // Controllers elsewhere cannot be handed on, whoever the group belongs to.
        if self.kind != Kind::New {
            return vec![version];
        }
        vec![version, self.judge_controllers(), self.judge_delegation()]
    }

    fn judge_controllers(&self) -> Finding {
        let missing = WANTED.into_iter().filter(|(name, _)| !self.has(name));
        let (names, costs): (Vec<_>, Vec<_>) = missing.unzip();
        if names.is_empty() {
            return CONTROLLERS.ok(WANTED.map(|(name, _)| name).join(", "));
        }
        CONTROLLERS.warn(
            format!("{} has no {}", self.group, names.join(", ")),
            &costs.join("; "),
            "Delegate=cpu memory pids in the unit; for a user's daemon also in \
             user@.service (systemctl edit user@.service)",
        )
    }

    fn has(&self, wanted: &str) -> bool {
        self.controllers.iter().any(|controller| controller == wanted)
    }

    fn judge_delegation(&self) -> Finding {
        let Self { subject, group, owner, .. } = self;
        let who = subject.name();
        match owner {
            Some(owner) if *owner == subject.uid && subject.is_daemon => {
                DELEGATION.ok(format!("{group} belongs to {who}"))
            }
            Some(owner) if *owner == subject.uid => {
                DELEGATION.ok(format!("{group} belongs to this user"))
            }
            Some(owner) => DELEGATION.warn(
                format!("{group} belongs to uid {owner}, not to {who}"),
                COST,
                "Delegate=yes in the unit; without systemd, give the folder to the daemon's user",
            ),
            None => DELEGATION.warn(
                format!("{group} cannot be seen from here"),
                COST,
                "mount /sys/fs/cgroup where the daemon runs",
            ),
        }
    }
}

/// Where the first file system of a kind is mounted.
pub(in crate::ctl) fn mounted<'a>(mounts: &'a str, kind: &str) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        (back.split(' ').next() == Some(kind)).then(|| front.split(' ').nth(4))?
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::faked;
    use super::super::finding::{State, states};
    use super::*;

    const NEW: &str = "30 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw";
    const OLD: &str = "31 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";

    fn gathered(mounts: &[&str], controllers: &str) -> Facts {
        let uid = nix::unistd::geteuid().as_raw();
        let (_folder, files) = faked(&[
            ("/proc/self/mountinfo", &mounts.join("\n")),
            ("/proc/7/cgroup", "3:memory:/x\n0::/a/b/daemon"),
            ("/sys/fs/cgroup/a/b/cgroup.controllers", controllers),
        ]);
        Facts::gather(&files, Subject { pid: 7, uid, is_daemon: true })
    }

    #[test]
    fn each_version_is_known() {
        use State::{Ok, Warn};
        for (mounts, controllers, expected) in [
            (&[NEW][..], "cpuset cpu io memory pids", &[Ok, Ok, Ok][..]),
            (&[NEW], "cpu", &[Ok, Warn, Ok]),
            (&[OLD, NEW], "", &[Warn]),
            (&[OLD], "", &[Warn]),
            (&[], "", &[Warn]),
        ] {
            let facts = gathered(mounts, controllers);
            let found = states(&facts.judge()).into_iter().map(|(_, state)| state);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{mounts:?} {controllers}");
        }
    }

    #[test]
    fn a_group_of_somebody_else_is_told() {
        let mut facts = gathered(&[NEW], "cpu memory pids");
        facts.subject.uid += 1;
        assert_eq!(facts.judge()[2].state, State::Warn);
        facts.owner = None;
        assert_eq!(states(&facts.judge())[2], ("cgroup.delegation", State::Warn));
        facts.owner = Some(facts.subject.uid);
        facts.subject.is_daemon = false;
        assert_eq!(facts.judge()[2].found, "/a/b belongs to this user");
    }
}
