//! How it ends, and what keeps it from running.

use crate::machine::Machine;
use crate::service::{Recipe, Service};
use serde_json::Value;

/// A stop ends workers as the configuration says, and leaves no process behind.
pub(crate) fn stop(machine: &Machine) {
    for (policy, grace) in [("wait", "300ms"), ("term", "500ms"), ("kill", "5s")] {
        let lines = format!("stop_policy = \"{policy}\"\ngrace = \"{grace}\"");
        let recipe = Recipe { configuration: &lines, ..Recipe::default() };
        let service = Service::install(machine, &format!("stop-{policy}"), recipe);
        service.systemctl("start").ok();
        let mut sleepers = [service.sleeper("a"), service.sleeper("b")];
        // Also one that hangs.
        machine.kill(sleepers[1].pid, "STOP");
        let pids = machine.pids(&service.unit);
        assert!(pids.len() >= 4, "{pids:?}");
        service.systemctl("stop").ok();
        assert_eq!(service.property("ActiveState"), "inactive");
        assert_eq!(service.property("Result"), "success", "{}", service.journal());
        assert!(machine.pids(&service.unit).is_empty());
        for pid in pids {
            let said = machine.run(&["kill", "-0", &pid.to_string()]);
            assert_ne!(said.code, 0, "{pid} is left: {}", service.journal());
        }
        let expected = if policy == "kill" { 9 } else { 15 };
        assert_eq!(sleepers[0].code(), 128 + expected, "{policy}");
        assert_eq!(sleepers[1].code(), 128 + 9, "{policy}");
        // The socket is the manager's, and starts it again.
        service.mpctl(&["ping"]).ok();
        service.wait_for("ActiveState", "active");
        let both = ["systemctl", "stop", &service.socket_unit, &service.unit];
        machine.run(&both).ok();
        assert!(!machine.path(&service.socket()).exists(), "its file goes with the socket unit");
    }
}

/// A restart is a stop and a start: workers end by the policy, clients wait at the socket.
pub(crate) fn restart(machine: &Machine) {
    let recipe = Recipe { configuration: "grace = \"200ms\"", ..Recipe::default() };
    let service = Service::install(machine, "restarted", recipe);
    service.systemctl("start").ok();
    let old = service.main_pid();
    let mut sleeper = service.sleeper("ends");
    service.systemctl("restart").ok();
    assert_ne!(service.main_pid(), old);
    assert_eq!(sleeper.code(), 128 + 15);
    assert_eq!(service.report("status")["workers"], 0);
    service.mpctl(&["run", "misbehave.echo", "well"]).ok();

    // A daemon that hangs when it is to stop is ended all the same.
    let old = service.main_pid();
    machine.kill(old, "STOP");
    service.systemctl("restart").ok();
    assert_ne!(service.main_pid(), old);
    service.mpctl(&["run", "misbehave.echo", "well"]).ok();
}

/// Where pidfds are forbidden it says so, once: the next attempt would fail the same way.
pub(crate) fn without_pidfds(machine: &Machine) {
    for call in ["pidfd_open", "pidfd_send_signal"] {
        let settings = format!("SystemCallFilter=~{call}");
        let recipe = Recipe { settings: &settings, ..Recipe::default() };
        let service = Service::install(machine, "blind", recipe);
        let said = service.systemctl("start");
        assert_ne!(said.code, 0);
        assert_eq!(service.property("ExecMainStatus"), "100", "{}", service.journal());
        assert_eq!(service.property("NRestarts"), "0");
        let journal = service.journal();
        assert!(journal.contains("pidfds") && journal.contains("seccomp"), "{journal}");
    }
}

/// A module that must load and does not keeps the service from starting, with its reason.
pub(crate) fn failing_module(machine: &Machine) {
    let configuration = "on_preload_error = \"fail\"";
    // What came of it is gone once it is tried again.
    let settings = "Environment=MISBEHAVE=error\nRestart=no";
    let recipe = Recipe { configuration, settings, ..Recipe::default() };
    let service = Service::install(machine, "broken", recipe);
    let said = service.systemctl("start");
    assert_ne!(said.code, 0);
    assert_eq!(service.property("ExecMainStatus"), "111", "{}", service.journal());
    assert!(service.journal().contains("misbehave"), "{}", service.journal());
    machine.run(&["systemctl", "stop", &service.unit]).ok();

    // By default it serves without the module, and says so.
    service.configure("");
    service.systemctl("start").ok();
    let status = service.property("StatusText");
    assert!(status.contains("could not be preloaded"), "{status}");
}

/// The doctor sees all of this.
pub(crate) fn doctor(machine: &Machine) {
    let service = Service::install(machine, "patient", Recipe::default());
    service.systemctl("start").ok();
    let (document, code) = examine(&service);
    assert_eq!((code, &document["usable"]), (0, &true.into()), "{document}");
    assert_eq!(document["subject"]["pid"], service.main_pid());
    for id in ["kernel.pidfd", "daemon.answers", "systemd.service", "systemd.socket"] {
        assert_eq!(state(&document, id), "ok", "{document}");
    }
    let old = service.main_pid();
    machine.kill(old, "KILL");
    service.wait_for_another(old);
    assert_eq!(state(&examine(&service).0, "systemd.service"), "note");

    let both = ["systemctl", "stop", &service.socket_unit, &service.unit];
    machine.run(&both).ok();
    let (document, code) = examine(&service);
    assert_eq!((code, &document["usable"]), (1, &false.into()), "{document}");
    assert_eq!(state(&document, "daemon.answers"), "fail");
    assert_eq!(state(&document, "systemd.socket"), "note");
    let said = machine.run(&["mpctl", "doctor", "--host-only"]);
    assert!(said.ok().contains("usable"), "{said:?}");
}

fn examine(service: &Service<'_>) -> (Value, i32) {
    let said = service.mpctl(&["--json", "doctor"]);
    let document = serde_json::from_str(&said.out);
    (document.unwrap_or_else(|error| panic!("{error}: {said:?}")), said.code)
}

fn state<'a>(document: &'a Value, id: &str) -> &'a str {
    let findings = document["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["id"] == id);
    found.and_then(|finding| finding["state"].as_str()).unwrap_or("absent")
}
