//! `mpctl ps`: who, of whom, how many.

use crate::{json, sleeper, text};
use mpserverd_tests::daemon::Daemon;

fn names(daemon: &Daemon, arguments: &[&str]) -> Vec<String> {
    let report = json(daemon, &[&["ps"], arguments].concat());
    let rows = report["workers"].as_array().expect("rows").iter();
    // The library may hold one more, for its next start, until that is given back: it may have
    // just ended.
    let names = rows.filter_map(|row| row["process"]["name"].as_str().map(str::to_owned));
    names.filter(|name| name.starts_with("ps-")).collect()
}

#[test]
fn filters_sorts_and_limits() {
    let daemon = Daemon::start(&["--spares", "2..4"]);
    let client = std::process::id().to_string();
    let workers = ["ps-a", "ps-b", "ps-c"].map(|name| sleeper(&daemon, name));
    assert_eq!(names(&daemon, &[]), ["ps-a", "ps-b", "ps-c"]);
    assert_eq!(names(&daemon, &["--reverse"]), ["ps-c", "ps-b", "ps-a"]);
    let one = ["--task", "sleep_for_ever", "--reverse", "-n", "1"];
    assert_eq!(names(&daemon, &one), ["ps-c"]);
    assert_eq!(names(&daemon, &["-n", "1"]), ["ps-a"]);
    assert_eq!(names(&daemon, &["--sort", "age"]), ["ps-a", "ps-b", "ps-c"]);
    assert_eq!(names(&daemon, &["--client", &client]).len(), 3);
    assert!(names(&daemon, &["--client", "1"]).is_empty());
    let uid = nix::unistd::geteuid().to_string();
    assert_eq!(names(&daemon, &["--uid", &uid]).len(), 3);
    assert!(names(&daemon, &["--uid", "4294967294"]).is_empty());
    assert_eq!(names(&daemon, &["--task", "sleep_for_ever"]).len(), 3);
    assert_eq!(names(&daemon, &["--task", "screens::sleep_for_ever"]).len(), 3);
    assert!(names(&daemon, &["--task", "for_ever"]).is_empty());
    let report = json(&daemon, &["ps", "--all"]);
    let rows = report["workers"].as_array().expect("rows");
    assert!(rows.len() > 3, "spares are listed if asked for: {report}");
    let own = rows.iter().find(|row| row["process"]["name"] == "ps-a").expect("listed");
    let template = own["template"].as_u64().expect("an id");
    assert_eq!(names(&daemon, &["--template", &format!("t{template}")]).len(), 3);
    assert!(names(&daemon, &["--template", "nobody"]).is_empty());
    let traced = own["trace"].as_str().map(str::len);
    assert_eq!(traced, Some(32), "every start has a trace: {report}");
    let table = text(&daemon, &["ps", "-n", "2"]);
    assert!(table.contains("ps-a") && table.contains("… and more; there are "), "{table}");
    for worker in workers {
        worker.kill().unwrap();
        worker.join();
    }
}
