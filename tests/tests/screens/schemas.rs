//! `mpctl --json` prints what `daemon/src/ctl/schemas.md` promises, no less and no more.

use crate::{sleep_for_ever, sleeper};
use mpserverd_tests::build;
use mpserverd_tests::daemon::Daemon;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = include_str!("../../../daemon/src/ctl/schemas.md");

/// A promised path.
#[derive(Clone, Debug)]
struct Promise {
    path: String,
    /// It need not be there.
    optional: bool,
}

/// The rows of each heading: paths, and for objects their kind.
fn tables() -> BTreeMap<&'static str, Vec<(&'static str, Option<&'static str>)>> {
    let mut tables = BTreeMap::<_, Vec<_>>::new();
    let mut heading = "";
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.trim_matches('`');
            tables.entry(heading).or_default();
        } else if let Some(row) = line.strip_prefix("| `") {
            let paths = row.split(" | ").next().expect("a first column").trim_end_matches('`');
            for path in paths.split("`, `") {
                let (path, kind) = match path.split_once(": ") {
                    Some((path, kind)) => (path, Some(kind)),
                    None => (path, None),
                };
                tables.entry(heading).or_default().push((path, kind));
            }
        }
    }
    tables
}

/// Everything that a heading promises, objects taken apart.
fn promised(heading: &str) -> Vec<Promise> {
    let tables = tables();
    let rows = tables.get(heading).unwrap_or_else(|| panic!("{heading} is not documented"));
    let mut promises = Vec::new();
    for (path, kind) in rows {
        let optional = path.contains('?');
        let path = path.replace('?', "");
        match kind {
            None => promises.push(Promise { path, optional }),
            Some(kind) => promises.extend(promised(kind).into_iter().map(|inner| Promise {
                path: format!("{path}.{}", inner.path),
                optional: optional || inner.optional,
            })),
        }
    }
    promises
}

/// Paths of all leaves; an empty list and an empty object are leaves.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (name, value) in object {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Array(list) => {
            let path = format!("{path}[]");
            if list.is_empty() {
                found.insert(path);
            } else {
                list.iter().for_each(|value| leaves(value, &path, found));
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn keeps(heading: &str, documents: &[Value]) {
    let promises = promised(heading);
    let mut found = BTreeSet::new();
    documents.iter().for_each(|document| leaves(document, "", &mut found));
    for path in &found {
        let is_promised = |promise: &Promise| {
            let inner = promise.path.strip_prefix(path.as_str());
            match promise.path.strip_suffix(".*") {
                Some(front) => path == front || path.starts_with(&format!("{front}.")),
                // `null` or nothing in place of an object or a list of them.
                None => inner.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])),
            }
        };
        assert!(promises.iter().any(is_promised), "{heading}: `{path}` is not documented");
    }
    for promise in promises.iter().filter(|promise| !promise.optional) {
        let is_kept = |path: &String| {
            let rest = promise.path.strip_prefix(path.as_str());
            // Free JSON below it, or `null` in its place.
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                || path.starts_with(&format!("{}.", promise.path))
        };
        assert!(found.iter().any(is_kept), "{heading}: `{}` is missing: {found:?}", promise.path);
    }
}

/// Runs a command and compares all documents that it prints.
fn check(daemon: &Daemon, heading: &str, arguments: &[&str]) -> Vec<Value> {
    let output = daemon.mpctl(&[&["--json"], arguments].concat());
    let documents: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect();
    let documents = documents.unwrap_or_else(|error| panic!("{heading}: {error}: {output:?}"));
    assert!(!documents.is_empty(), "{heading}: {output:?}");
    keeps(heading, &documents);
    documents
}

#[test]
fn every_command_keeps_its_promise() {
    let module = build::artifacts().misbehave.to_str().expect("text");
    let daemon = Daemon::start(&["--preload", module, "--max-workers", "2"]);
    let (first, second) = (sleeper(&daemon, "a"), sleeper(&daemon, "b"));
    let ps = check(&daemon, "mpctl ps", &["ps", "--all"]);
    check(&daemon, "mpctl status", &["status"]);
    check(&daemon, "mpctl modules", &["modules"]);
    check(&daemon, "mpctl top", &["top", "--interval", "100ms"]);
    check(&daemon, "mpctl logs", &["logs"]);
    check(&daemon, "mpctl ping", &["ping"]);
    let rows = ps[0]["workers"].as_array().expect("workers");
    let row = rows.iter().find(|row| row["process"]["name"] == "a").expect("a worker of ours");
    let pid = row["pid"].to_string();
    check(&daemon, "mpctl explain", &["explain", &pid]);
    check(&daemon, "mpctl explain", &["explain", &format!("t{}", row["template"])]);
    check(&daemon, "mpctl explain", &["explain", &daemon.pid().to_string()]);
    let context = daemon.context();
    let waits = move || context.process::<sleep_for_ever>(()).start();
    let waits = std::thread::Builder::new().name("waits".into()).spawn(waits).expect("thread");
    let own = std::process::id().to_string();
    let waiting = mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || {
        let found = check(&daemon, "mpctl explain", &["explain", &own]);
        found[0].to_string().contains("workers-max")
    });
    assert!(waiting);
    check(&daemon, "mpctl kill", &["kill", &pid, "--signal", "KILL"]);
    let dead = mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || {
        let found = check(&daemon, "mpctl explain", &["explain", &pid]);
        found[0].to_string().contains("operator")
    });
    assert!(dead);
    waits.join().expect("no panic").expect("its turn").kill().expect("killed");
    first.join();
    second.kill().expect("killed");
    second.join();
    check(&daemon, "mpctl deaths", &["deaths"]);
    check(&daemon, "mpctl run", &["run", "misbehave::tasks::echo", "hi"]);
    check(&daemon, "mpctl run", &["run", "misbehave::tasks::crash", "11"]);
    check(&daemon, "mpctl map", &["map", "misbehave::tasks::echo", "a", "b"]);
    check(&daemon, "mpctl map", &["map", "misbehave::tasks::crash", "9"]);
    check(&daemon, "mpctl bench", &["bench", "--starts", "5", "--module", module]);
    let prefix = daemon.directory().to_str().expect("text");
    let install = ["install-units", "--user", "--dry-run", "--prefix", prefix];
    check(&daemon, "mpctl install-units", &install);
    check(&daemon, "mpctl metrics", &["metrics"]);
    check(&daemon, "mpctl doctor", &["doctor"]);
    check(&daemon, "mpctl doctor", &["doctor", "--host-only"]);
    check(&daemon, "mpctl reload", &["reload"]);
    check(&daemon, "mpctl upgrade", &["upgrade"]);
    check(&daemon, "mpctl stop", &["stop"]);
}

/// All that `status` can tell, in one: limits, a reload that failed and one that was done, and a
/// worker of the generation before.
#[test]
fn a_daemon_that_has_much_to_tell_keeps_its_promise() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("mpserverd.toml");
    let limits = "[limits]\nworkers = 1\nqueue = 5\nfds = 4000\n[limits.uid.'*']\nworkers = 4\n";
    std::fs::write(&file, limits).expect("configuration");
    let daemon = Daemon::start(&["--config", file.to_str().expect("text")]);
    let worker = sleeper(&daemon, "a");
    let context = daemon.context();
    let waits = move || context.process::<sleep_for_ever>(()).start();
    let waits = std::thread::Builder::new().name("waits".into()).spawn(waits).expect("thread");
    let own = std::process::id().to_string();
    let mut said = String::new();
    let waiting = mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || {
        said = check(&daemon, "mpctl explain", &["explain", &own])[0].to_string();
        said.contains("The limit `workers = 1` of the host, set in ")
    });
    assert!(waiting, "{said}");
    std::fs::write(&file, "[limits]\nwrkers = 1\n").expect("configuration");
    assert!(!daemon.mpctl(&["reload"]).status.success());
    let status = check(&daemon, "mpctl status", &["status"]);
    let why = status[0]["reload"]["last"]["error"].as_str().expect("it failed");
    assert!(why.contains("wrkers"), "{why}");
    let quotas = status[0]["quotas"].as_array().expect("rows");
    assert_eq!((&quotas[0]["scope"], &quotas[0]["used"]), (&"host".into(), &1.into()));
    assert_eq!(quotas.len(), 3, "workers and queue of the host, workers of this user: {quotas:?}");
    let told = daemon.mpctl(&["explain", &daemon.pid().to_string()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("The last reload failed"), "{told}");
    std::fs::write(&file, limits).expect("configuration");
    check(&daemon, "mpctl reload", &["reload"]);
    let status = check(&daemon, "mpctl status", &["status"]);
    assert_eq!(status[0]["generations"][0]["workers"], 1, "{}", status[0]);
    check(&daemon, "mpctl upgrade", &["upgrade"]);
    let status = check(&daemon, "mpctl status", &["status"]);
    assert_eq!(status[0]["upgrade"]["last"]["error"], Value::Null);
    assert!(status[0]["upgrade"]["last"]["pause_us"].is_u64(), "{}", status[0]);
    assert_eq!(status[0]["reload"]["last"]["error"], Value::Null, "and nothing is forgotten");
    worker.kill().expect("killed");
    worker.join();
    let next = waits.join().expect("no panic").expect("its turn");
    next.kill().expect("killed");
    next.join();
}

#[test]
fn every_command_is_documented_and_every_documented_one_exists() {
    let help = Daemon::start(&[]).mpctl(&["--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with("  "));
    // Further lines of a description stand deeper.
    let commands = commands.filter(|line| !line.starts_with("   "));
    let names: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    let tables = tables();
    let documented: Vec<_> = tables.keys().filter_map(|name| name.strip_prefix("mpctl ")).collect();
    assert!(documented.len() > 10, "{documented:?}");
    for name in &documented {
        assert!(names.contains(name), "`{name}` is documented, but is no command");
    }
    // Their output is text for a shell or for `man`.
    for name in names.iter().filter(|name| !["completions", "man", "help"].contains(name)) {
        assert!(documented.contains(name), "`{name}` is a command, but is not documented");
    }
}
