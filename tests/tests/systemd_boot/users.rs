//! Who may use which daemon.

use crate::machine::Machine;
use crate::service::{Recipe, Service};

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
