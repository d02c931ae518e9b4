//! How many descriptors and processes there may be.

use super::files::{Files, Subject};
use super::finding::{Finding, Thing};

const DESCRIPTORS: Thing = Thing("limits.nofile", "open files");
const PROCESSES: Thing = Thing("limits.nproc", "processes of the user");
const TASKS: Thing = Thing("limits.pids", "tasks of the control group");

/// Descriptors that the daemon holds for each spare and worker.
const DESCRIPTORS_EACH: u64 = 4;
/// Threads of a worker.
const TASKS_EACH: u64 = 2;
/// Workers that there may be unless configured otherwise (`max_workers`).
const WORKERS: u64 = 4096;
/// What the daemon needs beside its workers.
const RESERVE: u64 = 64;

/// What the limits are; `u64::MAX` is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    subject: Subject,
    /// Hard limit: the daemon raises its soft one.
    descriptors: Option<u64>,
    processes: Option<u64>,
    /// The tightest limit of its control groups, with what is used of it.
    tasks: Option<Tasks>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tasks {
    group: String,
    most: u64,
    now: u64,
}

impl Facts {
    /// Reads them.
    pub(super) fn gather(files: &Files, subject: Subject) -> Self {
        let limits = files.read(format!("/proc/{}/limits", subject.pid)).unwrap_or_default();
        Self {
            subject,
            descriptors: hard(&limits, "Max open files"),
            processes: hard(&limits, "Max processes"),
            tasks: tasks(files, subject.pid),
        }
    }

    /// What that means.
    pub(super) fn judge(&self) -> Vec<Finding> {
        vec![self.judge_descriptors(), self.judge_processes(), self.judge_tasks()]
    }

    fn judge_descriptors(&self) -> Finding {
        let Some(most) = self.descriptors else { return unknown(DESCRIPTORS) };
        let workers = most.saturating_sub(RESERVE) / DESCRIPTORS_EACH;
        let found = format!("{} may open {}", self.subject.name(), shown(most));
        let remedy =
            "LimitNOFILE=65536 in the unit, or `ulimit -Hn 65536` before the daemon starts";
        if workers < 16 {
            let cost = "hardly a worker can be started: the daemon holds four for each";
            return DESCRIPTORS.fail(found, cost, remedy);
        }
        if workers < WORKERS {
            let cost = format!(
                "workers and spares together end at about {workers}: the daemon holds four for \
                 each; then requests wait"
            );
            return DESCRIPTORS.warn(found, &cost, remedy);
        }
        DESCRIPTORS.ok(found)
    }

    fn judge_processes(&self) -> Finding {
        let Some(most) = self.processes else { return unknown(PROCESSES) };
        let found = format!("{} may have {}", self.subject.name(), shown(most));
        if self.subject.uid == 0 || most / TASKS_EACH >= WORKERS {
            return PROCESSES.ok(found);
        }
        let cost = format!(
            "all of this user's processes count, and a worker is two: forks fail past about {} \
             workers",
            most / TASKS_EACH
        );
        PROCESSES.warn(found, &cost, "LimitNPROC=infinity in the unit, or `ulimit -Hu`")
    }

    fn judge_tasks(&self) -> Finding {
        let Some(Tasks { group, most, now }) = &self.tasks else {
            return TASKS.ok("no limit");
        };
        let found = format!("{now} of {} in {group}", shown(*most));
        let workers = most.saturating_sub(*now) / TASKS_EACH;
        let remedy = "TasksMax=infinity in the unit or slice; the daemon limits workers itself";
        if workers < 4 {
            return TASKS.fail(found, "no template and no worker can be started", remedy);
        }
        if workers < WORKERS {
            let cost = format!(
                "forks fail past about {workers} more workers, in place of requests that wait"
            );
            return TASKS.warn(found, &cost, remedy);
        }
        TASKS.ok(found)
    }
}

fn unknown(thing: Thing) -> Finding {
    thing.note("unknown", "nobody can say whether it suffices", "mount /proc")
}

fn shown(number: u64) -> String {
    if number == u64::MAX { "any number".to_owned() } else { number.to_string() }
}

/// The hard limit in a line of `/proc/PID/limits`.
fn hard(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The tightest `pids.max` from the process's own group upwards, of either version.
fn tasks(files: &Files, pid: u32) -> Option<Tasks> {
    let groups = files.read(format!("/proc/{pid}/cgroup"))?;
    let mut tightest: Option<Tasks> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let mount = match controllers {
            "" => "/sys/fs/cgroup",
            "pids" => "/sys/fs/cgroup/pids",
            _ => continue,
        };
        for group in std::path::Path::new(group).ancestors() {
            let folder = format!("{mount}{}", group.display());
            let Some(most) = files.number(format!("{folder}/pids.max")) else { continue };
            let now = files.number(format!("{folder}/pids.current")).unwrap_or_default();
            let left = |tasks: &Tasks| tasks.most.saturating_sub(tasks.now);
            let here = Tasks { group: group.display().to_string(), most, now };
            if most < u64::MAX && tightest.as_ref().is_none_or(|tasks| left(&here) < left(tasks)) {
                tightest = Some(here);
            }
        }
    }
    tightest
}

#[cfg(test)]
mod tests {
    use super::super::files::faked;
    use super::super::finding::{State, states};
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
                          Max processes             4096                 63000                processes\n\
                          Max open files            1024                 524288               files\n\
                          Max pending signals       unlimited            unlimited            signals";

    fn facts(uid: u32) -> Facts {
        Facts {
            subject: Subject { pid: 7, uid, is_daemon: true },
            descriptors: Some(65536),
            processes: Some(u64::MAX),
            tasks: None,
        }
    }

    fn tasks_of(most: u64) -> Option<Tasks> {
        Some(Tasks { group: "/a".into(), most, now: 100 })
    }

    #[test]
    fn each_limit_that_is_too_low_is_told() {
        use State::{Fail, Note, Ok, Warn};
        let cases = [
            (facts(7), [Ok, Ok, Ok]),
            (Facts { descriptors: Some(100), ..facts(7) }, [Fail, Ok, Ok]),
            (Facts { descriptors: Some(4096), ..facts(7) }, [Warn, Ok, Ok]),
            (Facts { descriptors: None, processes: None, ..facts(7) }, [Note, Note, Ok]),
            (Facts { processes: Some(4096), ..facts(7) }, [Ok, Warn, Ok]),
            (Facts { processes: Some(4096), ..facts(0) }, [Ok, Ok, Ok]),
            (Facts { tasks: tasks_of(107), ..facts(7) }, [Ok, Ok, Fail]),
            (Facts { tasks: tasks_of(4915), ..facts(7) }, [Ok, Ok, Warn]),
            (Facts { tasks: tasks_of(70_000), ..facts(7) }, [Ok, Ok, Ok]),
        ];
        for (facts, expected) in cases {
            let states = states(&facts.judge());
            let expected: Vec<_> = ["limits.nofile", "limits.nproc", "limits.pids"]
                .into_iter()
                .zip(expected)
                .collect();
            assert_eq!(states, expected, "{facts:?}");
        }
    }

    #[test]
    fn hard_limits_are_read() {
        assert_eq!(hard(LIMITS, "Max open files"), Some(524_288));
        assert_eq!(hard(LIMITS, "Max pending signals"), Some(u64::MAX));
        assert_eq!(hard(LIMITS, "Max nonsense"), None);
    }

    #[test]
    fn the_tightest_group_counts() {
        let (_folder, files) = faked(&[
            ("/proc/7/limits", LIMITS),
            ("/proc/7/cgroup", "5:pids:/old\n1:name=systemd:/x\n0::/a/b"),
            ("/sys/fs/cgroup/a/pids.max", "500"),
            ("/sys/fs/cgroup/a/pids.current", "300"),
            ("/sys/fs/cgroup/a/b/pids.max", "max"),
            ("/sys/fs/cgroup/pids/old/pids.max", "900"),
        ]);
        let facts = Facts::gather(&files, facts(7).subject);
        let expected = Tasks { group: "/a".into(), most: 500, now: 300 };
        assert_eq!(facts.tasks, Some(expected));
        assert_eq!((facts.descriptors, facts.processes), (Some(524_288), Some(63_000)));
    }
}
