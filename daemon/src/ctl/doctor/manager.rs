//! systemd, where there is one: its version, and what it says about the daemon's units.

use super::finding::{Finding, Thing};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

const VERSION: Thing = Thing("systemd.version", "systemd");
const SERVICE: Thing = Thing("systemd.service", "its service");
const SOCKET: Thing = Thing("systemd.socket", "its socket unit");

/// The oldest version that the units are made for.
pub(in crate::ctl) const OLDEST: u32 = 252;
/// How long the manager may take to answer.
const ANSWER_MS: u16 = 5000;
/// What it is asked about a unit.
const PROPERTIES: &str =
    "--property=Id,LoadState,ActiveState,SubState,UnitFileState,Result,NeedDaemonReload,NRestarts";

/// What the manager says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `None` where systemd does not run.
    version: Option<u32>,
    /// That of a user, not of the system.
    user: bool,
    service: Option<Unit>,
    socket: Option<Unit>,
}

/// Properties of a unit that is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unit(HashMap<String, String>);

impl Facts {
    /// Asks the managers about the units behind this socket.
    pub(super) fn gather(socket: &Path) -> Self {
        if !Path::new("/run/systemd/system").is_dir() {
            return Self::default();
        }
        let version = installed();
        let [service, socket] = names(socket);
        for user in [true, false] {
            let manager = if user { "--user" } else { "--system" };
            let said = systemctl(&[manager, "show", PROPERTIES, &service, &socket]);
            let units = said.map(|text| units(&text)).unwrap_or_default();
            let find = |name: &str| units.iter().find(|unit| unit.is(name)).cloned();
            let (service, socket) = (find(&service), find(&socket));
            if service.is_some() || socket.is_some() {
                return Self { version, user, service, socket };
            }
        }
        Self { version, ..Self::default() }
    }

    /// What that means; about the units only where they are wanted already.
    pub(super) fn judge(&self, host_only: bool) -> Vec<Finding> {
        let Some(version) = self.version else {
            return vec![VERSION.note(
                "does not run here",
                "nothing starts the daemon again after a crash, or at the first client",
                "run it in the foreground under a supervisor of your choice, or with --daemonize",
            )];
        };
        let found = format!("version {version}");
        let mut findings = vec![if version >= OLDEST {
            VERSION.ok(found)
        } else {
            let cost = "units are tested with 252 and later; older ones ignore some of their lines";
            VERSION.warn(found, cost, "systemd 252 or later")
        }];
        if !host_only {
            findings.push(self.judge_service());
            findings.extend(self.socket.as_ref().map(|socket| self.judge_socket(socket)));
        }
        findings
    }

    fn judge_service(&self) -> Finding {
        let systemctl = self.systemctl();
        let Some(unit) = &self.service else {
            return SERVICE.note(
                "not installed",
                "nothing starts the daemon again after a crash, or at the first client",
                "mpctl install-units",
            );
        };
        let (id, restarts) = (unit.get("Id"), unit.get("NRestarts").parse().unwrap_or(0_u32));
        let state = unit.state();
        let logs = if self.user { "journalctl --user -u" } else { "journalctl -u" };
        if unit.get("ActiveState") == "failed" {
            let cost = "systemd does not start it again by itself";
            let remedy = format!("{logs} {id}; then {systemctl} reset-failed and start {id}");
            return SERVICE.warn(format!("{id} failed: {}", unit.get("Result")), cost, &remedy);
        }
        if unit.get("NeedDaemonReload") == "yes" {
            let cost = "its unit or a drop-in was changed, and the change has no effect yet";
            let remedy = format!("{systemctl} daemon-reload, then restart {id}");
            return SERVICE.warn(state, cost, &remedy);
        }
        if restarts > 0 {
            let cost = "clients that came meanwhile waited; workers lived on";
            let found = format!("{state}, started again {restarts} time(s) after a crash");
            return SERVICE.note(found, cost, &format!("{logs} {id} says why"));
        }
        SERVICE.ok(state)
    }

    fn judge_socket(&self, unit: &Unit) -> Finding {
        let (id, systemctl) = (unit.get("Id"), self.systemctl());
        match unit.get("ActiveState") {
            "active" => SOCKET.ok(unit.state()),
            "failed" => SOCKET.warn(
                format!("{id} failed: {}", unit.get("Result")),
                "no client starts the daemon",
                &format!("mend the service, then {systemctl} reset-failed and start {id}"),
            ),
            _ => SOCKET.note(
                unit.state(),
                "no client starts the daemon, and clients fail while it restarts",
                &format!("{systemctl} enable --now {id}"),
            ),
        }
    }

    fn systemctl(&self) -> &'static str {
        if self.user { "systemctl --user" } else { "systemctl" }
    }
}

impl Unit {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn is(&self, name: &str) -> bool {
        self.get("Id") == name && self.get("LoadState") != "not-found"
    }

    /// `active (running), enabled`.
    fn state(&self) -> String {
        let [id, active, sub, file] =
            ["Id", "ActiveState", "SubState", "UnitFileState"].map(|name| self.get(name));
        format!("{id}: {active} ({sub}), {file}")
    }
}

/// Service and socket unit of the daemon behind a socket: an instance has the instance's name.
fn names(socket: &Path) -> [String; 2] {
    let stem = socket.file_stem().unwrap_or_default().to_string_lossy();
    let instance = socket.parent() == Some(Path::new("/run/mpserverd")) && stem != "mpserverd";
    let name = if instance { format!("mpserverd@{stem}") } else { "mpserverd".to_owned() };
    [format!("{name}.service"), format!("{name}.socket")]
}

/// The version of systemd that is installed here, whether it runs or not.
pub(in crate::ctl) fn installed() -> Option<u32> {
    systemctl(&["--version"]).as_deref().and_then(version)
}

/// `systemd 252 (252.38-1)`.
fn version(text: &str) -> Option<u32> {
    let word = text.split_whitespace().nth(1)?;
    word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Blocks of `NAME=VALUE`, with an empty line between two.
fn units(text: &str) -> Vec<Unit> {
    let blocks = text.split("\n\n");
    let pairs = |block: &str| {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    blocks.map(|block| Unit(pairs(block))).filter(|unit| !unit.0.is_empty()).collect()
}

/// What `systemctl` prints, if it does so in time.
#[allow(clippy::disallowed_methods, reason = "systemctl is how operators ask the manager, too")]
fn systemctl(arguments: &[&str]) -> Option<String> {
    let mut child = Command::new("systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut output = child.stdout.take()?;
    let mut text = String::new();
    let mut source = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    let answers = poll(&mut source, PollTimeout::from(ANSWER_MS)).is_ok_and(|ready| ready > 0);
    if !answers {
        let _ = child.kill();
    }
    // It writes at once, and little.
    let read = output.read_to_string(&mut text);
    let ended = child.wait().ok()?;
    (answers && read.is_ok() && ended.success()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::finding::{State, states};
    use super::*;

    fn unit(id: &str, more: &[(&str, &str)]) -> Option<Unit> {
        let plain = [("Id", id), ("LoadState", "loaded"), ("ActiveState", "active")];
        let all = plain.iter().chain(more);
        Some(Unit(all.map(|(name, value)| ((*name).into(), (*value).into())).collect()))
    }

    fn good() -> Facts {
        Facts {
            version: Some(252),
            user: false,
            service: unit("mpserverd.service", &[]),
            socket: unit("mpserverd.socket", &[]),
        }
    }

    #[test]
    fn each_state_is_told() {
        use State::{Note, Ok, Warn};
        let service = |more: &[(&str, &str)]| Facts { service: unit("a.service", more), ..good() };
        let socket = |more: &[(&str, &str)]| Facts { socket: unit("a.socket", more), ..good() };
        for (facts, expected) in [
            (good(), &[Ok, Ok, Ok][..]),
            (Facts { version: Some(249), ..good() }, &[Warn, Ok, Ok]),
            (Facts::default(), &[Note]),
            (Facts { service: None, socket: None, ..good() }, &[Ok, Note]),
            (service(&[("ActiveState", "failed"), ("Result", "watchdog")]), &[Ok, Warn, Ok]),
            (service(&[("NeedDaemonReload", "yes")]), &[Ok, Warn, Ok]),
            (service(&[("NRestarts", "3")]), &[Ok, Note, Ok]),
            (socket(&[("ActiveState", "failed")]), &[Ok, Ok, Warn]),
            (socket(&[("ActiveState", "inactive")]), &[Ok, Ok, Note]),
        ] {
            let found = states(&facts.judge(false)).into_iter().map(|(_, state)| state);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{facts:?}");
        }
        assert_eq!(states(&good().judge(true)), [("systemd.version", Ok)]);
        let facts = service(&[("ActiveState", "failed"), ("Result", "watchdog")]);
        assert!(facts.judge(false)[1].found.contains("watchdog"));
    }

    #[test]
    fn a_user_s_units_are_mended_by_the_user_s_manager() {
        let socket = unit("a.socket", &[("ActiveState", "inactive")]);
        let finding = &Facts { user: true, socket, ..good() }.judge(false)[2];
        assert_eq!(finding.remedy, "systemctl --user enable --now a.socket");
    }

    #[test]
    fn what_systemctl_prints_is_understood() {
        assert_eq!(version("systemd 252 (252.38-1~deb12u1)\n+PAM"), Some(252));
        assert_eq!(version("systemd 257~rc1"), Some(257));
        assert_eq!(version("nonsense"), None);
        let text = "Id=a.service\nLoadState=loaded\nX=1=2\n\nId=b.socket\nLoadState=not-found\n";
        let units = units(text);
        assert_eq!(units.len(), 2);
        assert!(units[0].is("a.service") && units[0].get("X") == "1=2");
        assert!(!units[1].is("b.socket"));
    }

    #[test]
    fn units_by_socket() {
        for (path, name) in [
            ("/run/mpserverd/mpserverd.sock", "mpserverd.service"),
            ("/run/mpserverd/images.sock", "mpserverd@images.service"),
            ("/run/user/7/mpserverd/mpserverd.sock", "mpserverd.service"),
            ("/tmp/other.sock", "mpserverd.service"),
        ] {
            assert_eq!(names(Path::new(path))[0], name);
        }
    }
}
