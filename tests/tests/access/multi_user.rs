//! A daemon of root starts every user's templates as that user.

use crate::host::{ANNE, BERT, Host, MEMBERS, PATIENCE, can_be_others, field, said};
use mpserverd_tests::{eventually, program};
use std::io::Write;

/// A daemon of root that serves both users.
pub(crate) fn host(more: &[&str]) -> Host {
    let users = [ANNE, BERT].map(|uid| uid.to_string());
    let ours = ["--allow-user", &users[0], "--allow-user", &users[1]];
    Host::own(0, &[&ours, more].concat())
}

#[test]
fn a_worker_is_its_client_and_nothing_more() {
    if !can_be_others() {
        return;
    }
    let host = host(&[]);
    for (uid, gid) in [(ANNE, MEMBERS), (BERT, BERT), (ANNE, ANNE)] {
        let status = program::output(&mut host.stranger(uid, gid, &["status"]));
        assert_eq!(field(&status, "Uid"), vec![uid.to_string(); 4].join(" "));
        assert_eq!(field(&status, "Gid"), vec![gid.to_string(); 4].join(" "));
        // The client has none either: `Command` takes them away with the user.
        assert_eq!(field(&status, "Groups"), "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(&status, set), "0000000000000000", "{set}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1");
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let own = u64::from_str_radix(&field(&own, "CapEff"), 16).unwrap();
        const SETPCAP: u64 = 1 << 8;
        if own & SETPCAP != 0 {
            assert_eq!(field(&status, "CapBnd"), "0000000000000000");
        }
    }
}

#[test]
fn nobody_comes_back_from_being_a_user() {
    if !can_be_others() {
        return;
    }
    let ways = program::output(&mut host(&[]).stranger(ANNE, ANNE, &["become-root"]));
    assert_eq!(ways.lines().count(), 4, "{ways}");
    for way in ways.lines() {
        assert!(way.ends_with("Err(EPERM)"), "{way}");
    }
}

#[test]
fn a_worker_has_its_clients_environment_and_nothing_of_the_daemons() {
    if !can_be_others() {
        return;
    }
    let host = host(&[]);
    let mut client = host.stranger(ANNE, ANNE, &["environment"]);
    let said = program::output(client.env("OF_ANNE", "yes"));
    assert!(said.lines().any(|line| line == "OF_ANNE=yes"), "{said}");
    assert!(!said.contains("MPSERVERD_BOOTSTRAP"), "{said}");
    // What the second client of one user asks for is the same template, and its own environment.
    let said = program::output(&mut host.stranger(ANNE, ANNE, &["environment"]));
    assert!(!said.contains("OF_ANNE"), "{said}");
}

#[test]
fn users_see_their_own_workers_and_templates() {
    if !can_be_others() {
        return;
    }
    let host = host(&[]);
    let _ = program::output(&mut host.stranger(ANNE, ANNE, &["status"]));
    let rows = |uid: u32, request: &str| {
        let all: &[&str] = if request == "ps" { &["--all"] } else { &[] };
        let output = host.mpctl(uid, uid, &[&["--json", request], all].concat());
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8_lossy(&output.stdout).matches("\"template\"").count()
    };
    // Her first worker has gone; the next one waits a moment later.
    assert!(eventually(PATIENCE, || rows(ANNE, "ps") > 0), "her spares");
    assert!(eventually(PATIENCE, || rows(0, "ps") > rows(ANNE, "ps")), "root's too");
    assert_eq!(rows(BERT, "ps"), 0);
    assert_eq!((rows(0, "status"), rows(ANNE, "status"), rows(BERT, "status")), (2, 1, 0));
    for request in ["reload", "stop"] {
        let output = host.mpctl(ANNE, ANNE, &[request]);
        assert!(said(&output).contains("`operators` of [access]"), "{}", said(&output));
    }
}

/// `[sandbox.uid.N]` means the user that a worker runs as, not the one that the daemon runs as.
#[test]
fn each_user_is_confined_as_the_configuration_says_for_him() {
    if !can_be_others() {
        return;
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let deny = "deny = ['no-ptrace']";
    writeln!(file, "[sandbox.uid.{ANNE}]\n{deny}\n[sandbox.uid.0]\n{deny}").unwrap();
    let host = host(&["--config", file.path().to_str().unwrap()]);
    let filters = |uid: u32| {
        let status = program::output(&mut host.stranger(uid, uid, &["status"]));
        field(&status, "Seccomp_filters").parse::<u32>().unwrap()
    };
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = field(&own, "Seccomp_filters").parse::<u32>().unwrap();
    assert_eq!((filters(ANNE), filters(BERT)), (own + 1, own));
}
