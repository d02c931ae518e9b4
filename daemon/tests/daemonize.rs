//! Going into the background, with a process that really does. It plays all roles itself: without
//! the variable it is the test, with it the program that detaches.
#![allow(clippy::disallowed_methods, reason = "this test starts itself")]

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    println!("skipped: only Unix can detach\n0 passed, 0 failed, 1 skipped");
    ExitCode::SUCCESS
}

#[cfg(unix)]
mod unix {
    use mpserverd::daemonize::{Side, detach};
    use mpserverd::pid_file::PidFile;
    use std::path::{Path, PathBuf};
    use std::process::{Command, ExitCode, Output};
    use std::time::{Duration, Instant};

    const ROLE: &str = "DAEMONIZE_TEST_ROLE";

    pub(crate) fn main() -> ExitCode {
        if let Ok(role) = std::env::var(ROLE) {
            return detached(&role);
        }
        let tests: &[(&str, fn())] = &[
            ("the_parent_returns_when_the_daemon_is_ready", ready),
            ("a_failure_reaches_whoever_started_it", failing),
            ("a_death_is_noticed", dying),
            ("a_log_file_that_cannot_be_opened_is_told_before_any_fork", no_log),
            ("the_program_itself_reports_a_held_pid_file", program),
        ];
        let arguments = std::env::args().skip(1).collect::<Vec<_>>();
        let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
        if given("--list") {
            // What test runners ask a harness of their own first; none of these is ignored.
            let listed = if given("--ignored") { &[][..] } else { tests };
            listed.iter().for_each(|(name, _)| println!("{name}: test"));
            return ExitCode::SUCCESS;
        }
        let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
        let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter.as_str()));
        let chosen = tests.iter().filter(|(name, _)| wanted(name)).collect::<Vec<_>>();
        for (name, test) in &chosen {
            test();
            println!("test {name} ... ok");
        }
        println!("{} passed, 0 failed", chosen.len());
        ExitCode::SUCCESS
    }

    /// The program that detaches.
    fn detached(role: &str) -> ExitCode {
        let folder = PathBuf::from(std::env::var_os("DAEMONIZE_TEST_FOLDER").expect("folder"));
        let log = if role == "no_log" { folder.join("no/log") } else { folder.join("log") };
        let mut launch = match detach(Some(&log)) {
            Ok(Side::Parent { code, reason }) => {
                print!("{reason}");
                return ExitCode::from(code);
            }
            Ok(Side::Daemon(launch)) => launch,
            Err(error) => {
                print!("{error}");
                return ExitCode::from(42);
            }
        };
        match role {
            "ready" => {
                let held = PidFile::create(&folder.join("pid")).expect("pid file");
                let here = std::env::current_dir().expect("directory");
                eprintln!("in {}", here.display());
                launch.ready();
                wait_for(&folder.join("end"));
                drop(held);
            }
            "failing" => launch.failed(77, "no such module"),
            _ => drop(launch),
        }
        ExitCode::SUCCESS
    }

    fn start(role: &str, folder: &Path) -> Output {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.env(ROLE, role).env("DAEMONIZE_TEST_FOLDER", folder);
        command.output().expect("it starts")
    }

    fn wait_for(path: &Path) {
        wait_until(|| path.exists());
    }

    fn wait_until(done: impl Fn() -> bool) {
        let patience = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < patience, "waited too long");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn ready() {
        let folder = tempfile::tempdir().expect("folder");
        let output = start("ready", folder.path());
        assert!(output.status.success(), "{output:?}");
        let file = folder.path().join("pid");
        // No waiting: both are there when the parent returns.
        let pid: u32 = std::fs::read_to_string(&file).expect("pid").trim().parse().expect("number");
        let log = std::fs::read_to_string(folder.path().join("log")).expect("log");
        assert_eq!(log, "in /\n");
        #[cfg(target_os = "linux")]
        {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
            let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
            assert_ne!(fields[3], pid.to_string(), "no session leader: it can get no terminal");
            assert_eq!(fields[4], "0", "no terminal");
        }
        assert!(pid > 1);
        let held = PidFile::create(&file).expect_err("held").to_string();
        assert!(held.contains(&format!("(pid {pid})")), "{held}");
        std::fs::write(folder.path().join("end"), "").expect("end");
        wait_until(|| !file.exists());
    }

    fn failing() {
        let folder = tempfile::tempdir().expect("folder");
        let output = start("failing", folder.path());
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert_eq!(output.stdout, b"no such module");
    }

    fn dying() {
        let folder = tempfile::tempdir().expect("folder");
        let output = start("dying", folder.path());
        assert_eq!(output.status.code(), Some(111), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("before it was ready"));
    }

    fn no_log() {
        let folder = tempfile::tempdir().expect("folder");
        let output = start("no_log", folder.path());
        assert_eq!(output.status.code(), Some(42), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("log file"));
    }

    fn program() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("pid");
        let _held = PidFile::create(&file).expect("pid file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mpserverd"));
        command.current_dir(folder.path()).args(["--daemonize", "--pid-file", "pid"]);
        command.arg("--socket").arg("s");
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), Some(111), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("another daemon holds this pid file"), "{stderr}");
        assert!(stderr.contains(file.to_str().expect("text")), "made absolute: {stderr}");
    }
}
