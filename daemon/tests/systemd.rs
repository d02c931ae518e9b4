//! The units: what `systemd-analyze` has to say, and that each line gives its reason.
#![allow(clippy::disallowed_methods, reason = "this test starts a program")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// Copies units into a folder, with the programs of this build in place of the installed ones.
fn staged(from: &Path, to: &Path) -> Vec<PathBuf> {
    let stage = |name: &str| {
        let text = std::fs::read_to_string(from.join(name)).expect(name);
        let text = text
            .replace("/usr/bin/mpserverd", env!("CARGO_BIN_EXE_mpserverd"))
            .replace("/usr/bin/mpctl", env!("CARGO_BIN_EXE_mpctl"));
        // Manual pages are not installed here.
        let kept: Vec<_> =
            text.lines().filter(|line| !line.starts_with("Documentation=")).collect();
        let path = to.join(name);
        std::fs::write(&path, kept.join("\n") + "\n").expect("unit");
        path
    };
    ["mpserverd.socket", "mpserverd.service"].map(stage).into()
}

#[test]
fn systemd_has_nothing_to_say() {
    for (flag, from) in [("--system", folder()), ("--user", folder().join("user"))] {
        let stage = tempfile::tempdir().expect("folder");
        let units = staged(&from, stage.path());
        let mut command = Command::new("systemd-analyze");
        command.args([flag, "verify"]).args(units);
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", stage.path().display()));
        // The user manager wants to know where its sockets go.
        command.env("XDG_RUNTIME_DIR", stage.path());
        let Ok(output) = command.output() else {
            println!("skipped: systemd-analyze is not installed");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let ours: Vec<_> = said.lines().filter(|line| line.contains("mpserverd")).collect();
        assert!(ours.is_empty(), "{flag}: {said}");
        assert!(output.status.success(), "{flag}: {said}");
    }
}

#[test]
fn every_line_gives_its_reason() {
    for name in
        ["mpserverd.socket", "mpserverd.service", "user/mpserverd.socket", "user/mpserverd.service"]
    {
        let text = std::fs::read_to_string(folder().join(name)).expect(name);
        let mut before = "";
        for line in text.lines() {
            let setting = line.contains('=') && !line.starts_with('#');
            let reasoned = before.starts_with('#') || line.starts_with("Description=");
            assert!(!setting || reasoned, "{name}: {line}");
            before = line;
        }
    }
}
