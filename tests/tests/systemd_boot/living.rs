//! What it goes through while it runs.

use crate::machine::Machine;
use crate::service::{Recipe, Service};
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, skip};

/// A good configuration is taken; a broken one changes nothing and says where it is broken.
pub(crate) fn reload(machine: &Machine) {
    let service = Service::install(machine, "reloaded", Recipe::default());
    service.systemctl("start").ok();
    let pid = service.main_pid();
    let mut sleeper = service.sleeper("old");
    service.configure("max_workers = 9");
    service.systemctl("reload").ok();
    let status = service.report("status");
    assert_eq!((&status["workers_max"], &status["generation"]), (&9.into(), &2.into()));

    for (lines, words) in [
        ("max_workers = \"many\"", "reloaded.toml:2"),
        ("no_such_option = 1", "no_such_option"),
        ("[", "reloaded.toml:2"),
    ] {
        service.configure(lines);
        let said = service.systemctl("reload");
        assert_ne!(said.code, 0, "{lines}");
        let told = eventually(PATIENCE, || service.journal().contains(words));
        assert!(told, "{lines}: {}", service.journal());
    }
    let status = service.report("status");
    assert_eq!((&status["workers_max"], &status["generation"]), (&9.into(), &2.into()));
    assert_eq!(service.property("ActiveState"), "active");
    assert_eq!(service.property("SubState"), "running");
    assert_eq!(service.main_pid(), pid);
    assert!(sleeper.waits(), "a reload costs no worker");
}

/// A daemon that hangs is killed and started again; its workers go on, and their ends are told.
pub(crate) fn watchdog(machine: &Machine) {
    let settings = "WatchdogSec=2s";
    let service = Service::install(machine, "watched", Recipe { settings, ..Recipe::default() });
    service.systemctl("start").ok();
    let mut sleeper = service.sleeper("kept");
    // It proves itself for longer than the limit.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(service.property("NRestarts"), "0", "{}", service.journal());
    let old = service.main_pid();
    machine.kill(old, "STOP");
    service.wait_for_another(old);
    assert_eq!(service.property("NRestarts"), "1");
    assert!(service.journal().contains("Watchdog timeout"), "{}", service.journal());
    assert!(sleeper.waits() && machine.pids(&service.unit).contains(&sleeper.pid));
    let adopted = eventually(PATIENCE, || service.worker("kept") == Some(sleeper.pid));
    assert!(adopted, "{}", service.report("ps"));
    service.mpctl(&["kill", &sleeper.pid.to_string(), "--signal", "KILL"]).ok();
    assert_eq!(sleeper.code(), 128 + 9);
}

/// A daemon that crashes, again and again, costs no worker and no exit code.
pub(crate) fn crashes(machine: &Machine) {
    /// More than the five in ten seconds after which systemd gives up by itself.
    const ROUNDS: usize = 8;
    let service = Service::install(machine, "crashing", Recipe::default());
    service.systemctl("start").ok();
    let mut sleepers = [service.sleeper("w0"), service.sleeper("w1")];
    let templates = |service: &Service<'_>| {
        let status = service.report("status");
        let rows = status["templates"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["pid"].as_u64().unwrap_or(0)).collect::<Vec<_>>()
    };
    let before = templates(&service);
    for _ in 0..ROUNDS {
        let old = service.main_pid();
        machine.kill(old, "KILL");
        service.wait_for_another(old);
    }
    assert_eq!(service.property("NRestarts"), ROUNDS.to_string());
    let adopted = eventually(PATIENCE, || {
        let all = |name: &str, pid| service.worker(name) == Some(pid);
        all("w0", sleepers[0].pid) && all("w1", sleepers[1].pid)
    });
    assert!(adopted, "{}", service.report("ps"));
    let after = templates(&service);
    assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} {after:?}");
    for (sleeper, (signal, code)) in sleepers.iter_mut().zip([("TERM", 15), ("KILL", 9)]) {
        assert!(sleeper.waits());
        service.mpctl(&["kill", &sleeper.pid.to_string(), "--signal", signal]).ok();
        assert_eq!(sleeper.code(), 128 + code);
    }
    service.mpctl(&["run", "misbehave.echo", "well"]).ok();
}

/// Whether groups have limits here; if not, says so.
fn has_memory_controller(machine: &Machine) -> bool {
    let controllers = machine.run(&["cat", "/sys/fs/cgroup/cgroup.controllers"]);
    let has = controllers.out.contains("memory");
    if !has {
        skip("control groups have no memory controller here");
    }
    has
}

/// Workers in groups of their own do not keep the next daemon from starting.
pub(crate) fn crash_with_limited_workers(machine: &Machine) {
    if !has_memory_controller(machine) {
        return;
    }
    let service = Service::install(machine, "limited", Recipe::default());
    service.systemctl("start").ok();
    let mut sleeper = service.sleeper("limited");
    let group = format!("/sys/fs/cgroup{}", service.property("ControlGroup"));
    // As the daemon does it: nobody in the group itself, then controllers for those below.
    let script = format!(
        "mkdir -p {group}/daemon {group}/w-1 && echo {} >{group}/w-1/cgroup.procs && \
         for pid in $(cat {group}/cgroup.procs); do echo $pid >{group}/daemon/cgroup.procs; done; \
         echo '+memory +pids' >{group}/cgroup.subtree_control",
        sleeper.pid
    );
    machine.run(&["sh", "-c", &script]).ok();
    for _ in 0..3 {
        let old = service.main_pid();
        machine.kill(old, "KILL");
        service.wait_for_another(old);
    }
    assert!(sleeper.waits() && machine.pids(&service.unit).contains(&sleeper.pid));
    service.mpctl(&["run", "misbehave.echo", "well"]).ok();
}

/// A worker that the kernel kills for its memory is one failed task.
pub(crate) fn out_of_memory(machine: &Machine) {
    if !has_memory_controller(machine) {
        return;
    }
    let settings = "MemoryMax=256M\nMemorySwapMax=0";
    let service = Service::install(machine, "eater", Recipe { settings, ..Recipe::default() });
    service.systemctl("start").ok();
    let pid = service.main_pid();
    let mut sleeper = service.sleeper("modest");
    let said = service.mpctl(&["run", "misbehave.leak", "1024"]);
    assert_eq!(said.code, 128 + 9, "{said:?}");
    assert_eq!(service.main_pid(), pid, "{}", service.journal());
    assert_eq!(service.property("ActiveState"), "active");
    assert!(sleeper.waits());
    service.mpctl(&["run", "misbehave.echo", "well"]).ok();
}
