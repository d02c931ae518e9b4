//! `mpctl explain` about real workers, templates and clients.

use crate::{json, sleeper, text};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, program};
use std::time::Duration;

#[test]
fn workers_templates_clients_and_the_daemon() {
    let daemon = Daemon::start(&["--max-workers", "1"]);
    let process = sleeper(&daemon, "only");
    let rows = json(&daemon, &["ps"]);
    let row = &rows["workers"][0];
    let (id, pid) = (format!("w{}", row["worker"]), row["pid"].to_string());
    let by_id = text(&daemon, &["explain", &id]);
    assert!(by_id.starts_with(&format!("{id} (pid {pid}) is a worker of")), "{by_id}");
    assert!(by_id.contains(&format!("The client with pid {} has had it", std::process::id())));
    assert!(by_id.contains("Just now it "), "{by_id}");
    assert!(text(&daemon, &["explain", &pid]).contains(&format!("{id} (pid {pid})")));
    let template = format!("t{}", row["template"]);
    assert!(text(&daemon, &["explain", &template]).contains("; it serves;"));
    assert!(text(&daemon, &["explain", &daemon.pid().to_string()]).contains("is this daemon"));

    // The limit is reached: the next one waits, and it is told why.
    let context = daemon.context();
    let waiting = std::thread::Builder::new()
        .name("waits".into())
        .spawn(move || context.process::<crate::sleep_for_ever>(()).start());
    let own = std::process::id().to_string();
    let mut told = String::new();
    let said = eventually(PATIENCE, || {
        told = text(&daemon, &["explain", &own]);
        told.contains("1 workers run, which is the limit (`max_workers`)")
    });
    assert!(said, "{told}");
    let report = json(&daemon, &["explain", &own]);
    let facts = report["findings"].as_array().expect("findings").iter();
    let requests = facts.filter_map(|finding| finding["facts"]["client"]["requests"].as_array());
    let waits: Vec<_> = requests.flatten().collect();
    assert_eq!(waits[0]["reason"]["workers-max"]["limit"], 1, "{report}");
    assert!(by_id.contains("It runs screens::sleep_for_ever"), "{by_id}");
    assert!(daemon.mpctl(&["kill", &id, "--signal", "KILL"]).status.success());
    assert_eq!(process.join_timeout(PATIENCE), Some(-9));
    let died = eventually(PATIENCE, || {
        told = text(&daemon, &["explain", &id]);
        told.contains("It was killed by signal 9 after")
    });
    assert!(died && told.contains("The cause: operator (uid "), "{told}");
    assert!(told.contains("The last task that it ran was screens::sleep_for_ever."), "{told}");
    let next = waiting.unwrap().join().unwrap().expect("its turn has come");
    next.kill().unwrap();
    assert_eq!(next.join_timeout(Duration::from_secs(60)), Some(-9));

    let nobody = daemon.mpctl(&["explain", "w1"]);
    assert_eq!(nobody.status.code(), Some(111));
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.contains("nothing is known about w1"), "{said}");
}

/// A daemon with these limits, and what is explained of this process while starts of it wait.
fn told_while_starts_wait(limits: &str, part: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mpserverd.toml");
    std::fs::write(&file, limits).unwrap();
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    let context = daemon.context();
    let starts = std::thread::Builder::new().name("starts".into()).spawn(move || {
        // Until the daemon is gone.
        let start = || context.process::<crate::sleep_for_ever>(()).start();
        while start().is_ok() {}
    });
    let (own, mut told) = (std::process::id().to_string(), String::new());
    let said = eventually(PATIENCE, || {
        told = text(&daemon, &["explain", &own]);
        told.contains(part)
    });
    drop(daemon);
    starts.unwrap().join().unwrap();
    assert!(said, "{part}: {told}");
    told
}

#[test]
fn every_limit_of_many_workers_is_told_with_whose_it_is() {
    let uid = nix::unistd::geteuid();
    for (limits, parts) in [
        (
            "[limits]\nworkers = 1\n",
            ["`workers = 1` of the host, set in [limits] (", "must end first"],
        ),
        (
            "[limits.uid.'*']\nworkers = 2\n",
            [
                &*format!("`workers = 2` of uid {uid}, set in [limits.uid.\"*\"] ("),
                "must end first",
            ],
        ),
        (
            "[limits.module.'*']\nworkers = 1\n",
            ["`workers = 1` of module screens", "must end first"],
        ),
        (
            "[limits]\nstarts_per_second = 1\n",
            ["`starts_per_second = 1` of the host", "the next one may start in "],
        ),
        (
            "[limits]\nworkers = 1\nqueue = 1\n",
            ["1 request of the host waits, which is the limit (`queue = 1`", "refused at once"],
        ),
    ] {
        let told = told_while_starts_wait(limits, parts[0]);
        assert!(told.contains(parts[1]), "{told}");
    }
}

#[test]
fn an_upgrade_under_way_is_told() {
    let daemon = Daemon::start(&[]);
    let (slow, go) = (daemon.directory().join("slow"), daemon.directory().join("go"));
    let text_of_it =
        format!("#!/bin/sh\nuntil test -e {}; do sleep 0.05; done; exit 7\n", go.display());
    program::script(&slow, &text_of_it, 0o755);
    let path = slow.to_str().unwrap();
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| daemon.mpctl(&["upgrade", "--binary", path]));
        let (pid, mut told) = (daemon.pid().to_string(), String::new());
        let said = eventually(PATIENCE, || {
            told = text(&daemon, &["explain", &pid]);
            told.contains("An upgrade has been under way for ")
        });
        let status = text(&daemon, &["status"]);
        std::fs::write(&go, "").unwrap();
        assert!(said, "{told}");
        assert!(status.contains("upgrade under way for "), "{status}");
        assert_eq!(upgrade.join().unwrap().status.code(), Some(111));
        assert!(text(&daemon, &["explain", &pid]).contains("The last upgrade failed "));
        assert!(text(&daemon, &["status"]).contains(" ago FAILED, all is as it was: "));
    });
}
