//! Code that a client may not read or execute, or that the configuration withholds.

use crate::host::{ANNE, BERT, DAEMON, Host, can_be_others};
use crate::multi_user;
use mpserverd_tests::{build, program};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A daemon of root and one that is not: they refuse in different places.
fn hosts() -> [Host; 2] {
    let users = [ANNE, BERT].map(|uid| uid.to_string());
    let ours = ["--allow-user", &users[0], "--allow-user", &users[1]];
    [multi_user::host(&[]), Host::activated(DAEMON, &ours)]
}

/// A copy that belongs to root, with this mode.
fn copy(host: &Host, original: &std::path::Path, name: &str, mode: u32) -> PathBuf {
    let path = host.directory().join(name);
    std::fs::copy(original, &path).unwrap();
    set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_module_that_the_client_may_not_read_is_refused() {
    if !can_be_others() {
        return;
    }
    let module = &build::artifacts().misbehave;
    for host in hosts() {
        let closed = copy(&host, module, "libclosed.so", 0o600);
        let open = copy(&host, module, "libopen.so", 0o644);
        let ask = |path: &PathBuf| {
            let arguments = ["modules", path.to_str().unwrap()];
            program::output(&mut host.stranger(ANNE, ANNE, &arguments))
        };
        let said = ask(&closed);
        assert!(said.contains("may not read"), "{said}");
        assert!(said.contains(&ANNE.to_string()), "{said}");
        let said = ask(&open);
        assert!(said.starts_with("loaded:") && said.contains("libopen.so"), "{said}");
        let hidden = host.directory().join("hidden");
        std::fs::create_dir(&hidden).unwrap();
        let inside = copy(&host, module, "hidden/libinside.so", 0o644);
        set_permissions(&hidden, Permissions::from_mode(0o700)).unwrap();
        // Nobody but root comes there, a throw-away daemon no more than its client.
        let said = ask(&inside);
        assert!(said.contains("may not read") || said.contains("Permission denied"), "{said}");
        let relative = program::output(&mut host.stranger(ANNE, ANNE, &["modules", "./x.so"]));
        assert!(relative.contains("absolute path"), "{relative}");
    }
}

#[test]
fn a_program_that_the_client_may_not_execute_is_refused() {
    if !can_be_others() {
        return;
    }
    for host in hosts() {
        // A descriptor that only names it anybody may have.
        let closed = copy(&host, std::path::Path::new(crate::host::STRANGER), "closed", 0o700);
        let arguments = ["execute", closed.to_str().unwrap()];
        let said = program::output(&mut host.stranger(ANNE, ANNE, &arguments));
        assert!(said.contains("may not execute") && said.contains(&ANNE.to_string()), "{said}");
    }
}

#[test]
fn modules_are_for_whom_the_configuration_names() {
    if !can_be_others() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mpserverd.toml");
    let module = build::artifacts().misbehave.display().to_string();
    let text = format!(
        "preload = ['{module}']\n[access]\nusers = [{ANNE}, {BERT}]\n[access.modules]\n\
         '{module}' = ['{ANNE}']\n'own executables' = ['{ANNE}']\n"
    );
    std::fs::write(&config, text).unwrap();
    let host = Host::own(0, &["--config", config.to_str().unwrap()]);
    let ask = |uid, arguments: &[&str]| program::output(&mut host.stranger(uid, uid, arguments));
    for arguments in [&["modules"][..], &["modules", &module]] {
        let said = ask(ANNE, arguments);
        assert!(said.starts_with("loaded:") && said.contains("misbehave"), "{said}");
    }
    assert!(!ask(ANNE, &["status"]).contains("refused"));
    // The operator's pool without what is withheld.
    let said = ask(BERT, &["modules"]);
    assert!(said.starts_with("loaded:") && !said.contains("misbehave"), "{said}");
    for arguments in [&["modules", &module][..], &["status"]] {
        let said = ask(BERT, arguments);
        assert!(said.contains("of [access.modules]") && said.contains("refused"), "{said}");
    }
}
