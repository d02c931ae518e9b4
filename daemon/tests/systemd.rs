//! The units: what `systemd-analyze` has to say, that each line gives its reason, and that
//! `mpctl install-units` puts them where they belong.
#![allow(clippy::disallowed_methods, reason = "this test starts programs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn mpctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mpctl")).args(arguments).output().expect("mpctl runs")
}

/// Installs below a folder, for the system manager or a user's, and gives the folder of the units.
fn install(stage: &Path, arguments: &[&str]) -> PathBuf {
    let home = stage.join("home");
    let output = Command::new(env!("CARGO_BIN_EXE_mpctl"))
        .args(["install-units", "--prefix"])
        .arg(stage)
        .args(arguments)
        .env("XDG_CONFIG_HOME", "/home/.config")
        .env("HOME", &home)
        .output()
        .expect("mpctl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if arguments.contains(&"--user") {
        stage.join("home/.config/systemd/user")
    } else {
        stage.join("etc/systemd/system")
    }
}

/// `systemd-analyze`, or `None` with the reason printed.
fn analyze(command: &mut Command) -> Option<Output> {
    let output = command.output();
    if output.is_err() {
        println!("skipped: systemd-analyze is not installed");
    }
    output.ok()
}

/// Manual pages are not installed where tests run.
fn without_manual(units: &Path) {
    for entry in std::fs::read_dir(units).expect("units").flatten() {
        if entry.path().is_file() {
            let text = std::fs::read_to_string(entry.path()).expect("unit");
            let kept = text.lines().filter(|line| !line.starts_with("Documentation="));
            std::fs::write(entry.path(), kept.collect::<Vec<_>>().join("\n") + "\n").expect("unit");
        }
    }
}

#[test]
fn systemd_has_nothing_to_say() {
    let profiles = ["--profile", "multi-user", "--profile", "jit", "--profile", "network"];
    let sandbox = ["--profile", "sandbox"];
    let everything = [&["--system"][..], &profiles, &sandbox].concat();
    let instance = [&everything[..], &["--instance", "images"]].concat();
    for (arguments, names) in [
        (&["--system"][..], ["mpserverd.socket", "mpserverd.service"]),
        (&everything, ["mpserverd.socket", "mpserverd.service"]),
        (&instance, ["mpserverd@images.socket", "mpserverd@images.service"]),
        (&["--user"], ["mpserverd.socket", "mpserverd.service"]),
    ] {
        let stage = tempfile::tempdir().expect("folder");
        let units = install(stage.path(), arguments);
        without_manual(&units);
        let manager = if arguments == ["--user"] { "--user" } else { "--system" };
        let mut command = Command::new("systemd-analyze");
        command.args([manager, "verify"]).args(names.map(|name| units.join(name)));
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()));
        // The user manager wants to know where its sockets go.
        command.env("XDG_RUNTIME_DIR", stage.path());
        let Some(output) = analyze(&mut command) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        let ours = said.lines().filter(|line| line.contains("mpserverd")).collect::<Vec<_>>();
        assert!(ours.is_empty(), "{arguments:?}: {said}");
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

#[test]
fn a_worker_can_do_little_to_the_machine() {
    // Tenths of a point of exposure that a profile may have.
    for (profile, limit) in [(None, 10), (Some("jit"), 10), (Some("multi-user"), 25)] {
        let stage = tempfile::tempdir().expect("folder");
        let profile = profile.map(|name| ["--profile", name]);
        let arguments = [&["--system"][..], profile.as_ref().map_or(&[], |pair| pair)].concat();
        let units = install(stage.path(), &arguments);
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=yes", "--no-pager", &format!("--threshold={limit}")]);
        let Some(output) = analyze(command.arg(units.join("mpserverd.service"))) else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{arguments:?}: {}", said.lines().last().unwrap_or_default());
        if said.is_empty() && String::from_utf8_lossy(&output.stderr).contains("offline") {
            println!("skipped: this systemd-analyze cannot look at a file");
            return;
        }
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

/// All files below a folder of units.
fn unit_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder").flatten() {
        let path = entry.path();
        let kind = path.extension().map(|kind| kind.to_string_lossy().into_owned());
        match kind.as_deref() {
            _ if path.is_dir() => files.extend(unit_files(&path)),
            Some("service" | "socket" | "conf") => files.push(path),
            _ => {}
        }
    }
    files
}

#[test]
fn every_line_gives_its_reason() {
    let files = unit_files(&folder());
    assert!(files.len() >= 10, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("unit");
        let mut before = "";
        for line in text.lines() {
            let setting = line.contains('=') && !line.starts_with('#');
            let reasoned = before.starts_with('#') || line.starts_with("Description=");
            assert!(!setting || reasoned, "{}: {line}", path.display());
            assert!(line.chars().count() <= 106, "{}: {line}", path.display());
            before = line;
        }
    }
}

#[test]
fn an_instance_differs_in_its_names_only() {
    for kind in ["service", "socket"] {
        let settings = |name: &str| {
            let text = std::fs::read_to_string(folder().join(name)).expect("unit");
            let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains('='));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let one = settings(&format!("mpserverd.{kind}"));
        let many = settings(&format!("mpserverd@.{kind}"));
        assert_eq!(one.len(), many.len());
        for (one, many) in one.iter().zip(&many) {
            assert!(one == many || many.contains("%i"), "{one} and {many}");
        }
    }
}

#[test]
fn units_are_written_once_and_changes_are_kept() {
    let stage = tempfile::tempdir().expect("folder");
    let prefix = stage.path().to_str().expect("path");
    let install = |more: &[&str]| {
        mpctl(&[&["install-units", "--system", "--prefix", prefix][..], more].concat())
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();

    let dry = install(&["--dry-run"]);
    assert!(said(&dry).contains("would be written"), "{}", said(&dry));
    assert_eq!(std::fs::read_dir(stage.path()).expect("folder").count(), 0);

    let first = said(&install(&["--profile", "jit"]));
    for words in ["jit.conf: written", "mpserverd.service: written", "enable --now", "sysusers"] {
        assert!(first.contains(words), "{words}: {first}");
    }
    let service = stage.path().join("etc/systemd/system/mpserverd.service");
    let text = std::fs::read_to_string(&service).expect("service");
    let program = Path::new(env!("CARGO_BIN_EXE_mpserverd"));
    assert!(text.contains(&format!("ExecStart={}", program.display())), "{text}");
    assert!(said(&install(&[])).contains("mpserverd.service: up to date"));

    let configuration = stage.path().join("etc/mpserverd/mpserverd.toml");
    std::fs::write(&configuration, "preload = [\"shop\"]\n").expect("configuration");
    std::fs::write(&service, text.replace("60s", "90s")).expect("service");
    let refused = install(&[]);
    assert_eq!(refused.status.code(), Some(100));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("mpserverd.service was changed") && why.contains("--force"), "{why}");
    let forced = said(&install(&["--force"]));
    assert!(forced.contains("mpserverd.service: written"), "{forced}");
    assert!(forced.contains("mpserverd.toml: kept"), "{forced}");

    let removed = said(&install(&["--uninstall", "--profile", "jit"]));
    assert!(
        removed.contains("jit.conf: removed") && removed.contains("disable --now"),
        "{removed}"
    );
    assert!(!service.exists() && configuration.exists());
    assert!(!stage.path().join("etc/systemd/system/mpserverd.service.d").exists());
}

#[test]
fn newer_settings_are_for_newer_managers() {
    let stage = tempfile::tempdir().expect("folder");
    let prefix = stage.path().to_str().expect("path");
    let install = |more: &[&str]| {
        let output =
            mpctl(&[&["install-units", "--system", "--prefix", prefix][..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let units = stage.path().join("etc/systemd/system");
    let newer = units.join("mpserverd.service.d/systemd-254.conf");
    // An older one would warn of them.
    let said = install(&["--for-systemd", "253"]);
    assert!(!newer.exists() && !said.contains("systemd-254"), "{said}");
    let said = install(&["--for-systemd", "254"]);
    assert!(said.contains("systemd-254.conf: written"), "{said}");
    let text = std::fs::read_to_string(&newer).expect("drop-in");
    assert!(text.lines().any(|line| line == "DelegateSubgroup=daemon"), "{text}");
    assert!(install(&["--for-systemd", "257"]).contains("systemd-254.conf: up to date"));
    // The machine went back to an older one.
    let said = install(&["--for-systemd", "252"]);
    assert!(said.contains("systemd-254.conf: removed") && !newer.exists(), "{said}");
    install(&["--for-systemd", "254"]);
    install(&["--for-systemd", "254", "--instance", "images"]);
    assert!(units.join("mpserverd@.service.d/systemd-254.conf").exists());
    install(&["--uninstall"]);
    assert!(!newer.exists() && !units.join("mpserverd.service.d").exists());

    // By itself it takes what is installed here.
    let installed = Command::new("systemctl").arg("--version").output();
    let text = installed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = text.ok().and_then(|text| text.split_whitespace().nth(1)?.parse::<u32>().ok());
    install(&[]);
    assert_eq!(newer.exists(), version.is_some_and(|version| version >= 254), "{version:?}");
}

#[test]
fn what_others_need_stays() {
    let stage = tempfile::tempdir().expect("folder");
    let prefix = stage.path().to_str().expect("path");
    let install = |more: &[&str]| {
        let base = ["install-units", "--system", "--for-systemd", "254", "--prefix", prefix];
        let output = mpctl(&[&base[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let there = |path: &str| stage.path().join(path).exists();
    let units = stage.path().join("etc/systemd/system");
    let sockets = units.join("sockets.target.wants");
    std::fs::create_dir_all(&sockets).expect("folder");
    install(&[]);
    for name in ["images", "video"] {
        install(&["--instance", name, "--profile", "jit"]);
        // As `systemctl enable` does it.
        let link = sockets.join(format!("mpserverd@{name}.socket"));
        std::os::unix::fs::symlink("/etc/systemd/system/mpserverd@.socket", link).expect("link");
    }

    let said = install(&["--uninstall", "--instance", "images"]);
    assert!(said.contains("mpserverd@.service: kept") && said.contains("others"), "{said}");
    assert!(there("etc/systemd/system/mpserverd@.service.d/systemd-254.conf"), "{said}");
    assert!(!there("etc/systemd/system/mpserverd@images.service.d"), "all of its profiles");
    std::fs::remove_file(sockets.join("mpserverd@images.socket")).expect("disabled");
    let said = install(&["--uninstall"]);
    assert!(said.contains("sysusers.d/mpserverd.conf: kept"), "{said}");
    assert!(!there("etc/systemd/system/mpserverd.service"));
    assert!(there("etc/systemd/system/mpserverd@.socket"));
    install(&["--uninstall", "--instance", "video"]);
    std::fs::remove_file(sockets.join("mpserverd@video.socket")).expect("disabled");
    for path in ["etc/systemd/system/mpserverd@.service", "etc/tmpfiles.d/mpserverd.conf"] {
        assert!(!there(path), "{path}");
    }
    let left = std::fs::read_dir(&units).expect("folder").flatten();
    assert_eq!(left.count(), 1, "the folder of links");
    assert!(there("etc/mpserverd/video.toml"), "a configuration is nobody's to remove");
}

#[test]
fn nonsense_is_refused() {
    for (arguments, words) in [
        (&["install-units", "--system", "--instance", "a b"][..], "no name of an instance"),
        (&["install-units", "--user", "--profile", "jit"], "give --system"),
        (&["install-units", "--profile", "fast"], "multi-user"),
        (&["install-units", "--user", "--system"], "cannot be used with"),
        (&["install-units", "--for-systemd", "251"], "252"),
    ] {
        let output = mpctl(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(100), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}
