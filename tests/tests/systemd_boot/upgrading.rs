//! Going on as another program, and what the next daemon knows after a death.

use crate::machine::{Machine, PROGRAMS, Said};
use crate::service::{Recipe, Service, Sleeper};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Longer than the pause between two things that the supervisor is given to keep.
const KEPT: std::time::Duration = std::time::Duration::from_secs(7);

/// Puts a program beside those under test.
fn put(machine: &Machine, name: &str, file: &Path) -> String {
    let path = format!("{PROGRAMS}/{name}");
    std::fs::copy(file, machine.path(&path)).expect("a copy");
    path
}

/// Puts a script beside the programs under test.
fn script(machine: &Machine, name: &str, text: &str) -> String {
    let path = format!("{PROGRAMS}/{name}");
    machine.write(&path, text);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(machine.path(&path), mode).expect("executable");
    path
}

/// A service in the middle of its work: what an upgrade must leave as it is.
struct AtWork<'a> {
    service: &'a Service<'a>,
    pid: u32,
    sleeper: Sleeper,
    restarts: String,
}

impl<'a> AtWork<'a> {
    fn of(service: &'a Service<'a>) -> Self {
        service.systemctl("start").ok();
        let sleeper = service.sleeper("kept");
        service.wait_for("StatusText", "serving: 1 templates, 1 workers");
        let restarts = service.property("NRestarts");
        Self { service, pid: service.main_pid(), sleeper, restarts }
    }

    /// The same process, unit and worker; it serves, and says how it goes.
    #[track_caller]
    fn goes_on(&mut self) {
        let service = self.service;
        service.wait_for("SubState", "running");
        assert_eq!(service.main_pid(), self.pid, "{}", service.journal());
        assert_eq!(service.property("ActiveState"), "active");
        assert_eq!(service.property("NRestarts"), self.restarts);
        assert!(self.sleeper.waits(), "{}", service.journal());
        assert_eq!(service.worker("kept"), Some(self.sleeper.pid));
        let mut another = service.sleeper("another");
        self.says("2 workers");
        service.mpctl(&["kill", &another.pid.to_string()]).ok();
        assert_eq!(another.code(), 128 + 15);
        self.says("1 workers");
    }

    /// The status line comes to end like this.
    #[track_caller]
    fn says(&self, words: &str) {
        let line = || self.service.property("StatusText");
        assert!(eventually(PATIENCE, || line().ends_with(words)), "{}", line());
    }

    /// The watchdog gets its proofs.
    #[track_caller]
    fn proves_itself(&self) {
        let last = || self.service.property("WatchdogTimestampMonotonic");
        for _ in 0..2 {
            let before = last();
            assert!(eventually(PATIENCE, || last() != before), "{}", self.service.journal());
        }
        assert_eq!(self.service.main_pid(), self.pid, "{}", self.service.journal());
    }

    /// Its exit code is its own.
    fn ends(mut self) {
        let pid = self.sleeper.pid.to_string();
        self.service.mpctl(&["kill", &pid, "--signal", "KILL"]).ok();
        assert_eq!(self.sleeper.code(), 128 + 9);
    }

    fn upgrades(&self) -> usize {
        self.service.journal().lines().filter(|line| *line == "upgraded").count()
    }
}

fn upgrade(service: &Service<'_>, binary: Option<&str>) -> Said {
    let binary = binary.map(|path| ["--binary", path]);
    service.mpctl(&[&["upgrade"][..], binary.as_ref().map_or(&[], |pair| pair)].concat())
}

/// The service goes on as another program: for its manager nothing has happened.
pub(crate) fn upgrades(machine: &Machine) {
    // A busy machine has its proofs late.
    let settings = "WatchdogSec=6s";
    let recipe = Recipe { settings, ..Recipe::default() };
    let throw_away = Service::install_for(machine, "renewed", "alice", recipe);
    machine.run(&["usermod", "-aG", "mpserverd", "alice"]).ok();
    let multi_user = Service::install(machine, "renewed-root", recipe);
    for service in [&throw_away, &multi_user] {
        let mut work = AtWork::of(service);
        // As a package does it: another file under the same name.
        let own = format!("{PROGRAMS}/mpserverd");
        let replace = |to: &str| {
            machine.run(&["sh", "-c", &format!("cp {own} {to}.new && mv {to}.new {to}")]).ok();
        };
        replace(&own);
        upgrade(service, None).ok();
        work.goes_on();
        let next = format!("{PROGRAMS}/mpserverd-next");
        replace(&next);
        assert!(upgrade(service, Some(&next)).ok().contains(&next));
        work.goes_on();
        let before = work.upgrades();
        machine.run(&["systemctl", "kill", "--kill-who=main", "-s", "USR2", &service.unit]).ok();
        assert!(eventually(PATIENCE, || work.upgrades() > before), "{}", service.journal());
        work.goes_on();
        work.proves_itself();
        service.systemctl("reload").ok();
        // It is still a daemon whose death costs nothing.
        machine.kill(work.pid, "KILL");
        work.pid = service.wait_for_another(work.pid);
        work.restarts = "1".to_owned();
        let adopted = eventually(PATIENCE, || service.worker("kept") == Some(work.sleeper.pid));
        assert!(adopted, "{}", service.report("ps"));
        upgrade(service, None).ok();
        work.goes_on();
        work.proves_itself();
        work.ends();
    }
}

/// What cannot take over is refused, and nobody notices; what dies of taking over is a crash.
pub(crate) fn refused_upgrades(machine: &Machine) {
    let service = Service::install(machine, "cautious", Recipe::default());
    let mut work = AtWork::of(&service);
    let earlier = put(machine, "earlier", Path::new(env!("CARGO_BIN_EXE_earlier")));
    let broken = script(machine, "broken", "#!/bin/sh\necho the reason >&2\nexit 1\n");
    let missing = format!("{PROGRAMS}/missing");
    for (path, words) in [
        (missing.as_str(), "No such file"),
        (&broken, "the reason"),
        (&earlier, "the state has version 1"),
    ] {
        let said = upgrade(&service, Some(path));
        assert_eq!(said.code, 111, "{said:?}");
        assert!(said.err.contains(words) && said.err.contains(path), "{said:?}");
        work.goes_on();
    }
    // A configuration that became wrong in the meantime is a reason too.
    service.configure("no_such_option = 1");
    let said = upgrade(&service, None);
    assert!(said.code == 111 && said.err.contains("no_such_option"), "{said:?}");
    service.configure("");
    work.goes_on();

    let honest = format!("{PROGRAMS}/mpserverd \"$@\"");
    let liar = format!("#!/bin/sh\ncase \"$*\" in *--check*) exec {honest};; esac\nexit 1\n");
    let liar = script(machine, "liar", &liar);
    assert_eq!(upgrade(&service, Some(&liar)).code, 111);
    work.pid = service.wait_for_another(work.pid);
    work.restarts = "1".to_owned();
    let adopted = eventually(PATIENCE, || service.worker("kept") == Some(work.sleeper.pid));
    assert!(adopted, "{}", service.report("ps"));
    work.goes_on();
    work.ends();
}

/// What the manager keeps for the next daemon: counters and certificates, until a stop.
pub(crate) fn remembered(machine: &Machine) {
    let service = Service::install(machine, "mindful", Recipe::default());
    service.systemctl("start").ok();
    let mut victim = service.sleeper("victim");
    service.mpctl(&["kill", &victim.pid.to_string(), "--signal", "KILL"]).ok();
    assert_eq!(victim.code(), 128 + 9);
    for _ in 0..3 {
        service.mpctl(&["run", "misbehave.echo", "well"]).ok();
    }
    service.systemctl("reload").ok();
    std::thread::sleep(KEPT);
    assert_eq!(service.property("NFileDescriptorStore"), "1", "one of two names at a time");
    let before = service.report("status");
    let death = death_of(&service, victim.pid).expect("a certificate");
    let old = service.main_pid();
    machine.kill(old, "KILL");
    service.wait_for_another(old);
    let after = service.report("status");
    for field in ["starts", "ends", "spare_hits"] {
        assert_eq!(before[field], after[field], "{field}: {}", service.journal());
    }
    // What it has read now is one more configuration.
    let generations = [&before, &after].map(|status| status["generation"].as_u64());
    assert_eq!(generations, [Some(2), Some(3)]);
    assert_eq!(death_of(&service, victim.pid), Some(death));

    service.systemctl("restart").ok();
    let anew = service.report("status");
    assert_eq!((&anew["starts"], &anew["generation"]), (&0.into(), &1.into()));
    assert_eq!(death_of(&service, victim.pid), None);
    service.systemctl("stop").ok();
    assert_eq!(service.property("NFileDescriptorStore"), "0");
}

/// The certificate of the worker that had this pid.
fn death_of(service: &Service<'_>, pid: u32) -> Option<Value> {
    let report = service.report("deaths");
    let rows = report["deaths"].as_array().or_else(|| report.as_array()).cloned();
    rows.unwrap_or_default().into_iter().find(|row| row["pid"] == pid)
}
