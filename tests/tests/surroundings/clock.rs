//! A date that jumps: all that is timed goes by a clock that does not.

use crate::place::Place;
use mpserverd_tests::build;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn a_jumping_date_changes_nothing_but_the_log() {
    let source = build::workspace().join("tests/tests/surroundings/jumps.c");
    let flags = ["-fPIC", "-shared"].map(Into::into);
    let Some(jumps) = build::c_compile(&source, &flags, "jumps.so") else { return };
    let place = Place::new();
    let log = place.path("log");
    let mut command = place.daemon(&["--log-file", log.to_str().unwrap(), "--log-level", "debug"]);
    // Templates and workers have it too.
    command.env("LD_PRELOAD", &jumps).args(["--idle-timeout", "1s"]);
    let daemon = place.start(command);
    daemon.works();
    let status = || -> serde_json::Value {
        serde_json::from_slice(&daemon.mpctl(&["--json", "status"]).stdout).unwrap()
    };
    // A template that has nothing to do is dropped after its time, neither at once nor never.
    let templates = |status: serde_json::Value| status["templates"].as_array().unwrap().len();
    let gone =
        mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || templates(status()) <= 1);
    assert!(gone, "{}", status());
    std::thread::sleep(Duration::from_millis(200));
    daemon.works();
    let up = status()["uptime_ms"].as_u64().unwrap();
    assert!(up < 10 * 60 * 1000, "{up}");
    assert_eq!(daemon.stop(), Some(0));
    // It did jump.
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("2001-09-09") && log.contains("2033-05-18"), "{log}");
}

/// All Rust files below a folder, but for tests: those may look how long something took.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("tests") {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_book_asks_for_no_time() {
    let core = sources(&build::workspace().join("daemon/src/core"));
    assert!(core.len() > 10, "{core:?}");
    for path in &core {
        let text = std::fs::read_to_string(path).unwrap();
        for word in ["SystemTime", "Instant::now", "clock_gettime"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
