//! Who may use which daemon.

use crate::machine::Machine;
use crate::service::{Recipe, Service, Sleeper};

/// The uids that exist only while a service does.
const THROW_AWAY: std::ops::RangeInclusive<u32> = 61184..=65519;

fn uid_of(machine: &Machine, pid: u32) -> u32 {
    let said = machine.run(&["stat", "-c", "%u", &format!("/proc/{pid}")]);
    said.ok().parse().expect("a uid")
}

/// As it is installed: members of the group get workers of a user that is nobody else.
pub(crate) fn throw_away(machine: &Machine) {
    let service = Service::install_for(machine, "shared", "alice", Recipe::default());
    machine.run(&["usermod", "-aG", "mpserverd", "alice"]).ok();
    // The first connection is a member's.
    let said = service.mpctl_as("alice", &["run", "misbehave.echo", "hello"]);
    assert_eq!(said.ok(), "\"hello\"");
    let mut sleeper = service.sleeper("kept");
    let daemon = uid_of(machine, service.main_pid());
    assert!(THROW_AWAY.contains(&daemon), "{daemon}");
    assert_eq!(uid_of(machine, sleeper.pid), daemon);

    // A crash costs the member nothing: the next daemon is the same nobody.
    let old = service.main_pid();
    machine.kill(old, "KILL");
    service.wait_for_another(old);
    assert!(sleeper.waits());
    assert_eq!(uid_of(machine, service.main_pid()), daemon);
    let adopted = mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || {
        service.worker("kept") == Some(sleeper.pid)
    });
    assert!(adopted, "{}", service.report("ps"));
    let said = service.mpctl_as("alice", &["run", "misbehave.echo", "again"]);
    assert_eq!(said.ok(), "\"again\"");

    // Members get workers; who controls it is root.
    for word in ["reload", "stop"] {
        assert_eq!(service.mpctl_as("alice", &[word]).code, 111, "{word}");
    }
    service.systemctl("reload").ok();
    let said = service.mpctl_as("bob", &["run", "misbehave.echo", "hello"]);
    assert_eq!(said.code, 111, "{said:?}");
    assert!(sleeper.waits());
    service.systemctl("stop").ok();
    assert_eq!(sleeper.code(), 128 + 15);
    assert!(machine.pids(&service.unit).is_empty());
}

/// Who is not in the group does not reach the socket, and is told.
pub(crate) fn strangers(machine: &Machine) {
    let service = Service::install(machine, "closed", Recipe::default());
    service.systemctl("start").ok();
    let said = service.mpctl_as("bob", &["ping"]);
    assert_eq!(said.code, 111, "{said:?}");
    assert!(said.err.contains("Permission denied"), "{said:?}");
    let said = service.mpctl_as("bob", &["doctor"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("usermod -aG mpserverd"), "{said:?}");
}

/// A daemon of root serves two users: each is himself, and neither has anything of the other.
pub(crate) fn two_users(machine: &Machine) {
    let recipe = Recipe { profiles: &["multi-user"], ..Recipe::default() };
    let service = Service::install_for(machine, "both", "alice", recipe);
    let users = [("alice", 1001_u32), ("bob", 1002)];
    let mut sleepers = users.map(|(user, uid)| {
        machine.run(&["usermod", "-aG", "mpserverd", user]).ok();
        let sleeper = service.sleeper_of(user, user);
        assert_eq!(uid_of(machine, sleeper.pid), uid);
        sleeper
    });
    assert_eq!(uid_of(machine, service.main_pid()), 0);
    let templates = |user: &str| {
        let report = service.report_of(user, "status");
        let rows = report["templates"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| u32::try_from(row["pid"].as_u64()?).ok()).collect::<Vec<_>>()
    };
    let of_user = users.map(|(user, uid)| {
        let pids = templates(user);
        assert!(!pids.is_empty());
        for pid in &pids {
            assert_eq!(uid_of(machine, *pid), uid, "{user}: {pids:?}");
        }
        pids
    });
    assert!(of_user[0].iter().all(|pid| !of_user[1].contains(pid)), "{of_user:?}");
    let homes = "echo private >/home/alice/secret && chmod 600 /home/alice/secret";
    machine.run_as("alice", &["sh", "-c", homes]).ok();
    for (at, (user, uid)) in users.into_iter().enumerate() {
        let (own, other) = (sleepers[at].pid, sleepers[1 - at].pid);
        let rows = service.report_of(user, "ps");
        let rows = rows["workers"].as_array().cloned().unwrap_or_default();
        assert!(rows.iter().any(|row| row["pid"] == own), "{user}: {rows:?}");
        assert!(rows.iter().all(|row| row["uid"] == uid), "{user}: {rows:?}");
        let said = service.mpctl_as(user, &["kill", &other.to_string()]);
        assert_ne!(said.code, 0, "{user}: {said:?}");
        for pid in [other, of_user[1 - at][0]] {
            let said = machine.run_as(user, &["kill", "-0", &pid.to_string()]);
            assert_ne!(said.code, 0, "{user}: {said:?}");
            let said = machine.run_as(user, &["cat", &format!("/proc/{pid}/environ")]);
            assert_ne!(said.code, 0, "{user}: {said:?}");
        }
        for word in ["reload", "stop", "upgrade"] {
            assert_eq!(service.mpctl_as(user, &[word]).code, 111, "{user}: {word}");
        }
    }
    assert!(sleepers.iter_mut().all(Sleeper::waits));
    // Homes are there, each for its owner.
    for (user, code) in [("alice", 0), ("bob", 1)] {
        let said = service.mpctl_as(user, &["run", "misbehave.read", "/home/alice/secret"]);
        assert_eq!(said.code, code, "{user}: {said:?}");
    }
    for (sleeper, (user, _)) in sleepers.iter_mut().zip(users) {
        service.mpctl_as(user, &["kill", &sleeper.pid.to_string()]).ok();
        assert_eq!(sleeper.code(), 128 + 15);
    }
}

/// Workers may not write code and run it, but by the profile for that.
pub(crate) fn code_at_run_time(machine: &Machine) {
    for (name, profiles, code) in [("plain", &[][..], 1), ("compiling", &["jit"], 0)] {
        let recipe = Recipe { profiles, ..Recipe::default() };
        let service = Service::install_for(machine, name, "alice", recipe);
        machine.run(&["usermod", "-aG", "mpserverd", "alice"]).ok();
        let said = service.mpctl_as("alice", &["run", "misbehave.make_code"]);
        assert_eq!(said.code, code, "{name}: {said:?}");
        assert!(code == 0 || said.err.contains("ermitted"), "{said:?}");
    }
}
