//! Files that are wrong before anybody reads them.

use super::{Daemon, MPSERVERD, PATIENCE, private, text};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::time::Instant;

fn settle(daemon: &Daemon) {
    let until = Instant::now() + PATIENCE;
    while daemon.status()["templates"][0]["state"] != "ready" {
        assert!(Instant::now() < until, "{}", daemon.status());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn what_is_no_file_is_refused_and_nobody_waits_for_it() {
    let daemon = Daemon::start();
    settle(&daemon);
    let file = daemon.file();
    let other = daemon.folder.path().join("other.toml");

    fs::remove_file(&file).unwrap();
    daemon.refuses("missing", ": ", "cannot open: No such file");

    fs::create_dir(&file).unwrap();
    daemon.refuses("a directory", ": ", "is a directory");
    fs::remove_dir(&file).unwrap();

    symlink(&other, &file).unwrap();
    symlink(&file, &other).unwrap();
    daemon.refuses("links in a circle", ": ", "Too many levels of symbolic links");
    fs::remove_file(&other).unwrap();
    daemon.refuses("a link to nothing", ": ", "cannot open: No such file");
    fs::remove_file(&file).unwrap();

    // Whoever opens this one for reading waits until somebody writes.
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    daemon.refuses("a pipe", ": ", "is not a regular file");
    fs::remove_file(&file).unwrap();

    symlink("/dev/zero", &file).unwrap();
    daemon.refuses("a device without an end", ": ", "is not a regular file");
    fs::remove_file(&file).unwrap();

    // A gigabyte that takes no room.
    File::create(&file).unwrap().set_len(1 << 30).unwrap();
    daemon.refuses("a huge file", ": ", "is larger than 1048576 bytes");

    for (bytes, place, reason) in [
        (&b"grace = '1s'\n# \xff\n"[..], ":2:3: ", "is not UTF-8 from here on"),
        (b"\xff\xfeg\0r\0a\0c\0e\0", ":1:1: ", "is not UTF-8 from here on"),
        (b"grace = '1s'\n\0\0\0\0", ":2:", ""),
        (b"\x7fELF\x02\x01\x01\0\0\0", ":1:", ""),
        ("x = 1\n".repeat(9).as_bytes(), ":2:1: ", "duplicate key `x`"),
    ] {
        fs::write(&file, bytes).unwrap();
        daemon.refuses(&text(bytes), place, reason);
    }
    // A fault a line, a hundred thousand times: told in part.
    let many: String = (0..100_000).map(|n| format!("x{n}=1\n")).collect();
    fs::write(&file, many).unwrap();
    daemon.refuses("many faults", ":1:1: `x0`", "unknown key");
    let (told, _) = daemon.refusals();
    let last = told.last().expect("something");
    assert!(last.ends_with("test.toml:51:1: and 99950 more unknown keys"), "{last}");
    fs::write(&file, "").unwrap();
    assert!(daemon.mpctl(&["reload"]).status.success());
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join("test.toml");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = private(MPSERVERD);
    command.args(["--socket", "/run/nobody/socket", "--check", "--config"]).arg(&file);
    if nix::unistd::geteuid().is_root() {
        // Root reads everything; the program must be where anybody can execute it.
        let program = folder.path().join("mpserverd");
        // By a program of its own: a descriptor of ours that a fork still has open for writing
        // would keep it from being executed.
        let copied = std::process::Command::new("cp").arg(MPSERVERD).arg(&program).status();
        assert!(copied.unwrap().success());
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = private(program.to_str().unwrap());
        command.args(arguments).uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(100), "{said}");
    let wanted = format!("error: {}: cannot open: Permission denied", file.display());
    assert!(said.starts_with(&wanted), "{said}");
}

#[test]
fn a_module_that_may_be_missing_is_a_warning_of_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.toml");
    fs::write(&file, "preload = ['shop']\n").unwrap();
    let output = private(MPSERVERD).arg("--check").arg("--config").arg(&file).output().unwrap();
    let (said, shown) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with(&format!("warning: {}:1:11: `preload`", file.display())), "{said}");
    assert!(shown.contains("preload = [\"shop\"]"), "{shown}");
}

#[test]
fn what_takes_a_restart_is_a_warning_of_the_reload() {
    let daemon = Daemon::start();
    settle(&daemon);
    fs::write(daemon.file(), "log_level = 'debug'\npid_file = '/x/y'\ngrace = '1s'\n").unwrap();
    let output = daemon.mpctl(&["reload"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for key in ["log_level", "pid_file"] {
        assert!(said.contains(&format!("`{key}` has changed, which takes a restart")), "{said}");
    }
    assert!(!said.contains("grace"), "{said}");
}
