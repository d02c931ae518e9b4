//! The log of who asked for what.

use crate::host::{ANNE, BERT, Host, PATIENCE, can_be_others};
use mpserverd_tests::{eventually, program};

#[test]
fn who_asked_for_what_is_written_down() {
    if !can_be_others() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let audit = path.to_str().unwrap();
    let host = Host::own(0, &["--allow-user", &ANNE.to_string(), "--audit-log", audit]);
    let lines = || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // The last one may just be written.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let parsed = whole.map(|line| serde_json::from_str(line).expect(line));
        parsed.collect::<Vec<serde_json::Value>>()
    };
    let _ = program::output(&mut host.stranger(ANNE, ANNE, &["status"]));
    let _ = program::output(&mut host.stranger(BERT, BERT, &["status"]));
    let _ = host.mpctl(ANNE, ANNE, &["stop"]);
    let of = |uid: u32, action: &str| {
        let found = lines().into_iter().find(|line| line["uid"] == uid && line["action"] == action);
        found.unwrap_or_else(|| panic!("no {action} of {uid}: {:?}", lines()))
    };
    let has = |uid: u32, action: &str| {
        lines().iter().any(|line| line["uid"] == uid && line["action"] == action)
    };
    let all = [(ANNE, "open"), (ANNE, "start"), (BERT, "connect"), (ANNE, "stop")];
    let written = || all.iter().all(|(uid, action)| has(*uid, action));
    assert!(eventually(PATIENCE, written), "{:?}", lines());
    let start = of(ANNE, "start");
    assert_eq!(start["decision"], "allow");
    assert!(start["worker_pid"].is_u64() && start["worker"].is_string(), "{start}");
    assert!(start["executable"].as_str().unwrap().ends_with("/stranger"), "{start}");
    assert_eq!(of(ANNE, "open")["decision"], "allow");
    for refused in [of(BERT, "connect"), of(ANNE, "stop")] {
        assert_eq!(refused["decision"], "refuse", "{refused}");
        assert!(refused["reason"].as_str().unwrap().contains("[access]"), "{refused}");
    }
    // Rotated: the next lines go to a new file.
    std::fs::rename(&path, folder.path().join("old")).unwrap();
    assert!(host.mpctl(0, 0, &["reload"]).status.success());
    let _ = program::output(&mut host.stranger(ANNE, ANNE, &["status"]));
    assert!(eventually(PATIENCE, || has(ANNE, "start")), "{:?}", lines());
    assert_eq!(of(ANNE, "start")["decision"], "allow");
}
