//! The pool's own process is ended: no worker outlives it.

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds::{self, Moments};
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, proc, program};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const OWNER: &str = env!("CARGO_BIN_EXE_pool_owner");
const WORKERS: usize = 3;

/// A program with a pool; it is killed with its process group when this goes.
struct Owner {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    workers: Vec<u32>,
}

impl Owner {
    fn start(method: &str, what: &str, directory: &std::path::Path) -> Self {
        let mut command = program::command(OWNER, directory);
        command.args([method, &WORKERS.to_string(), what]);
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, workers: Vec::new() }
    }

    /// The next line of its output; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Waits until it has said who its workers are, and that they work.
    fn wait_until_busy(&mut self) {
        let line = self.line();
        self.workers = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(self.workers.len(), WORKERS, "{line:?}");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Waits for its end; gives how long its workers lived longer.
    fn wait_for_the_end(&mut self, before: &[u32]) -> (std::process::ExitStatus, Duration) {
        let mut status = None;
        let ended = eventually(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "it goes on");
        let begun = Instant::now();
        let left = || before.iter().filter(|pid| proc::is_running(**pid)).collect::<Vec<_>>();
        let gone = eventually(PATIENCE, || left().is_empty());
        assert!(gone, "{:?} still run after {:?}", left(), begun.elapsed());
        (status.unwrap(), begun.elapsed())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Runs it in a directory of its own, with a daemon if there must be one.
fn with_directory(method: &str, body: impl FnOnce(&std::path::Path, Option<&Daemon>)) {
    if method == "forkserver" {
        let daemon = Daemon::start(&[]);
        return body(daemon.directory(), Some(&daemon));
    }
    let directory = tempfile::tempdir().unwrap();
    body(directory.path(), None);
}

/// Everybody who is of the program: below it, or of its daemon.
fn everybody(owner: &Owner, daemon: Option<&Daemon>) -> Vec<u32> {
    let mut all = proc::descendants(owner.child.id());
    all.extend_from_slice(&owner.workers);
    let spares = daemon.map(Daemon::descendants).unwrap_or_default();
    // Templates and spares of the daemon live on.
    all.retain(|pid| owner.workers.contains(pid) || !spares.contains(pid));
    all
}

fn killed(method: &str) {
    with_directory(method, |directory, daemon| {
        let mut longest = Duration::ZERO;
        for _ in 0..seeds::count(2) {
            let mut owner = Owner::start(method, "work", directory);
            owner.wait_until_busy();
            let all = everybody(&owner, daemon);
            kill(owner.pid(), Signal::SIGKILL).unwrap();
            let (_, took) = owner.wait_for_the_end(&all);
            longest = longest.max(took);
        }
        println!("{method}: no worker outlived its pool by more than {longest:?}");
    });
}

/// Also those that are about to start.
fn killed_at_any_time(method: &str) {
    with_directory(method, |directory, daemon| {
        let mut moments = Moments::of(seeds::any());
        for _ in 0..seeds::count(4) {
            let mut owner = Owner::start(method, "work", directory);
            crate::pause(&mut moments, Duration::from_millis(120));
            let before = everybody(&owner, daemon);
            kill(owner.pid(), Signal::SIGKILL).unwrap();
            owner.wait_for_the_end(&before);
            // Whoever was started in between has its standard output, or names its directory.
            let mut rest = String::new();
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while owner.lines.read_line(&mut rest).unwrap() > 0 {}
                    sender.send(()).unwrap();
                });
                let at_an_end = receiver.recv_timeout(PATIENCE).is_ok();
                if !at_an_end {
                    eprintln!(
                        "somebody still has the standard output: {:?}",
                        proc::mentioning(directory)
                    );
                    std::process::abort();
                }
            });
        }
    });
}

/// A Ctrl-C that the program does not handle ends it, and its workers with it.
fn interrupted(method: &str) {
    with_directory(method, |directory, daemon| {
        let mut owner = Owner::start(method, "work", directory);
        owner.wait_until_busy();
        let all = everybody(&owner, daemon);
        killpg(owner.pid(), Signal::SIGINT).unwrap();
        let (status, _) = owner.wait_for_the_end(&all);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2), "{status}");
    });
}

/// One that the program handles is for the program only: its workers go on, and it ends in order.
fn interrupted_in_order(method: &str) {
    with_directory(method, |directory, daemon| {
        for what in ["finish", "give-up"] {
            let mut owner = Owner::start(method, what, directory);
            owner.wait_until_busy();
            let all = everybody(&owner, daemon);
            killpg(owner.pid(), Signal::SIGINT).unwrap();
            let said = owner.line();
            assert_eq!(said, if what == "finish" { "done 40" } else { "terminated" });
            let (status, _) = owner.wait_for_the_end(&all);
            assert!(status.success(), "{status}");
        }
    });
}

/// Makes a test of each under every start method.
macro_rules! under_all {
    ($($method:ident),+) => {
        $(mod $method {
            #[test]
            fn killed() {
                super::killed(stringify!($method));
            }

            #[test]
            fn killed_at_any_time() {
                super::killed_at_any_time(stringify!($method));
            }

            #[test]
            fn interrupted() {
                super::interrupted(stringify!($method));
            }

            #[test]
            fn interrupted_in_order() {
                super::interrupted_in_order(stringify!($method));
            }
        })+
    };
}

under_all!(spawn, forkserver, fork);
