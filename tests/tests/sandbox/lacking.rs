//! Kernels that cannot do what is asked: played by a filter that denies the calls. The task does
//! not run, and the error names what is missing.

use crate::attempts::{Place, attempt, can};
use mp::{JobError, ProcessError, Sandbox};
use mpserverd_tests::suite::{end, outcome, passed};

/// What a start comes to here, with a sandbox of these words.
fn refusal(word: &str) -> (String, String) {
    let place = Place::new();
    let ctx = mp::get_context(mp::StartMethod::Fork);
    let sandbox = Sandbox::new().word(word).unwrap();
    let process = ctx.process::<attempt>(place.arguments()).sandbox(sandbox).start().unwrap();
    let error = outcome(&process).unwrap_err();
    assert_eq!(end(&process), 111);
    assert!(place.path().join("old").exists(), "the task ran");
    match error {
        ProcessError::Rejected(JobError::SandboxUnsupported { step, needs, .. }) => (step, needs),
        other => panic!("{word}: {other}"),
    }
}

#[mp::task]
fn without_landlock() {
    let (step, needs) = refusal("no-files");
    assert!(step == "landlock" && needs.contains("Linux 6.2"), "{step}: {needs}");
}

#[mp::task]
fn without_namespaces() {
    for word in ["private-network", "private-tmp"] {
        let (step, needs) = refusal(word);
        assert!(step == "namespaces" && needs.contains("user namespaces"), "{step}: {needs}");
    }
}

#[mp::task]
fn without_seccomp() {
    let (step, needs) = refusal("no-exec");
    assert!(step == "seccomp" && needs.contains("CONFIG_SECCOMP_FILTER"), "{step}: {needs}");
}

/// Runs it where these calls are denied.
fn under(calls: &[&str], task: impl FnOnce(&mp::Context) -> mp::ProcessBuilder<()>) {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let sandbox = calls.iter().fold(Sandbox::new(), |sandbox, call| sandbox.deny_call(*call));
    if can(&ctx, sandbox.clone()) {
        passed(task(&ctx).sandbox(sandbox));
    }
}

#[test]
fn no_landlock() {
    under(&["landlock_create_ruleset"], |ctx| ctx.process::<without_landlock>(()));
}

#[test]
fn no_namespaces() {
    under(&["unshare"], |ctx| ctx.process::<without_namespaces>(()));
}

#[test]
fn no_seccomp() {
    under(&["seccomp"], |ctx| ctx.process::<without_seccomp>(()));
}

#[test]
fn a_name_that_is_no_system_call() {
    let place = Place::new();
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let sandbox = Sandbox::new().deny_call("make_coffee");
    let process = ctx.process::<attempt>(place.arguments()).sandbox(sandbox).start().unwrap();
    let error = outcome(&process).unwrap_err().to_string();
    assert!(error.contains("seccomp") && error.contains("make_coffee"), "{error}");
}

#[test]
fn what_is_essential_is_refused_before_the_start() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let place = Place::new();
    let sandbox = Sandbox::new().deny_call("futex");
    let error = ctx.process::<attempt>(place.arguments()).sandbox(sandbox).start().unwrap_err();
    assert!(error.to_string().contains("no worker can do without `futex`"), "{error}");
}
