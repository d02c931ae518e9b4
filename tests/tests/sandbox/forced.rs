//! What the daemon's configuration forces on workers: it holds whatever a client says, and who
//! asks for more than it leaves hears by which key.

use crate::attempts::{Attempts, Place, attempt, can};
use crate::hostile::{ends, lease};
use mp::{Deny, JobError, ProcessError, Sandbox};
use mpserverd_proto::packet::Kind;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{end, outcome};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use tempfile::TempDir;

const EPERM: i32 = 1;

/// A daemon with these tables in its configuration.
struct Host {
    daemon: Daemon,
    file: PathBuf,
    _folder: TempDir,
}

impl Host {
    fn with(tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mpserverd.toml");
        std::fs::write(&file, tables).unwrap();
        let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
        Self { daemon, file, _folder: folder }
    }

    fn reconfigure(&self, tables: &str) {
        std::fs::write(&self.file, tables).unwrap();
    }

    /// What a worker is told there.
    fn told(&self, place: &Place, sandbox: Option<Sandbox>) -> Result<Attempts, ProcessError> {
        place.fill();
        let mut builder = self.daemon.context().process::<attempt>(place.arguments());
        if let Some(sandbox) = sandbox {
            builder = builder.sandbox(sandbox);
        }
        let process = builder.start().unwrap();
        let told = outcome(&process);
        if matches!(told, Err(ProcessError::Rejected(JobError::SandboxForced { .. }))) {
            assert_eq!(end(&process), 100);
        }
        told
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut end = [nix::poll::PollFd::new(pidfd.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut end, nix::poll::PollTimeout::ZERO) == Ok(1)
}

fn key(told: Result<Attempts, ProcessError>) -> String {
    match told {
        Err(ProcessError::Rejected(JobError::SandboxForced { key, .. })) => key,
        other => panic!("{other:?}"),
    }
}

fn able() -> bool {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    can(&spawn, Sandbox::new().no_files().deny(Deny::Exec))
}

#[test]
fn it_holds_for_who_asks_for_nothing_and_adds_to_who_asks_for_more() {
    if !able() {
        return;
    }
    let host = Host::with("[sandbox]\ndeny = ['no-exec']\n");
    let place = Place::new();
    let forced = Attempts { exec: EPERM, ..Attempts::default() };
    assert_eq!(host.told(&place, None).unwrap(), forced);
    assert_eq!(host.told(&place, Some(Sandbox::new())).unwrap(), forced);
    let more = host.told(&place, Some(Sandbox::new().deny(Deny::Ptrace))).unwrap();
    assert_eq!(more, Attempts { peek: EPERM, ..forced });
    assert_eq!(key(host.told(&place, Some(Sandbox::unconfined()))), "sandbox");
    // A pool's workers are workers like others.
    place.fill();
    let pool = host.daemon.context().pool().processes(1).build().unwrap();
    assert_eq!(pool.apply::<attempt>(place.arguments()).unwrap().exec, EPERM);
}

#[test]
fn paths_can_only_be_narrowed() {
    if !able() {
        return;
    }
    let place = Place::new();
    let shown = place.path().display();
    let host = Host::with(&format!("[sandbox]\nread_only = ['{shown}']\n"));
    let read = host.told(&place, None).unwrap();
    assert_eq!((read.read, read.write), (0, libc::EACCES));
    let inside = Sandbox::new().read_only(place.path().join("secret"));
    let read = host.told(&place, Some(inside)).unwrap();
    assert_eq!((read.read, read.list), (0, libc::EACCES));
    for (looser, want) in [
        (Sandbox::new().read_write(place.path()), "sandbox.read_write"),
        (Sandbox::new().read_only("/etc"), "sandbox.read_only"),
        (Sandbox::new().execute("/bin"), "sandbox.execute"),
        (Sandbox::unconfined(), "sandbox"),
    ] {
        assert_eq!(key(host.told(&place, Some(looser))), want);
    }
    assert!(place.path().join("old").exists(), "a task ran that must not");
}

#[test]
fn programs_and_users_have_their_own() {
    if !able() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let program = program.file_name().unwrap().to_str().unwrap();
    let uid = nix::unistd::geteuid();
    let host = Host::with(&format!(
        "[sandbox.module.'{program}']\ndeny = ['no-exec']\n\
         [sandbox.module.other]\nno_files = true\n\
         [sandbox.uid.{uid}]\ndeny = ['no-ptrace']\n\
         [sandbox.uid.4242]\nno_files = true\n",
    ));
    let place = Place::new();
    let want = Attempts { exec: EPERM, peek: EPERM, ..Attempts::default() };
    assert_eq!(host.told(&place, None).unwrap(), want);
    let named = key(host.told(&place, Some(Sandbox::unconfined())));
    assert_eq!(named, format!("sandbox.module.{program}"));
}

/// Workers are started one after another while the confinement changes time and again: each start
/// is confined by what was in force when it began or later, and none fails for it.
#[test]
fn starts_amid_changes_fail_for_nothing() {
    if !able() {
        return;
    }
    let host = Host::with("");
    let place = Place::new();
    std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            for round in 0..12 {
                let denied = ["no-exec', 'no-kernel", "no-exec"][round % 2];
                host.reconfigure(&format!("[sandbox]\ndeny = ['{denied}']\n"));
                let reloaded = host.daemon.mpctl(&["reload"]);
                assert!(reloaded.status.success(), "{reloaded:?}");
            }
        });
        while !reloads.is_finished() {
            // Of the first ones nothing is demanded: they may have begun before the first reload.
            host.told(&place, None).unwrap();
        }
    });
    let bound = || host.told(&place, None).unwrap().exec == EPERM;
    assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, bound));
}

/// A reload builds templates that force the new, and a template of an earlier daemon with another
/// configuration serves nobody.
#[test]
fn reloads_and_restarts_leave_no_worker_with_the_old() {
    if !able() {
        return;
    }
    let mut host = Host::with("");
    let place = Place::new();
    assert_eq!(host.told(&place, None).unwrap().exec, 0);
    host.reconfigure("[sandbox]\ndeny = ['no-exec']\n");
    // Starts in quick succession: the next lease is taken in advance, under the old configuration.
    (0..3).for_each(|_| assert_eq!(host.told(&place, None).unwrap().exec, 0));
    let (job, held) = lease(&host.daemon);
    let reloaded = host.daemon.mpctl(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    // Who holds a lease is told a moment after whoever asked for the reload.
    let bound = || host.told(&place, None).unwrap().exec == EPERM;
    assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, bound));
    assert!(ends(&held), "a lease that was held over the reload can still be used");
    let late = mp::sys::packet::send(job.as_fd(), Kind::Job, &[b"job"], &[], false);
    assert!(late.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
    // A reload that confines as before calls nobody off.
    let (_job, held) = lease(&host.daemon);
    assert!(host.daemon.mpctl(&["reload"]).status.success());
    assert_eq!(host.told(&place, None).unwrap().exec, EPERM);
    assert!(!has_ended(&held), "a lease that is as good as any");
    host.reconfigure("[sandbox]\ndeny = ['no-exec', 'no-ptrace']\n");
    host.daemon.kill();
    host.daemon.restart();
    // What this process leased in advance is called off once the template finds the next daemon.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for _ in 0..20 {
        // Before and after the old template finds the new daemon.
        let told = host.told(&place, None).unwrap();
        assert_eq!((told.exec, told.peek), (EPERM, EPERM));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn mpctl_confines_and_says_why_not() {
    if !able() {
        return;
    }
    let misbehave = mpserverd_tests::build::artifacts().misbehave.to_str().unwrap();
    let host = Host::with(&format!("preload = ['{misbehave}']\n[sandbox]\nread_only = ['/dev']\n"));
    let run = |words: &[&str]| {
        let mut arguments = vec!["run", "misbehave::print", "hello"];
        arguments.extend(words.iter().flat_map(|word| ["--sandbox", word]));
        let output = host.daemon.mpctl(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = run(&["no-exec", "deny=swapon", "read-only=/dev/null"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["read-only=/etc"]);
    assert!(code == Some(100) && said.contains("sandbox.read_only"), "{code:?} {said}");
    let (code, said) = run(&["no-fun"]);
    assert!(code == Some(100) && said.contains("no-exec"), "{code:?} {said}");
}
