//! Handlers that a module registers: its copy of the library has a table of its own.

use mpserverd_tests::build::artifacts;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::end;
use serde_json::json;

/// What the handlers of the module's task say when it returns, and when it exits.
fn of_a_module(ctx: &mp::Context) {
    let ctx = ctx.clone().with_modules([artifacts().misbehave.to_str().unwrap()]);
    for (exit, code) in [(json!(null), 0), (json!(4), 4)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("marks");
        let process = ctx.process_named("misbehave.mark_at_exit", &[json!(path), exit]);
        assert_eq!(end(&process.start().unwrap()), code);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "last\nfirst\n");
    }
}

#[test]
fn run_in_a_spawned_host() {
    of_a_module(&mp::get_context(mp::StartMethod::Spawn));
}

#[test]
fn run_in_a_forked_host() {
    let daemon = Daemon::start(&[]);
    of_a_module(&daemon.context());
}
