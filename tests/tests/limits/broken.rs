//! Configurations that are wrong, one for each key: refused with file, line and reason.

use mpserverd_tests::build::artifacts;

/// Texts with the place and a part of the reason.
const BROKEN: &[(&str, &str, &str)] = &[
    ("limits = 5", ":1:10:", "takes a table"),
    ("[limits]\nmemory = 'lots'", ":2:10:", "`memory` in [limits]: `lots` is not a size"),
    ("[limits]\nmemory = true", ":2:10:", "takes a size like \"512M\""),
    ("[limits]\nmemory = '1K'", ":2:10:", "1K is not within 1M and 1024T"),
    ("[limits]\nmemory_high = '2G'\nmemory = '1G'", ":2:15:", "2G is more than `memory`, 1G"),
    ("[limits]\ncpu_weight = 0", ":2:14:", "0 is not within 1 and 10000"),
    ("[limits]\ncpu_quota = 150", ":2:13:", "takes a share like \"150%\""),
    ("[limits]\ncpu_quota = '0%'", ":2:13:", "0% is not within"),
    ("[limits]\npids = 1", ":2:8:", "1 is not within 2"),
    ("[limits]\nfds = 3", ":2:7:", "3 is not within 16"),
    ("[limits]\nfile_size = -1", ":2:13:", "is not within 0"),
    ("[limits]\nnice = 20", ":2:8:", "20 is not within -20 and 19"),
    ("[limits]\nwall_time = 60", ":2:13:", "takes a duration like \"10m\""),
    ("[limits]\ncpu_time = '0s'", ":2:12:", "0s is not within 1ms"),
    ("[limits]\nkill_grace = '2 days'", ":2:14:", "is not within 0s and 86400s"),
    ("[limits]\nworkers = 0", ":2:11:", "0 is not within 1"),
    ("[limits]\nstarts_per_second = 1.5", ":2:21:", "takes a whole number"),
    ("[limits]\nqueue = 100000", ":2:9:", "not within 0 and 65536"),
    ("[limits]\nsample_every = '1ms'", ":2:16:", "1ms is not within 10ms and 1h"),
    ("[limits]\ncgroup = 'here'", ":2:10:", "no absolute path"),
    ("[limits]\nmemroy = '1G'", ":2:1:", "did you mean `memory`?"),
    ("[limits]\nuid = 7", ":2:7:", "takes tables like [limits.uid.NAME]"),
    ("[limits.uid.root]\npids = 5", ":1:13:", "`root` is not a user's number"),
    ("[limits.uid.7]\nsample_every = '1s'", ":2:1:", "unknown key"),
    ("[limits.uid.7]\n\npids = 'many'", ":3:8:", "`pids` in [limits.uid.7]"),
    ("[limits.module]\nresize = 3", ":2:10:", "[limits.module.\"resize\"]: takes a table"),
    ("[limits.module.\"\"]\npids = 5", ":1:16:", "1 to 512 bytes"),
    ("[limits.module.resize]\nnice = 'high'", ":2:8:", "`high` is not a whole number"),
];

#[allow(clippy::disallowed_methods, reason = "the program under test")]
fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(&artifacts().mpserverd);
    let output = command.args(arguments).arg("--check").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_fault_has_its_place_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.toml");
    for (text, place, reason) in BROKEN {
        std::fs::write(&file, text).unwrap();
        let (code, said) = check(&["--config", file.to_str().unwrap()]);
        assert_eq!(code, Some(100), "{text}\n{said}");
        assert!(said.contains(&format!("test.toml{place}")), "{text}\n{said}");
        assert!(said.contains(reason), "{text}\n{said}");
    }
}

#[test]
fn all_faults_are_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.toml");
    std::fs::write(&file, "[limits]\npids = 0\nfds = 0\n[limits.uid.x]\n[limits.uid.1]\nnice = 50")
        .unwrap();
    let (_, said) = check(&["--config", file.to_str().unwrap()]);
    for place in [":2:8", ":3:7", ":4:13", ":6:8"] {
        assert!(said.contains(place), "{place}\n{said}");
    }
}

#[test]
fn what_is_shown_is_the_same_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.toml");
    let text = "[limits]\nmemory = '1G'\nwall_time = '90s'\nsample_every = '1s'\n\
                [limits.uid.\"*\"]\nworkers = 4\n[limits.module.\"a b\"]\ncpu_quota = '50%'\n";
    std::fs::write(&file, text).unwrap();
    let (code, shown) = check(&["--config", file.to_str().unwrap(), "--limits", "fds=99"]);
    assert_eq!(code, Some(0), "{shown}");
    std::fs::write(&file, &shown).unwrap();
    let (code, again) = check(&["--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{again}");
    let limits = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("limits = ")).unwrap().to_owned();
        line.split(" # ").next().unwrap().to_owned()
    };
    assert_eq!(limits(&again), limits(&shown));
    for part in ["\"1G\"", "fds = 99", "\"50%\"", "\"*\" = { workers = 4 }"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    let (code, said) = check(&["--limits", "memory=none"]);
    assert_eq!(code, Some(100));
    assert!(said.contains("not a size"), "{said}");
}
