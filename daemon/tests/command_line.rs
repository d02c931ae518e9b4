//! The programs as their users run them: exit codes, and what comes out where.
#![allow(clippy::disallowed_methods, reason = "these tests start the programs")]

use std::process::{Command, Output};

const MPSERVERD: &str = env!("CARGO_BIN_EXE_mpserverd");
const MPCTL: &str = env!("CARGO_BIN_EXE_mpctl");

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("MPSERVERD_SOCKET").env_remove("MPSERVERD_MODULE_PATH");
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes() {
    for (program, arguments, code) in [
        (MPSERVERD, &["--help"][..], 0),
        (MPSERVERD, &["--version"], 0),
        (MPSERVERD, &["--check"], 0),
        (MPSERVERD, &["run", "--check", "--", "true"], 0),
        (MPSERVERD, &["--nonsense"], 100),
        (MPSERVERD, &["--spares", "5..2"], 100),
        (MPSERVERD, &["--max-workers", "0"], 100),
        (MPSERVERD, &["--config", "/no/such/file"], 100),
        (MPSERVERD, &["man", "--out", "/dev/null/x"], 111),
        (MPCTL, &["--help"], 0),
        (MPCTL, &["map", "--help"], 0),
        (MPCTL, &[], 100),
        (MPCTL, &["kill", "everybody"], 100),
    ] {
        let output = run(program, arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{program} {arguments:?}: {stderr}");
        assert_eq!(stderr.is_empty(), code == 0, "{program} {arguments:?}: {stderr}");
    }
}

#[test]
fn check_prints_what_is_in_force_or_every_fault() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("test.toml");
    let path = file.to_str().expect("text");
    std::fs::write(&file, "grace = '3s'\n").expect("file");
    let output = run(MPSERVERD, &["--check", "--config", path, "--spares", "1..4"]);
    let shown = text(&output.stdout);
    for part in ["spares = \"1..4\"", "# --spares", "grace = \"3s\"", "test.toml:1"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    std::fs::write(&file, "grace = 3\nspare = 4\n").expect("file");
    let output = run(MPSERVERD, &["--check", "--config", path]);
    let lines: Vec<_> = text(&output.stderr).lines().map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(100));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("error: {path}:1:9: `grace`: ")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("error: {path}:2:1: `spare`: ")), "{lines:?}");
}

#[test]
fn completions_and_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(MPCTL, &["completions", shell]).stdout);
        assert!(script.contains("map") && script.contains("unordered"), "{shell}");
        let script = text(&run(MPSERVERD, &["completions", shell]).stdout);
        assert!(script.contains("preload"), "{shell}");
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().to_str().expect("text");
    for program in [MPSERVERD, MPCTL] {
        assert!(text(&run(program, &["man"]).stdout).contains(".TH"));
        assert!(run(program, &["man", "--out", path]).status.success());
    }
    for page in ["mpserverd.1", "mpserverd-run.1", "mpctl.1", "mpctl-map.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}
