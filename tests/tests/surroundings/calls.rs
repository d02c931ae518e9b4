//! What the kernel lacks, or a filter of system calls forbids.

use crate::place::{Place, command, said};
use mpserverd_tests::build;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program that runs another in which a system call fails.
fn forbid() -> Option<PathBuf> {
    let source = build::workspace().join("tests/tests/surroundings/forbid.c");
    build::c_compile(&source, &[], "forbid")
}

/// The wrapper's command line for a call that fails as one that the kernel does not have.
fn without(forbid: &PathBuf, call: i64, error: i32) -> Command {
    let mut command = command(forbid);
    command.args([call.to_string(), error.to_string()]);
    command
}

#[test]
fn without_pidfds_it_does_not_start_and_says_why() {
    let Some(forbid) = forbid() else { return };
    for call in [libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal] {
        for error in [libc::EPERM, libc::ENOSYS] {
            let place = Place::new();
            let mut command = without(&forbid, call, error);
            command.arg(place.path("mpserverd")).arg("--socket").arg(place.socket());
            let output = command.stderr(Stdio::piped()).output().unwrap();
            let said = said(&output);
            // Another attempt would fail the same way.
            assert_eq!(output.status.code(), Some(100), "{said}");
            for words in ["pidfds", "Linux 5.10", "seccomp", "mpctl doctor"] {
                assert!(said.contains(words), "{words}: {said}");
            }
            assert!(!place.socket().exists(), "it left a socket");
        }
    }
}

#[test]
fn without_what_is_optional_it_works() {
    let Some(forbid) = forbid() else { return };
    for call in [libc::SYS_close_range, libc::SYS_futex_waitv, libc::SYS_landlock_create_ruleset] {
        let place = Place::new();
        let mut command = without(&forbid, call, libc::ENOSYS);
        command.arg(place.path("mpserverd")).arg("--socket").arg(place.socket());
        let daemon = place.start(command);
        daemon.works();
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn the_doctor_finds_what_is_missing() {
    let Some(forbid) = forbid() else { return };
    let place = Place::new();
    for (call, id, state, usable) in [
        (libc::SYS_pidfd_open, "kernel.pidfd", "fail", false),
        (libc::SYS_pidfd_send_signal, "kernel.pidfd", "fail", false),
        (libc::SYS_memfd_create, "kernel.memfd", "fail", false),
        (libc::SYS_close_range, "kernel.close_range", "warn", true),
        (libc::SYS_futex_waitv, "kernel.futex_waitv", "note", true),
        (libc::SYS_landlock_create_ruleset, "kernel.landlock", "note", true),
    ] {
        let mut command = without(&forbid, call, libc::EPERM);
        command.arg(place.path("mpctl")).args(["--json", "doctor", "--host-only"]);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!usable)), "{document}");
        assert_eq!(document["usable"], usable, "{document}");
        assert_eq!(finding(&document, id), state, "{document}");
    }
}

fn finding<'a>(document: &'a Value, id: &str) -> &'a str {
    let all = document["findings"].as_array().unwrap();
    let found = all.iter().find(|finding| finding["id"] == id);
    found.and_then(|finding| finding["state"].as_str()).unwrap_or("absent")
}

#[test]
fn without_new_control_groups_it_works_and_the_doctor_tells() {
    let place = Place::new();
    // What is left is version 1, or nothing.
    let script = "for at in $(sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) .* - cgroup2 .*/\\1/p' \
                  /proc/self/mountinfo); do umount -l $at; done";
    let Some(command) = place.daemon_in_mounts(script, &[]) else { return };
    let daemon = place.start(command);
    daemon.works();
    let pid = daemon.pid().to_string();
    let output = crate::place::command("nsenter")
        .args(["-m", "-t", &pid])
        .arg(place.path("mpctl"))
        .arg("--socket")
        .arg(place.socket())
        .args(["--json", "doctor"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(finding(&document, "cgroup.version"), "warn", "{document}");
    assert_eq!(document["usable"], true, "{document}");
    assert_eq!(daemon.stop(), Some(0));
}
