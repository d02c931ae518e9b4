//! Reloads: under load, of what is broken, twice at once, and what becomes of old workers.
//!
//! | file | holds |
//! |---|---|
//! | [`load`] | many starts a second meanwhile, none of which fails |
//! | [`generations`] | workers and leases of the generation that is gone |
//! | [`faults`] | new templates that do not work, in every way that they may not |
//! | [`at_once`] | two at once, and one while a template loads |
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod at_once;
mod faults;
mod generations;
mod load;

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, value};
use mpserverd_tests::{eventually, proc};
use serde_json::Value;
use std::path::PathBuf;

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// A daemon with a configuration file that can be changed.
struct Host {
    daemon: Daemon,
    folder: tempfile::TempDir,
}

impl Host {
    fn start(text: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mpserverd.toml");
        std::fs::write(&file, text).unwrap();
        let arguments = ["--config", file.to_str().unwrap()];
        let daemon = Daemon::start_with(&arguments, environment);
        let host = Self { daemon, folder };
        host.settles();
        host
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("mpserverd.toml")
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// The generation that serves after it, or why nothing has changed.
    fn reload(&self) -> Result<u64, String> {
        let output = self.daemon.mpctl(&["--json", "reload"]);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let reloaded: Value = serde_json::from_slice(&output.stdout).unwrap();
        Ok(reloaded["generation"].as_u64().unwrap())
    }

    fn status(&self) -> Value {
        let output = self.daemon.mpctl(&["--json", "status"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn generation(&self) -> u64 {
        self.status()["generation"].as_u64().unwrap()
    }

    /// Rows of templates of a generation in a state.
    fn templates(&self, generation: u64, state: &str) -> Vec<Value> {
        let status = self.status();
        let rows = status["templates"].as_array().unwrap().iter();
        let own =
            |row: &&Value| row["generation"].as_u64() == Some(generation) && row["state"] == state;
        rows.filter(own).cloned().collect()
    }

    /// Waits until no template loads.
    fn settles(&self) {
        let loads = |row: &Value| row["state"] == "loading";
        let settled = || !self.status()["templates"].as_array().unwrap().iter().any(loads);
        assert!(eventually(PATIENCE, settled), "{}", self.status());
    }

    /// Kills the default template of a generation that loads and would do so for long.
    fn kill_what_loads(&self, generation: u64) {
        let mut victim = None;
        let loads = || {
            let rows = self.templates(generation, "loading");
            let default = rows.iter().find(|row| row["name"] == "default");
            victim = default.and_then(|row| row["pid"].as_u64());
            victim.is_some()
        };
        assert!(eventually(PATIENCE, loads), "{}", self.status());
        let pid = u32::try_from(victim.unwrap()).unwrap();
        proc::kill_exactly(proc::identity(pid).unwrap());
    }

    fn serves(&self) {
        assert_eq!(value(self.daemon.context().process::<square>((12,))), 144);
    }
}
