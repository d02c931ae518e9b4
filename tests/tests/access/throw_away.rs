//! A daemon that is not root serves others with workers of its own user.

use crate::host::{ANNE, BERT, DAEMON, Host, MEMBERS, PATIENCE, can_be_others, field, said};
use mpserverd_tests::{eventually, proc, program};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

fn members() -> String {
    MEMBERS.to_string()
}

#[test]
fn members_get_workers_of_the_daemons_user() {
    if !can_be_others() {
        return;
    }
    let host = Host::activated(DAEMON, &["--allow-group", &members()]);
    let status = program::output(&mut host.stranger(ANNE, MEMBERS, &["status"]));
    assert_eq!(field(&status, "Uid"), vec![DAEMON.to_string(); 4].join(" "));
    let refused = program::output(&mut host.stranger(BERT, BERT, &["status"]));
    let why = format!("not permitted for uid {BERT}: this daemon of uid {DAEMON}");
    assert!(refused.contains(&why) && refused.contains("`groups` of [access]"), "{refused}");
    // Root looks and controls, but is not served unless that is said.
    let refused = program::output(&mut host.stranger(0, 0, &["status"]));
    assert!(refused.contains("`users` or `groups` of [access]"), "{refused}");
    assert!(host.mpctl(0, 0, &["ps"]).status.success());
}

#[test]
fn a_client_ends_a_worker_that_it_may_not_signal() {
    if !can_be_others() {
        return;
    }
    let host = Host::activated(DAEMON, &["--allow-group", &members()]);
    let mut command = host.stranger(ANNE, MEMBERS, &["hold"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines.next().unwrap().unwrap().parse::<u32>().unwrap();
    assert!(proc::is_running(pid));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "-15");
    assert!(child.wait().unwrap().success());
    assert!(eventually(PATIENCE, || !proc::is_running(pid)));
}

#[test]
fn only_operators_control() {
    if !can_be_others() {
        return;
    }
    let host = Host::activated(DAEMON, &["--allow-group", &members(), "--operator", "root"]);
    for (uid, gid) in [(ANNE, MEMBERS), (DAEMON, DAEMON)] {
        for request in ["reload", "stop"] {
            let output = host.mpctl(uid, gid, &[request]);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(111), "{uid} {request}: {said}");
            assert!(said.contains("`operators` of [access]"), "{uid} {request}: {said}");
        }
        assert!(host.mpctl(uid, gid, &["ping"]).status.success());
    }
    let stranger = host.mpctl(BERT, BERT, &["ping"]);
    assert!(said(&stranger).contains(&format!("not permitted for uid {BERT}")));
    for request in ["reload", "stop"] {
        let output = host.mpctl(0, 0, &[request]);
        assert!(output.status.success(), "{request}: {}", said(&output));
    }
}

#[test]
fn a_daemon_that_makes_its_socket_itself_must_be_trusted_by_word() {
    if !can_be_others() {
        return;
    }
    let host = Host::own(DAEMON, &["--allow-user", &ANNE.to_string()]);
    let refused = program::output(&mut host.stranger(ANNE, ANNE, &["status"]));
    assert!(refused.contains(&format!("MPSERVERD_TRUST_UID={DAEMON}")), "{refused}");
    let mut trusting = host.stranger(ANNE, ANNE, &["status"]);
    let status = program::output(trusting.env("MPSERVERD_TRUST_UID", DAEMON.to_string()));
    assert!(field(&status, "Uid").starts_with(&DAEMON.to_string()), "{status}");
}
