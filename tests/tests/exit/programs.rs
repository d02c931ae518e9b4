//! Handlers of a program that no library started, and of its forks.

use mpserverd_tests::program;
use std::process::Stdio;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");

/// What the program prints, and its exit status.
fn ended_by(way: &str) -> (String, std::process::ExitStatus) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program::command(SUBJECT, directory.path());
    command.args(["exit-handlers", way]).stderr(Stdio::null());
    let output = command.output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status)
}

/// What forks of the program print: their own, not the program's.
const FORKS: &str = "the fork's own\n";

#[test]
fn a_normal_end_runs_them_before_children_are_ended() {
    let handlers = "last, with a child that runs: true\nby a handler\nfirst\n";
    for (way, code) in [("return", 0), ("exit", 7), ("exit-in-a-thread", 7), ("panic", 101)] {
        let (output, status) = ended_by(way);
        assert_eq!(output, format!("{FORKS}{handlers}"), "{way}");
        assert_eq!(status.code(), Some(code), "{way}");
    }
}

#[test]
fn any_other_end_runs_none() {
    use std::os::unix::process::ExitStatusExt;
    for (way, signal) in [("abort", 6), ("kill", 9)] {
        let (output, status) = ended_by(way);
        assert_eq!((&*output, status.signal()), (FORKS, Some(signal)), "{way}");
    }
}
