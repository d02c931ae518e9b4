//! Configurations that are wrong, one fault each: `--check` and the reload of a running daemon
//! refuse each with file, line and reason, in the same words, and the daemon serves on as if
//! nothing had been asked.
//!
//! | file | holds |
//! |---|---|
//! | `table.rs` | texts that are wrong |
//! | `files.rs` | files that are wrong before anybody reads them |
//!
//! `cargo test -p mpserverd --test broken_configurations -- --nocapture` prints every message.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "this test starts programs")]

mod files;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const MPSERVERD: &str = env!("CARGO_BIN_EXE_mpserverd");
const MPCTL: &str = env!("CARGO_BIN_EXE_mpctl");
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon whose configuration is about to be broken.
struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
    generation: u64,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn private(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in ["MPSERVERD_SOCKET", "MPSERVERD_MODULE_PATH", "NOTIFY_SOCKET", "LISTEN_FDS"] {
        command.env_remove(name);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("test.toml");
        std::fs::write(&file, "").expect("file");
        let child = private(MPSERVERD)
            .arg("--socket")
            .arg(folder.path().join("socket"))
            .arg("--config")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("mpserverd starts");
        let mut daemon = Self { child, folder, generation: 0 };
        let until = Instant::now() + PATIENCE;
        while !daemon.mpctl(&["ping"]).status.success() {
            assert!(Instant::now() < until, "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon.generation = daemon.status()["generation"].as_u64().expect("a number");
        daemon
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("test.toml")
    }

    fn mpctl(&self, arguments: &[&str]) -> Output {
        let mut command = private(MPCTL);
        command.arg("--socket").arg(self.folder.path().join("socket")).args(arguments);
        command.output().expect("mpctl runs")
    }

    fn status(&self) -> serde_json::Value {
        let output = self.mpctl(&["--json", "status"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// What is refused, each line for itself: by a check and by a reload.
    fn refusals(&self) -> (Vec<String>, Vec<String>) {
        let file = self.file();
        let checked = private(MPSERVERD).arg("--check").arg("--config").arg(&file).output();
        let checked = checked.expect("mpserverd runs");
        let said = text(&checked.stderr);
        assert_eq!(checked.status.code(), Some(100), "{said}");
        assert!(checked.stdout.is_empty(), "{}", text(&checked.stdout));
        let by_check = said.lines().map(|line| {
            line.strip_prefix("error: ").unwrap_or_else(|| panic!("{said}")).to_owned()
        });
        let reloaded = self.mpctl(&["reload"]);
        let told = text(&reloaded.stderr);
        assert_eq!(reloaded.status.code(), Some(111), "{told}");
        assert!(reloaded.stdout.is_empty());
        let why =
            told.split_once("everything is as it was: ").unwrap_or_else(|| panic!("{told}")).1;
        let by_reload = why.trim_end().split(" | ");
        (by_check.collect(), by_reload.map(str::to_owned).collect())
    }

    /// Refuses what the file holds now, with this place and reason, and serves on.
    fn refuses(&self, what: &str, place: &str, reason: &str) {
        let (by_check, by_reload) = self.refusals();
        println!("--- {what}\n{}", by_check.join("\n"));
        assert_eq!(by_check, by_reload, "{what}: the same words from both");
        let begins = format!("{}{place}", self.file().display());
        let fits = |line: &String| line.starts_with(&begins) && line.contains(reason);
        assert!(by_check.iter().any(fits), "{what}\nwanted {begins} … {reason}, got {by_check:#?}");
        for line in &by_check {
            assert!(line.len() < 2000, "{what}: a message of {} bytes", line.len());
            assert!(!line.chars().any(char::is_control), "{what}: {line:?}");
        }
        self.is_undisturbed();
    }

    fn is_undisturbed(&self) {
        let status = self.status();
        assert_eq!(status["generation"].as_u64(), Some(self.generation), "{status}");
        assert_eq!(status["templates"].as_array().map(Vec::len), Some(1), "{status}");
        assert_eq!(status["templates"][0]["state"], "ready", "{status}");
    }
}

/// Writes what a path of a table stands for.
fn fill(text: &str, folder: &Path) -> String {
    text.replace("{folder}", &folder.display().to_string())
}

#[test]
fn every_text_is_refused_with_place_and_reason() {
    let daemon = Daemon::start();
    // The first template is about to be ready.
    let until = Instant::now() + PATIENCE;
    while daemon.status()["templates"][0]["state"] != "ready" {
        assert!(Instant::now() < until, "{}", daemon.status());
        std::thread::sleep(Duration::from_millis(10));
    }
    table::prepare(daemon.folder.path());
    assert!(table::BROKEN.len() >= 50, "{}", table::BROKEN.len());
    for (text, place, reason) in table::BROKEN {
        let text = fill(text, daemon.folder.path());
        std::fs::write(daemon.file(), &text).expect("file");
        daemon.refuses(&text, place, reason);
    }
    // All that, and it still reads a good one.
    std::fs::write(daemon.file(), "grace = '3s'\n").expect("file");
    let reloaded = daemon.mpctl(&["reload"]);
    assert!(reloaded.status.success(), "{}", text(&reloaded.stderr));
    assert_eq!(daemon.status()["generation"].as_u64(), Some(daemon.generation + 1));
}
