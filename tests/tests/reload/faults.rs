//! New templates that do not work: the reload says why, and everything is as it was.

use crate::Host;
use mpserverd_tests::build::artifacts;
use mpserverd_tests::proc;

/// A configuration that must have the module `misbehave`. Only whoever hangs has little time for it:
/// what is wrong with the others is found when it is found, also on a slow machine.
fn strict(fault: &str) -> String {
    let module = artifacts().misbehave.display();
    let preload = if fault == "hang" { "2s" } else { "1m" };
    let canary = if fault == "fork-hang" { "1s" } else { "1m" };
    format!(
        "preload = ['{module}']\non_preload_error = 'fail'\npreload_timeout = '{preload}'\n\
         canary_timeout = '{canary}'\ngrace = '7s'\n"
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
        host.configure(&strict(fault));
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
    host.configure(&strict("none that is found"));
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| host.reload());
        host.kill_what_loads(2);
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
