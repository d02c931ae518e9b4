//! The tree of groups, on plain folders: the kernel's files are files of the test.

use super::*;

/// A group that offers these controllers, as a folder.
fn folder(controllers: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("cgroup.controllers"), controllers).expect("file");
    folder
}

fn bounds(values: &[(Bound, i64)]) -> Bounds {
    let mut bounds = Bounds::default();
    values.iter().for_each(|(bound, value)| bounds.set(*bound, *value));
    bounds
}

/// Empties a folder as the end of its processes would empty a group: the kernel's files do not
/// keep a group from being removed.
fn forget_files(group: &Path) {
    for entry in fs::read_dir(group).expect("group").flatten() {
        fs::remove_file(entry.path()).expect("file");
    }
}

const W: WorkerId = WorkerId(7);

#[test]
fn the_daemon_moves_into_a_group_of_its_own_and_asks_for_what_is_offered() {
    let base = folder("cpuset memory pids");
    // A plain file keeps the last word that was written to it.
    let groups = Groups::at(base.path(), 42, true).expect("groups");
    assert_eq!(read(&base.path().join("daemon/cgroup.procs")), "42");
    assert_eq!(read(&base.path().join("cgroup.subtree_control")), "+pids");
    assert!(groups.held().groups && !groups.held().cpu);
    fs::remove_file(base.path().join("cgroup.subtree_control")).expect("file");
    let groups = Groups::at(base.path(), 42, false).expect("groups");
    assert!(!base.path().join("cgroup.subtree_control").exists(), "nothing was asked for");
    assert!(groups.held().groups && !groups.held().memory);
    fs::write(base.path().join("cgroup.controllers"), "").expect("file");
    fs::write(base.path().join("cgroup.subtree_control"), "memory pids").expect("file");
    let held = Groups::at(base.path(), 42, true).expect("groups").held();
    assert_eq!((held.memory, held.cpu, held.pids), (true, false, true));
}

#[test]
fn a_worker_has_its_limits_before_it_is_moved_in() {
    let base = folder("");
    fs::write(base.path().join("cgroup.subtree_control"), "memory pids cpu").expect("file");
    let mut groups = Groups::at(base.path(), 42, true).expect("groups");
    let limits = bounds(&[
        (Bound::Memory, 1 << 30),
        (Bound::MemoryHigh, 1 << 29),
        (Bound::Pids, 9),
        (Bound::CpuWeight, 50),
        (Bound::CpuQuota, 150),
    ]);
    groups.hold(W, 77, &limits).expect("held");
    let group = base.path().join("w-7");
    for (file, text) in [
        ("memory.max", "1073741824"),
        ("memory.high", "536870912"),
        ("memory.oom.group", "1"),
        ("memory.swap.max", "0"),
        ("pids.max", "9"),
        ("cpu.weight", "50"),
        ("cpu.max", "150000 100000"),
        ("cgroup.procs", "77"),
    ] {
        assert_eq!(read(&group.join(file)), text, "{file}");
    }
    // Tightened by its client at the hand-over.
    groups.hold(W, 77, &bounds(&[(Bound::Pids, 5)])).expect("held");
    assert_eq!(read(&group.join("pids.max")), "5");
    assert_eq!(read(&group.join("memory.max")), "1073741824");
}

#[test]
fn without_a_controller_its_files_are_not_touched() {
    let base = folder("hugetlb");
    let mut groups = Groups::at(base.path(), 42, true).expect("groups");
    groups.hold(W, 77, &bounds(&[(Bound::Memory, 1 << 30), (Bound::Pids, 9)])).expect("held");
    let group = base.path().join("w-7");
    let files: Vec<_> = fs::read_dir(&group).expect("group").flatten().collect();
    assert_eq!(files.len(), 1, "only cgroup.procs: {files:?}");
    assert!(groups.has(W) && !groups.has(WorkerId(8)));
}

#[test]
fn groups_of_an_earlier_daemon_are_removed_or_adopted() {
    let base = folder("");
    fs::write(base.path().join("cgroup.subtree_control"), "pids").expect("file");
    for name in ["w-1", "w-2", "w-x", "other"] {
        fs::create_dir(base.path().join(name)).expect("group");
    }
    let full = base.path().join("w-2");
    fs::write(full.join("pids.max"), "3\n").expect("file");
    let mut groups = Groups::at(base.path(), 42, true).expect("groups");
    assert!(!base.path().join("w-1").exists(), "empty");
    assert!(full.exists() && base.path().join("w-x").exists());
    // What its client had asked for is tighter than what is configured now.
    groups.hold(WorkerId(2), 5, &bounds(&[(Bound::Pids, 50)])).expect("held");
    assert_eq!(read(&full.join("pids.max")).trim(), "3");
    assert_eq!(read(&full.join("cgroup.procs")), "5");
}

#[test]
fn a_group_goes_when_its_last_process_has_ended() {
    let base = folder("");
    let mut groups = Groups::at(base.path(), 42, true).expect("groups");
    groups.hold(W, 77, &Bounds::default()).expect("held");
    groups.remove(W);
    assert!(groups.has(W), "somebody is in it");
    groups.sweep();
    assert!(groups.has(W));
    forget_files(&base.path().join("w-7"));
    groups.sweep();
    assert!(!groups.has(W));
    groups.remove(W);
    assert!(groups.lingering.is_empty());
}

#[test]
fn what_the_kernel_counts_is_read() {
    let base = folder("");
    let mut groups = Groups::at(base.path(), 42, true).expect("groups");
    groups.hold(W, 77, &Bounds::default()).expect("held");
    assert_eq!(groups.events(W), Events::default());
    assert_eq!(groups.cpu(W), None);
    let group = base.path().join("w-7");
    fs::write(group.join("memory.events"), "low 0\nmax 9\noom 1\noom_kill 2\n").expect("file");
    fs::write(group.join("cpu.stat"), "usage_usec 1500000\nuser_usec 1\n").expect("file");
    assert_eq!(groups.events(W), Events { own_limit: true, oom_kill: true });
    assert_eq!(groups.cpu(W), Some(Duration::from_millis(1500)));
    fs::write(group.join("memory.events"), "oom 0\noom_kill 1\n").expect("file");
    assert_eq!(groups.events(W), Events { own_limit: false, oom_kill: true });
    assert!(groups.kill(W) && !groups.kill(WorkerId(8)));
    assert_eq!(read(&group.join("cgroup.kill")), "1");
}

#[test]
fn the_own_group_is_found_however_it_is_mounted() {
    let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    let v1 = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
    let bound = "32 23 0:26 /pods/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
    let found = |mounts: &str, own: &str| locate(mounts, own);
    let service = "0::/system.slice/mpserverd.service\n";
    let there = PathBuf::from("/sys/fs/cgroup/system.slice/mpserverd.service");
    assert_eq!(found(&format!("{v1}\n{v2}\n"), service), Ok(there));
    assert_eq!(found(bound, "0::/pods/a/x\n"), Ok("/sys/fs/cgroup/x".into()));
    for (mounts, own, why) in [
        (v1, "0::/a\n", "not mounted"),
        (v2, "4:memory:/a\n", "version 1 only"),
        (bound, "0::/elsewhere\n", "not below"),
        (v2, "0::/../elsewhere\n", "outside"),
    ] {
        let text = found(mounts, own).expect_err(why);
        assert!(text.contains(why), "{text}");
    }
}
