//! Folders that cannot be written, and sockets that are taken.

use crate::place::{Place, said};
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, proc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::process::Stdio;

/// A file that is full at the first byte.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_log_that_takes_nothing_is_no_reason_to_end() {
    for log_file in [false, true] {
        let place = Place::new();
        let arguments: &[&str] = if log_file { &["--log-file", "/dev/full"] } else { &[] };
        let mut command = place.daemon(arguments);
        command.args(["--log-level", "trace"]).stdout(full()).stderr(full());
        let daemon = place.start(command);
        daemon.works();
        assert!(daemon.mpctl(&["reload"]).status.success());
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn a_log_that_nobody_reads_any_more_is_none_either() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = place.daemon(&["--log-level", "trace"]);
    command.stderr(writer);
    let daemon = place.start(command);
    drop(reader);
    daemon.works();
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_full_disk_costs_the_log_and_the_pid_file() {
    let place = Place::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let script = "mount -t tmpfs -o size=64k tmpfs disk\n\
                  dd if=/dev/zero of=disk/filler bs=4k 2>/dev/null || true";
    let (pid_file, log) = (disk.join("pid"), disk.join("log"));
    let arguments = ["--pid-file", pid_file.to_str().unwrap(), "--log-file", log.to_str().unwrap()];
    let Some(command) = place.daemon_in_mounts(script, &arguments) else { return };
    let daemon = place.start(command);
    daemon.works();
    let seen = |name: &str| {
        std::path::PathBuf::from(format!(
            "/proc/{}/root{}",
            daemon.pid(),
            disk.join(name).display()
        ))
    };
    assert!(!seen("pid").exists(), "half a pid file is worse than none");
    assert_eq!(fs::read(seen("log")).unwrap(), b"");
    // Once there is room, there are lines again.
    fs::remove_file(seen("filler")).unwrap();
    assert!(daemon.mpctl(&["reload"]).status.success());
    let logs = eventually(PATIENCE, || !fs::read(seen("log")).unwrap().is_empty());
    assert!(logs, "no line after there was room");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_read_only_folder_is_named_with_the_remedy() {
    let place = Place::new();
    let script = "mount --bind run run && mount -o remount,bind,ro run";
    let Some(mut command) = place.daemon_in_mounts(script, &[]) else { return };
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(111), "{said}");
    for words in ["run/socket", "Read-only file system", "choose another --socket"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn one_socket_has_one_daemon_however_many_start() {
    let place = Place::new();
    let daemon = place.start(place.daemon(&[]));
    let rivals = (0..5).map(|_| place.daemon(&[]).stderr(Stdio::piped()).spawn().unwrap());
    let rivals = rivals.collect::<Vec<_>>();
    for rival in rivals {
        let output = rival.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(111), "{}", said(&output));
        assert!(said(&output).contains("another mpserverd (pid "), "{}", said(&output));
    }
    daemon.works();
    // A killed one leaves its socket file; of many that come then, one has it.
    kill(Pid::from_raw(daemon.pid() as i32), Signal::SIGKILL).unwrap();
    // Until it is dead, it still serves.
    assert!(eventually(PATIENCE, || !proc::is_running(daemon.pid())));
    let spawn = |_| place.daemon(&[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut rivals = (0..5).map(spawn).collect::<Vec<_>>();
    let settled = eventually(PATIENCE, || {
        rivals.retain_mut(|rival| rival.try_wait().unwrap().is_none());
        rivals.len() == 1
    });
    assert!(settled, "{} daemons on one socket", rivals.len());
    daemon.works();
    for mut rival in rivals {
        kill(Pid::from_raw(rival.id() as i32), Signal::SIGTERM).unwrap();
        assert!(rival.wait().unwrap().success());
    }
}
