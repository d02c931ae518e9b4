//! `mpctl deaths`.

use super::*;
use std::process::Output;

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn deaths_are_shown_to_people_and_to_programs() {
    let daemon = Daemon::start(&[]);
    let ctx = daemon.context();
    let exited = ctx.process::<exits>((3,)).start().unwrap();
    exited.join();
    let killed = sleeping(&ctx);
    let id = certificate(&daemon, exited.pid()).worker.to_string();
    let pid = killed.pid().to_string();
    assert!(daemon.mpctl(&["kill", &pid, "--signal", "KILL"]).status.success());
    killed.join();
    certificate(&daemon, killed.pid());

    let table = text(&daemon.mpctl(&["deaths"]));
    for part in ["CAUSE", "itself", "exit 3", "operator", "SIGKILL", &id, &pid] {
        assert!(table.contains(part), "{part}:\n{table}");
    }
    let only = text(&daemon.mpctl(&["deaths", "--cause", "operator"]));
    assert!(only.contains(&pid) && !only.contains(&id), "{only}");
    let whole = text(&daemon.mpctl(&["deaths", "--worker", &pid]));
    for part in ["was killed by signal 9", "an operator (uid", "trace", "where its client sent it"]
    {
        assert!(whole.contains(part), "{part}:\n{whole}");
    }
    let json = text(&daemon.mpctl(&["--json", "deaths", "--worker", &id]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["deaths"][0]["cause"], &json["deaths"][0]["code"]),
        (&"itself".into(), &3.into())
    );
    assert_eq!(json["deaths"].as_array().unwrap().len(), 1);

    let unknown = daemon.mpctl(&["deaths", "--worker", "w5"]);
    assert_eq!(unknown.status.code(), Some(111), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no certificate of w5"));
    let nonsense = daemon.mpctl(&["deaths", "--cause", "fate"]);
    assert_eq!(nonsense.status.code(), Some(100), "{nonsense:?}");
}

#[test]
fn whoever_follows_sees_deaths_as_they_come() {
    use std::io::{BufRead, BufReader};
    let daemon = Daemon::start(&[]);
    let program = &mpserverd_tests::build::artifacts().mpctl;
    #[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
    let mut following = std::process::Command::new(program)
        .args(["--json", "--socket", daemon.socket().to_str().unwrap(), "deaths", "--follow"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    for code in [4, 5, 6] {
        daemon.context().process::<exits>((code,)).start().unwrap().join();
        let line: serde_json::Value =
            serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["code"], code);
    }
    following.kill().unwrap();
    following.wait().unwrap();
}
