//! What the daemon tells its supervisor: ready, how it goes, and that workers can be had.
#![cfg(target_os = "linux")]

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

mp::enable_in_tests!();

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// A supervisor: the socket that `NOTIFY_SOCKET` names.
struct Supervisor {
    socket: UnixDatagram,
    path: String,
    _directory: tempfile::TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path, _directory: directory }
    }

    /// The next message, or `None` after so long.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut bytes = [0; 4096];
        let length = loop {
            match self.socket.recv(&mut bytes) {
                // This process was stopped and goes on.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                heard => break heard.ok()?,
            }
        };
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// Hears until one has this line; gives that message and how many there were before.
    fn wait_for(&self, line: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.hear(left.max(Duration::from_millis(1)));
            let message = message.unwrap_or_else(|| panic!("`{line}` was never said"));
            if message.lines().any(|said| said.starts_with(line)) {
                return message;
            }
        }
    }

    /// Forgets what was said so far.
    fn forget(&self) {
        while self.hear(Duration::from_millis(1)).is_some() {}
    }
}

#[test]
fn ready_status_reload_and_stop_are_told() {
    let supervisor = Supervisor::new();
    let mut daemon = Daemon::start_with(&[], &[("NOTIFY_SOCKET", &supervisor.path)]);
    supervisor.wait_for("READY=1");
    let status = supervisor.wait_for("STATUS=");
    assert!(status.contains("serving: 1 templates, 0 workers"), "{status}");

    let process = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    supervisor.wait_for("STATUS=serving: 2 templates, 1 workers");
    process.kill().unwrap();
    process.join();
    supervisor.wait_for("STATUS=serving: 2 templates, 0 workers");

    assert!(daemon.mpctl(&["reload"]).status.success());
    let reloading = supervisor.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    supervisor.wait_for("READY=1");

    assert!(daemon.stop().success());
    supervisor.wait_for("STOPPING=1");
}

#[test]
fn the_watchdog_hears_of_it_only_while_workers_can_be_had() {
    let supervisor = Supervisor::new();
    let environment = [("NOTIFY_SOCKET", supervisor.path.as_str()), ("WATCHDOG_USEC", "200000")];
    let daemon = Daemon::start_with(&[], &environment);
    // Nothing to prove yet: the loop turns.
    supervisor.wait_for("WATCHDOG=1");
    let process = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    supervisor.forget();
    for _ in 0..5 {
        supervisor.wait_for("WATCHDOG=1");
    }

    let template = template_pid(&daemon);
    kill(template, Signal::SIGSTOP).unwrap();
    supervisor.forget();
    // One proof may have been under way.
    let mut pings = 0;
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        let message = supervisor.hear(Duration::from_millis(50));
        pings += u32::from(message.is_some_and(|said| said.contains("WATCHDOG=1")));
    }
    assert!(pings <= 1, "{pings} proofs with a template that does not move");
    kill(template, Signal::SIGCONT).unwrap();
    supervisor.wait_for("WATCHDOG=1");
    assert!(process.is_alive());
    process.kill().unwrap();
    process.join();
}

fn template_pid(daemon: &Daemon) -> Pid {
    let output = daemon.mpctl(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let pid = status["templates"][0]["pid"].as_i64().unwrap_or_else(|| panic!("{status}"));
    Pid::from_raw(i32::try_from(pid).unwrap())
}

#[test]
fn a_supervisor_that_goes_away_is_no_reason_to_end() {
    let supervisor = Supervisor::new();
    let environment = [("NOTIFY_SOCKET", supervisor.path.as_str()), ("WATCHDOG_USEC", "100000")];
    let daemon = Daemon::start_with(&[], &environment);
    supervisor.wait_for("READY=1");
    std::fs::remove_file(&supervisor.path).unwrap();
    drop(supervisor);
    let process = daemon.context().process::<sleep_for_ever>(()).start().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(daemon.mpctl(&["reload"]).status.success());
    process.kill().unwrap();
    process.join();
    assert!(daemon.log().contains("NOTIFY_SOCKET"), "{}", daemon.log());
    // Said once, not at every ping.
    assert!(daemon.log().matches("NOTIFY_SOCKET").count() <= 2, "{}", daemon.log());
}
