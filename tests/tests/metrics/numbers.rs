//! What is counted, and that counters never fall.

use crate::exposition::{self, Exposition};
use crate::{address, daemon, end_with, printed, scrape, sleep_for_ever};
use mpserverd_tests::eventually;
use mpserverd_tests::suite::{PATIENCE, end};

/// Families that a dashboard may rely on.
const FAMILIES: &[&str] = &[
    "mpserverd_build",
    "mpserverd_deaths",
    "mpserverd_fork_failures",
    "mpserverd_fork_seconds",
    "mpserverd_forks",
    "mpserverd_generation",
    "mpserverd_loop_lag_seconds",
    "mpserverd_misdeeds",
    "mpserverd_penalised_users",
    "mpserverd_queue_wait_seconds",
    "mpserverd_queued_requests",
    "mpserverd_ready",
    "mpserverd_refusals",
    "mpserverd_reloads",
    "mpserverd_sessions",
    "mpserverd_spare_hits",
    "mpserverd_spares",
    "mpserverd_spares_wanted",
    "mpserverd_starts",
    "mpserverd_stopping",
    "mpserverd_template_builds",
    "mpserverd_template_failures",
    "mpserverd_template_load_seconds",
    "mpserverd_template_memory_bytes",
    "mpserverd_templates",
    "mpserverd_templates_limit",
    "mpserverd_upgrades",
    "mpserverd_uptime_seconds",
    "mpserverd_worker_ends",
    "mpserverd_workers",
    "mpserverd_workers_limit",
    "process_cpu_seconds",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
];

#[test]
fn starts_and_ends_are_counted() {
    let daemon = daemon(&[]);
    for code in [0, 0, 0, 7, 9] {
        let process = daemon.context().process::<end_with>((code,)).start().unwrap();
        assert_eq!(end(&process), code);
    }
    let killed = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    killed.kill().unwrap();
    let _ = end(&killed);
    let lives = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    let mut seen = Exposition::default();
    // The daemon hears of an end a moment after the client.
    let counted = eventually(PATIENCE, || {
        seen = scrape(address(&daemon));
        seen.sum("mpserverd_worker_ends_total", Some(("end", "signal"))) == 1.0
            && seen.sum("mpserverd_worker_ends_total", Some(("end", "success"))) == 3.0
            && seen.sum("mpserverd_worker_ends_total", Some(("end", "failure"))) == 2.0
    });
    assert!(counted, "{seen:?}");
    // Some of the starts were leases in advance, which are starts too.
    let starts = seen.sum("mpserverd_starts_total", None);
    assert!((7.0..20.0).contains(&starts), "{starts}");
    assert_eq!(seen.value("mpserverd_queue_wait_seconds_count", &[]), starts);
    assert!(seen.sum("mpserverd_spare_hits_total", None) <= starts);
    let forks = seen.sum("mpserverd_forks_total", None);
    assert!(forks >= starts, "{forks} forks, {starts} starts");
    assert_eq!(seen.value("mpserverd_fork_seconds_count", &[]), forks);
    assert!(seen.value("mpserverd_fork_seconds_sum", &[]) > 0.0);
    assert!(seen.sum("mpserverd_workers", None) >= 1.0);
    assert!(seen.value("mpserverd_deaths_total", &[("cause", "itself")]) >= 5.0);
    assert!(seen.sum("mpserverd_deaths_total", None) >= 6.0);
    assert_eq!(seen.sum("mpserverd_templates", Some(("state", "ready"))), 2.0);
    assert!(seen.sum("mpserverd_template_memory_bytes", Some(("kind", "resident"))) > 1e5);
    assert_eq!(seen.value("mpserverd_template_load_seconds_count", &[]), 2.0);
    assert_eq!(seen.value("mpserverd_ready", &[]), 1.0);
    assert!(seen.value("process_resident_memory_bytes", &[]) > 1e5);
    lives.kill().unwrap();
    let _ = end(&lives);
}

#[test]
fn refusals_and_reloads_are_counted_by_reason() {
    let daemon = daemon(&[]);
    assert!(!daemon.mpctl(&["kill", "w1"]).status.success());
    assert!(daemon.mpctl(&["reload"]).status.success());
    let seen = Exposition::read(&printed(&daemon));
    let refused = |reason| seen.value("mpserverd_refusals_total", &[("reason", reason)]);
    assert_eq!((refused("no_such_worker"), refused("queue_full")), (1.0, 0.0));
    assert_eq!(seen.value("mpserverd_reloads_total", &[("result", "switched")]), 1.0);
    assert_eq!(seen.value("mpserverd_generation", &[]), 2.0);
    assert_eq!(seen.value("mpserverd_last_change_successful", &[("change", "reload")]), 1.0);
    assert!(seen.value("mpserverd_last_change_seconds", &[("change", "reload")]) > 0.0);
    assert!(!seen.families().contains("mpserverd_upgrade_pause_seconds"), "there was none");
}

/// What an operator watches an upgrade by.
#[test]
fn upgrades_are_counted_and_timed() {
    let daemon = daemon(&[]);
    assert!(!daemon.mpctl(&["upgrade", "--binary", "/bin/false"]).status.success());
    let value =
        |name: &str, label: (&str, &str)| Exposition::read(&printed(&daemon)).value(name, &[label]);
    assert_eq!(value("mpserverd_upgrades_total", ("result", "unchanged")), 1.0);
    assert_eq!(value("mpserverd_last_change_successful", ("change", "upgrade")), 0.0);
    assert_eq!(value("mpserverd_refusals_total", ("reason", "upgrade_failed")), 1.0);
    let upgraded = daemon.mpctl(&["upgrade"]);
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert_eq!(value("mpserverd_upgrades_total", ("result", "switched")), 1.0);
    assert_eq!(value("mpserverd_upgrades_total", ("result", "unchanged")), 1.0, "carried over");
    assert_eq!(value("mpserverd_last_change_successful", ("change", "upgrade")), 1.0);
    let seen = Exposition::read(&printed(&daemon));
    assert!(seen.value("mpserverd_upgrade_pause_seconds", &[]) > 0.0);
}

/// A limit that is met, and one that would be loosened, each have a counter.
#[test]
fn refusals_for_limits_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mpserverd.toml");
    std::fs::write(&file, "[limits]\nworkers = 1\nqueue = 0\nfds = 500\n").unwrap();
    let daemon = daemon(&["--config", file.to_str().unwrap()]);
    let start = || daemon.context().process::<sleep_for_ever>(());
    // Nobody may wait: it is refused until a spare is there.
    let mut only = None;
    let started = eventually(PATIENCE, || {
        only = start().start().ok();
        only.is_some()
    });
    assert!(started, "{}", daemon.log());
    let only = only.unwrap();
    let counted = |reason| {
        let seen = Exposition::read(&printed(&daemon));
        seen.value("mpserverd_refusals_total", &[("reason", reason)])
    };
    assert!(start().start().is_err());
    assert!(counted("limit_queue") >= 1.0, "{}", printed(&daemon));
    assert!(start().limits(mp::Limits::new().open_files(600)).start().is_err());
    assert_eq!((counted("limit_loosened"), counted("other")), (1.0, 0.0));
    only.kill().unwrap();
    let _ = end(&only);
}

#[test]
fn every_reader_understands_it() {
    let daemon = daemon(&[]);
    let process = daemon.context().process::<end_with>((0,)).start().unwrap();
    let _ = end(&process);
    let text = printed(&daemon);
    let seen = Exposition::read(&text);
    let families = seen.families();
    let missing: Vec<_> = FAMILIES.iter().filter(|name| !families.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} of {families:?}");
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    if let Some(stock) = exposition::stock(&text) {
        assert_eq!(stock, (families.len(), lines), "families and samples");
    }
    assert!(text.len() < 64 << 10, "{} bytes", text.len());
}

#[test]
fn counters_never_fall_whatever_clients_do() {
    let daemon = daemon(&["--idle-timeout", "20ms"]);
    let mut before = scrape(address(&daemon)).counters();
    for round in 0..10 {
        // Each of these is forgotten again.
        let process = daemon.context().process::<end_with>((round,)).start().unwrap();
        let _ = end(&process);
        if round % 3 == 0 {
            assert!(daemon.mpctl(&["reload"]).status.success());
        }
        std::thread::sleep(std::time::Duration::from_millis(60));
        let now = scrape(address(&daemon)).counters();
        for (name, value) in &before {
            assert!(now.get(name).is_some_and(|now| now >= value), "{name:?} fell from {value}");
        }
        before = now;
    }
}
