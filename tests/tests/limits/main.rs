//! Limits of workers: from configuration and from clients, with and without control groups.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod broken;
mod descendants;
mod groups;
mod kinds;
mod looser;
mod quotas;

use mp::{ProcessError, Refusal, StartError};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::death::{Cause, Certificate, DeathsQuery};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A daemon with these limits, and without control groups: the same everywhere.
fn daemon(limits: &[&str]) -> Daemon {
    let mut arguments = vec!["--limits", "cgroup=off"];
    limits.iter().for_each(|limit| arguments.extend(["--limits", limit]));
    Daemon::start(&arguments)
}

/// A daemon with this configuration file.
fn daemon_of(configuration: &str) -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mpserverd.toml");
    std::fs::write(&file, configuration).unwrap();
    (Daemon::start(&["--config", file.to_str().unwrap()]), folder)
}

/// The certificate of a worker that has ended.
fn certificate(daemon: &Daemon, pid: u32) -> Certificate {
    let mut found = None;
    let told = eventually(PATIENCE, || {
        let query = DeathsQuery { after: 0, limit: 100_000, worker: None, cause: None };
        let (reply, _) = daemon.connect().call(&Request::Deaths(query), &[], None).unwrap();
        let Reply::Deaths(report) = reply else { panic!("{reply:?}") };
        let mut rows = report.rows.into_iter().map(|death| death.certificate);
        found = rows.rfind(|certificate| certificate.pid == pid);
        found.is_some()
    });
    assert!(told, "no certificate of {pid}");
    found.unwrap()
}

fn cause(daemon: &Daemon, pid: u32) -> Cause {
    certificate(daemon, pid).cause
}

/// What the daemon refused.
fn refusal<R>(started: Result<mp::Process<R>, StartError>) -> Refusal {
    match started {
        Err(StartError::Daemon(mp::DaemonError::Refused(refusal))) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was started"),
    }
}

/// How a process ended that gave no result.
fn death<R>(process: &mp::Process<R>) -> i32 {
    match process.result_timeout(PATIENCE) {
        Err(ProcessError::Died { .. }) => process.join(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it returned"),
    }
}

/// A folder that control groups can be made in, for root on a machine that has version 2.
fn groups() -> Result<Groups, String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4))?
    });
    let mount = mount.ok_or("no control groups of version 2 are mounted")?;
    let path = Path::new(mount).join(format!("mpserverd-test-{}", unique()));
    std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Groups { path })
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A control group of the test's own, removed with all below it.
struct Groups {
    path: PathBuf,
}

impl Groups {
    fn option(&self) -> String {
        format!("cgroup={}", self.path.display())
    }

    /// Groups of workers that are there.
    fn workers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with("w-")).collect()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = std::fs::write(self.path.join("cgroup.kill"), "1");
        let gone = eventually(Duration::from_secs(5), || {
            let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
            entries.for_each(|entry| drop(std::fs::remove_dir(entry.path())));
            std::fs::remove_dir(&self.path).is_ok()
        });
        if !gone {
            eprintln!("{} is left", self.path.display());
        }
    }
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

#[mp::task]
fn nothing() {}
