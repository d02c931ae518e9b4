//! How it comes to run.

use crate::machine::{Machine, PROGRAMS};
use crate::service::{Recipe, Service};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use serde_json::Value;

/// Runs `install-units` with these words, then what it prints as the next steps.
fn install(machine: &Machine, words: &[&str]) {
    let said = machine.run(&[&["mpctl", "--json", "install-units", "--system"], words].concat());
    let report: Value = serde_json::from_str(said.ok()).expect("JSON");
    for step in report["next"].as_array().expect("steps") {
        // After an uninstall its files are gone by now: what is left to do must still work.
        let step = step.as_str().expect("a command").replace("NAME", "alice");
        machine.run(&["sh", "-c", &step]).ok();
    }
}

/// What `install-units` prints as the next steps is all that it takes, and what the manual tells
/// an operator to do with a running service works as it is told.
pub(crate) fn by_the_book(machine: &Machine) {
    machine.run(&["mpctl", "doctor", "--host-only"]).ok();
    install(machine, &[]);
    let unit = "mpserverd.service";
    assert_eq!(machine.property(unit, "ActiveState"), "active");
    assert_eq!(machine.property("mpserverd.socket", "ActiveState"), "active");
    let status = machine.property(unit, "StatusText");
    assert!(status.starts_with("serving: 1 templates, 0 workers"), "{status}");
    assert_eq!(machine.property(unit, "UnitFileState"), "enabled");
    // As somebody who is nobody else.
    let pid = machine.property(unit, "MainPID");
    let who = machine.run(&["stat", "-c", "%u", &format!("/proc/{pid}")]);
    let uid = who.ok().parse::<u32>().expect("a uid");
    assert!((61184..=65519).contains(&uid), "{uid}");
    // Without being told where.
    let said = machine.run(&["mpctl", "--json", "status"]);
    let status: Value = serde_json::from_str(said.ok()).expect("JSON");
    assert_eq!(status["socket"], "/run/mpserverd/mpserverd.sock");
    let socket = machine.run(&["stat", "-c", "%a %G", "/run/mpserverd/mpserverd.sock"]);
    assert_eq!(socket.ok(), "660 mpserverd");
    machine.run_as("alice", &["mpctl", "doctor"]).ok();
    machine.run_as("alice", &["mpctl", "status"]).ok();

    let path = "/etc/mpserverd/mpserverd.toml";
    machine.write(path, &format!("preload = [\"{PROGRAMS}/libmisbehave.so\"]\n"));
    machine.run(&["mpserverd", "--config", path, "--check"]).ok();
    machine.run(&["systemctl", "reload", "mpserverd"]).ok();
    let said = machine.run_as("alice", &["mpctl", "run", "misbehave.echo", "hello"]);
    assert_eq!(said.ok(), "\"hello\"");
    machine.run(&["mpctl", "upgrade"]).ok();
    let kill = ["systemctl", "kill", "--kill-who=main", "--signal=USR2", "mpserverd"];
    machine.run(&kill).ok();
    let upgraded = || machine.journal(unit).lines().filter(|line| *line == "upgraded").count();
    assert!(eventually(PATIENCE, || upgraded() == 2), "{}", machine.journal(unit));
    assert_eq!(machine.property(unit, "MainPID"), pid);

    install(machine, &["--uninstall"]);
    assert_eq!(machine.property(unit, "ActiveState"), "inactive");
    assert_eq!(machine.property(unit, "LoadState"), "not-found");
    assert!(machine.path(path).exists(), "the operator's own stays");
    machine.run(&["rm", path]).ok();
}

/// The same for hosts with names, of which one stays when the other goes.
pub(crate) fn instances_by_the_book(machine: &Machine) {
    for name in ["images", "video"] {
        install(machine, &["--instance", name, "--profile", "multi-user"]);
        let unit = format!("mpserverd@{name}.service");
        assert_eq!(machine.property(&unit, "ActiveState"), "active");
        assert_eq!(machine.property(&unit, "UnitFileState"), "enabled");
    }
    let alive = |name: &str| {
        let variable = format!("MPSERVERD_SOCKET=/run/mpserverd/{name}.sock");
        machine.run_as("alice", &["env", &variable, "mpctl", "ping"]).code == 0
    };
    assert!(alive("images") && alive("video"));
    install(machine, &["--instance", "images", "--uninstall"]);
    assert_eq!(machine.property("mpserverd@images.service", "ActiveState"), "inactive");
    assert!(!alive("images") && alive("video"));
    machine.run(&["systemctl", "restart", "mpserverd@video.service"]).ok();
    assert!(alive("video"));
    install(machine, &["--instance", "video", "--uninstall"]);
    assert!(!alive("video"));
    assert_eq!(machine.property("mpserverd@video.service", "LoadState"), "not-found");
    let left = machine.run(&["find", "/etc/systemd/system", "-name", "mpserverd*"]);
    assert_eq!(left.ok(), "");
}

/// The first client starts it, and gets its answer once it is ready.
pub(crate) fn by_a_connection(machine: &Machine) {
    let service = Service::install(machine, "asked", Recipe::default());
    assert_eq!(service.property("ActiveState"), "inactive");
    let mut sleeper = service.sleeper("first");
    assert_eq!(service.property("ActiveState"), "active");
    service.wait_for("StatusText", "serving: 1 templates, 1 workers");
    assert_eq!(service.property("NRestarts"), "0");
    service.mpctl(&["kill", &sleeper.pid.to_string()]).ok();
    assert_eq!(sleeper.code(), 128 + 15);
    service.wait_for("StatusText", "serving: 1 templates, 0 workers");
    // Ready means: there is a verdict on what is preloaded.
    service.systemctl("stop").ok();
    service.systemctl("start").ok();
    let status = service.report("status");
    assert_eq!(status["templates"][0]["state"], "ready", "{status}");
}

/// Several on one machine have nothing to do with each other.
pub(crate) fn instances(machine: &Machine) {
    let one = Service::install(machine, "one", Recipe::default());
    let lines = "max_workers = 7";
    let two =
        Service::install(machine, "two", Recipe { configuration: lines, ..Recipe::default() });
    let mut sleeper = one.sleeper("kept");
    assert_eq!(one.report("status")["workers_max"], 4096);
    assert_eq!(two.report("status")["workers_max"], 7);
    assert_ne!(one.main_pid(), two.main_pid());
    assert_eq!(two.worker("kept"), None);
    two.systemctl("stop").ok();
    assert!(machine.pids(&two.unit).is_empty());
    assert!(sleeper.waits() && machine.pids(&one.unit).contains(&sleeper.pid));
    one.systemctl("stop").ok();
    assert_ne!(sleeper.code(), 0);
}

/// A user's own, under the user's own manager.
pub(crate) fn of_a_user(machine: &Machine) {
    machine.run(&["systemctl", "start", "user@1001.service"]).ok();
    let alice = |words: &[&str]| machine.run_as("alice", words);
    alice(&["mpctl", "install-units", "--user"]).ok();
    let environment = "/home/alice/.config/mpserverd/environment";
    alice(&["mkdir", "-p", "/home/alice/.config/mpserverd"]).ok();
    let options = format!("MPSERVERD_OPTIONS=\"--preload {PROGRAMS}/libmisbehave.so\"\n");
    machine.write(environment, &options);
    alice(&["systemctl", "--user", "daemon-reload"]).ok();
    alice(&["systemctl", "--user", "enable", "--now", "mpserverd.socket"]).ok();
    let property = |name: &str| {
        let words = ["systemctl", "--user", "show", "--value", "-p", name, "mpserverd.service"];
        alice(&words).ok().to_owned()
    };
    assert_eq!(property("ActiveState"), "inactive");

    let said = alice(&["mpctl", "run", "misbehave.environment", "XDG_RUNTIME_DIR"]);
    assert_eq!(said.ok(), "\"/run/user/1001\"");
    assert_eq!(property("ActiveState"), "active");
    let told = eventually(PATIENCE, || property("StatusText").starts_with("serving: 1 templates"));
    assert!(told, "{}", property("StatusText"));
    let who = machine.run(&["stat", "-c", "%u", &format!("/proc/{}", property("MainPID"))]);
    assert_eq!(who.ok(), "1001");
    // Nobody else sees even the socket.
    let path = "/run/user/1001/mpserverd/mpserverd.sock";
    assert_eq!(machine.run_as("bob", &["mpctl", "--socket", path, "ping"]).code, 111);

    let old = property("MainPID");
    machine.run(&["kill", "-9", &old]).ok();
    let again =
        eventually(PATIENCE, || property("SubState") == "running" && property("MainPID") != old);
    assert!(again, "{}", property("SubState"));
    alice(&["mpctl", "run", "misbehave.echo", "again"]).ok();
    alice(&["systemctl", "--user", "reload", "mpserverd.service"]).ok();
    alice(&["systemctl", "--user", "stop", "mpserverd.socket", "mpserverd.service"]).ok();
    assert_eq!(property("ActiveState"), "inactive");
    let left = machine.run(&["pgrep", "-u", "1001", "-x", "mpserverd"]);
    assert_eq!(left.out.trim(), "", "{left:?}");
    machine.run(&["systemctl", "stop", "user@1001.service"]).ok();
}
