//! New templates that do not work: the reload says why, and everything is as it was.

use crate::Host;
use mpserverd_tests::build::artifacts;
use mpserverd_tests::proc;

/// A configuration that must have the module `misbehave`.
fn strict() -> String {
    let module = artifacts().misbehave.display();
    format!(
        "preload = ['{module}']\non_preload_error = 'fail'\npreload_timeout = '2s'\n\
         canary_timeout = '1s'\ngrace = '7s'\n"
    )
}

#[test]
fn whatever_is_wrong_with_the_new_template_the_old_one_serves() {
    for (fault, why) in [
        ("thread", "started 1 thread(s) (sleeper)"),
        ("socket", "left open"),
        ("epoll", "left open"),
        ("panic", "its hook panicked: init panics as asked"),
        ("error", "its hook failed: init fails as asked"),
        ("hang", "did not finish within 2000 ms"),
        ("abort", "killed by signal 6"),
        ("exit", "exited with code 7"),
        ("fork-hang", "trial fork"),
    ] {
        let host = Host::start("", &[("MISBEHAVE", fault)]);
        host.serves();
        let worker = host.daemon.context().process::<crate::sleep_for_ever>(()).start().unwrap();
        let before = host.status();
        host.configure(&strict());
        let error = host.reload().unwrap_err();
        assert!(error.contains("everything is as it was"), "{fault}: {error}");
        assert!(error.contains(why), "{fault}: {error}");
        let after = host.status();
        assert_eq!(after["generation"], before["generation"], "{fault}");
        let serving = |status: &serde_json::Value| -> Vec<u64> {
            let rows = status["templates"].as_array().unwrap().iter();
            rows.filter(|row| row["state"] == "ready")
                .map(|row| row["pid"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(serving(&after), serving(&before), "{fault}: the same processes serve");
        host.serves();
        assert!(worker.is_alive());
        worker.kill().unwrap();
        worker.join();
        // And the next good one goes through.
        host.configure("grace = '5s'\n");
        assert_eq!(host.reload().unwrap(), 2, "{fault}");
        host.serves();
        let settled = || proc::no_zombies_below(host.daemon.pid());
        assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, settled));
    }
}

#[test]
fn a_template_that_is_killed_while_it_loads_changes_nothing() {
    let host = Host::start("", &[("MISBEHAVE", "hang")]);
    host.serves();
    host.configure(&strict().replace("'2s'", "'1m'"));
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| host.reload());
        let mut victims = Vec::new();
        let loads = || {
            victims = host.templates(2, "loading");
            victims.iter().any(|row| row["name"] == "default" && !row["pid"].is_null())
        };
        assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, loads));
        let default = victims.iter().find(|row| row["name"] == "default").unwrap();
        let pid = u32::try_from(default["pid"].as_u64().unwrap()).unwrap();
        proc::kill_exactly(proc::identity(pid).unwrap());
        let error = reload.join().unwrap().unwrap_err();
        assert!(error.contains("killed by signal 9"), "{error}");
    });
    assert_eq!(host.generation(), 1);
    host.serves();
}

#[test]
fn signals_reload_too_and_say_in_the_log_why_not() {
    let host = Host::start("", &[]);
    host.configure("grace = 5\n");
    host.daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let told = || host.daemon.log().contains("mpserverd.toml:1:9: `grace`");
    assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, told));
    assert_eq!(host.generation(), 1);
    host.configure("grace = '5s'\n");
    host.daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let switched = || host.generation() == 2;
    assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, switched));
}
