//! A daemon of the machine, as units that `mpctl install-units` writes.

use crate::machine::{Machine, PROGRAMS, Said};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use serde_json::Value;
use std::process::{Child, Stdio};

/// One instance: `mpserverd@NAME`. Dropped, it is stopped, whatever came of it.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    pub(crate) machine: &'a Machine,
    name: String,
    pub(crate) unit: String,
    pub(crate) socket_unit: String,
    /// Who starts workers.
    client: &'static str,
}

/// What an instance is made from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recipe<'a> {
    /// Drop-ins that are installed with it.
    pub(crate) profiles: &'a [&'a str],
    /// More lines for its configuration, which has the module `misbehave` preloaded.
    pub(crate) configuration: &'a str,
    /// Lines of a drop-in of its own.
    pub(crate) settings: &'a str,
}

impl<'a> Service<'a> {
    /// Installs an instance whose workers run as root, and starts its socket.
    pub(crate) fn install(machine: &'a Machine, name: &str, recipe: Recipe<'_>) -> Self {
        let multi = [recipe.profiles, &["multi-user"]].concat();
        Self::install_for(machine, name, "root", Recipe { profiles: &multi, ..recipe })
    }

    /// Installs an instance for this client, and starts its socket.
    pub(crate) fn install_for(
        machine: &'a Machine,
        name: &str,
        client: &'static str,
        recipe: Recipe<'_>,
    ) -> Self {
        let mut words = vec!["mpctl", "install-units", "--system", "--instance", name];
        recipe.profiles.iter().for_each(|profile| words.extend(["--profile", profile]));
        machine.run(&words).ok();
        let service = Self {
            machine,
            name: name.to_owned(),
            unit: format!("mpserverd@{name}.service"),
            socket_unit: format!("mpserverd@{name}.socket"),
            client,
        };
        service.configure(recipe.configuration);
        let folder = format!("/etc/systemd/system/{}.d", service.unit);
        let settings = format!("[Service]\n{}\n", recipe.settings);
        machine.write(&format!("{folder}/test.conf"), &settings);
        machine
            .run(&[
                "sh",
                "-c",
                "systemd-sysusers mpserverd.conf && systemd-tmpfiles --create mpserverd.conf",
            ])
            .ok();
        machine.run(&["systemctl", "daemon-reload"]).ok();
        machine.run(&["systemctl", "start", &service.socket_unit]).ok();
        service
    }

    /// Writes its configuration: these lines from the second on.
    pub(crate) fn configure(&self, lines: &str) {
        let path = format!("/etc/mpserverd/{}.toml", self.name);
        let preload = format!("preload = [\"{PROGRAMS}/libmisbehave.so\"]");
        // Nothing here is worth ten seconds to finish in.
        let grace = if lines.contains("grace") { "" } else { "grace = \"200ms\"" };
        self.machine.write(&path, &format!("{preload}\n{lines}\n{grace}\n"));
    }

    /// `systemctl VERB` for the service.
    pub(crate) fn systemctl(&self, verb: &str) -> Said {
        self.machine.run(&["systemctl", verb, &self.unit])
    }

    /// A property of the service.
    pub(crate) fn property(&self, name: &str) -> String {
        self.machine.property(&self.unit, name)
    }

    /// Waits until a property has a value.
    ///
    /// # Panics
    /// With the journal when it does not come to have it.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, value: &str) {
        let met = eventually(PATIENCE, || self.property(name) == value);
        assert!(met, "{name} is {}, not {value}\n{}", self.property(name), self.journal());
    }

    /// Its main process.
    pub(crate) fn main_pid(&self) -> u32 {
        self.property("MainPID").parse().expect("a pid")
    }

    /// Waits for a main process that is not this one, and is ready.
    #[track_caller]
    pub(crate) fn wait_for_another(&self, old: u32) -> u32 {
        let met = eventually(PATIENCE, || {
            let new = self.main_pid();
            new != 0 && new != old && self.property("SubState") == "running"
        });
        assert!(met, "no other main process:\n{}", self.journal());
        self.main_pid()
    }

    /// What its journal says.
    pub(crate) fn journal(&self) -> String {
        self.machine.journal(&self.unit)
    }

    /// `mpctl`, as root.
    pub(crate) fn mpctl(&self, words: &[&str]) -> Said {
        self.mpctl_as("root", words)
    }

    /// `mpctl`, as somebody.
    pub(crate) fn mpctl_as(&self, user: &str, words: &[&str]) -> Said {
        let socket = self.socket();
        self.machine.run_as(user, &[&["mpctl", "--socket", &socket], words].concat())
    }

    /// Where its socket is.
    pub(crate) fn socket(&self) -> String {
        format!("/run/mpserverd/{}.sock", self.name)
    }

    /// A report of `mpctl --json`.
    #[track_caller]
    pub(crate) fn report(&self, command: &str) -> Value {
        self.report_of("root", command)
    }

    /// A report of `mpctl --json`, as somebody sees it.
    #[track_caller]
    pub(crate) fn report_of(&self, user: &str, command: &str) -> Value {
        let said = self.mpctl_as(user, &["--json", command]);
        serde_json::from_str(said.ok()).expect("JSON")
    }

    /// A client that waits for a worker which sleeps for ever, and the worker's pid.
    ///
    /// # Panics
    /// When there is no such worker.
    #[track_caller]
    pub(crate) fn sleeper(&self, name: &str) -> Sleeper {
        self.sleeper_of(self.client, name)
    }

    /// The same for a client of this user.
    #[track_caller]
    pub(crate) fn sleeper_of(&self, user: &str, name: &str) -> Sleeper {
        let socket = self.socket();
        let words = ["mpctl", "--socket", &socket, "run", "--name", name, "misbehave.sleep_ms"];
        let words = [&words[..], &["600000"]].concat();
        let client = self.machine.prepare(user, &words);
        let client = { client }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut pid = None;
        let met = eventually(PATIENCE, || {
            pid = self.worker(name);
            pid.is_some()
        });
        assert!(met, "no worker {name}:\n{}", self.journal());
        Sleeper { client: client.expect("nsenter runs"), pid: pid.expect("it is there") }
    }

    /// The pid of the worker of this name.
    pub(crate) fn worker(&self, name: &str) -> Option<u32> {
        let said = self.mpctl(&["--json", "ps"]);
        let report: Value = serde_json::from_str(&said.out).ok()?;
        let rows = report["workers"].as_array()?;
        let row = rows.iter().find(|row| row["process"]["name"] == name)?;
        row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- journal of {}\n{}---", self.unit, self.journal());
        }
        let units = [self.socket_unit.as_str(), self.unit.as_str()];
        self.machine.run(&[&["systemctl", "stop"], &units[..]].concat());
        self.machine.run(&[&["systemctl", "reset-failed"], &units[..]].concat());
    }
}

/// A client in the middle of `mpctl run`, and its worker.
#[derive(Debug)]
pub(crate) struct Sleeper {
    client: Child,
    pub(crate) pid: u32,
}

impl Sleeper {
    /// Whether the client still waits.
    pub(crate) fn waits(&mut self) -> bool {
        matches!(self.client.try_wait(), Ok(None))
    }

    /// The exit code of the client.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub(crate) fn code(&mut self) -> i32 {
        assert!(eventually(PATIENCE, || !self.waits()), "the client does not end");
        self.client.wait().expect("a child").code().unwrap_or(-1)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
