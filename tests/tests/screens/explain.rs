//! `mpctl explain` about real workers, templates and clients.

use crate::{json, sleeper, text};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
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
