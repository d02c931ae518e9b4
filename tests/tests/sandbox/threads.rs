//! Both threads of a worker are confined: the one that runs the task, and the controller. What they
//! start is too. Siblings are not.

use crate::attempts::{Attempts, Place, attempt, can};
use mp::{Deny, Sandbox};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, value};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// What each thread's `status` says about new privileges and filters, and its namespaces.
#[mp::task]
fn threads() -> Vec<(String, Vec<PathBuf>)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let about = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let lines = status.lines();
        let lines = lines.filter(|l| l.starts_with("NoNewPrivs") || l.starts_with("Seccomp:"));
        let lines = lines.collect::<Vec<_>>().join(" ");
        let spaces = ["net", "mnt", "user"].map(|space| task.path().join("ns").join(space));
        (lines, spaces.map(|space| std::fs::read_link(space).unwrap()).into())
    };
    tasks.map(about).collect()
}

fn every_thread_has_the_same_confinement(ctx: &mp::Context) {
    let sandbox = Sandbox::new().deny(Deny::Exec).private_network().private_tmp();
    if !can(ctx, sandbox.clone()) {
        return;
    }
    let threads = value(ctx.process::<threads>(()).sandbox(sandbox));
    assert!(threads.len() >= 2, "{threads:?}");
    assert!(threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");
    let (lines, spaces) = &threads[0];
    assert!(lines.contains("NoNewPrivs:\t1") && lines.contains("Seccomp:\t2"), "{lines}");
    let own = |space: &str| std::fs::read_link(format!("/proc/self/ns/{space}")).unwrap();
    assert!(spaces[0] != own("net") && spaces[1] != own("mnt"), "{spaces:?}");
}

static SECRET: OnceLock<CString> = OnceLock::new();
static TOLD: AtomicI32 = AtomicI32::new(-1);
static WHO: AtomicI32 = AtomicI32::new(0);

/// Opens the secret, on whichever thread the signal comes to.
extern "C" fn open_secret(_: libc::c_int) {
    let Some(secret) = SECRET.get() else { return };
    // SAFETY: a path that ends with a zero; `open` may be called in a handler.
    let opened = unsafe { libc::open(secret.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let error = if opened == -1 { nix::errno::Errno::last_raw() } else { 0 };
    // SAFETY: it has no preconditions.
    WHO.store(unsafe { libc::gettid() }, Ordering::Release);
    TOLD.store(error, Ordering::Release);
}

/// What the other thread is told when it opens this file, and whether it is the controller.
#[mp::task]
fn by_the_controller(secret: PathBuf) -> (i32, bool) {
    SECRET.set(CString::new(secret.as_os_str().as_bytes()).unwrap()).unwrap();
    let signals = SigSet::from_iter([Signal::SIGUSR2]);
    // This thread does not take it, so the other one does.
    signals.thread_block().unwrap();
    let action =
        SigAction::new(SigHandler::Handler(open_secret), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler only makes calls that a handler may make.
    unsafe { sigaction(Signal::SIGUSR2, &action) }.unwrap();
    let me = nix::unistd::Pid::this();
    kill(me, Signal::SIGUSR2).unwrap();
    assert!(mpserverd_tests::eventually(PATIENCE, || TOLD.load(Ordering::Acquire) >= 0));
    (TOLD.load(Ordering::Acquire), WHO.load(Ordering::Acquire) == me.as_raw())
}

fn the_controller_cannot_open_what_the_task_cannot(ctx: &mp::Context) {
    if !can(ctx, Sandbox::new().no_files()) {
        return;
    }
    let place = Place::new();
    let secret = place.path().join("secret");
    let open = || ctx.process::<by_the_controller>((secret.clone(),));
    assert_eq!(value(open()), (0, true));
    assert_eq!(value(open().sandbox(Sandbox::new().no_files())), (libc::EACCES, true));
}

/// Says that it is there, and waits to be let go.
#[mp::task]
fn wait(here: mp::Event, go: mp::Event) {
    here.set();
    assert!(go.wait(Some(PATIENCE)));
}

fn siblings_are_free(ctx: &mp::Context) {
    let sandbox = Sandbox::new().no_files().deny(Deny::Exec).deny(Deny::Network);
    if !can(ctx, sandbox.clone()) {
        return;
    }
    let (here, go) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
    let confined =
        ctx.process::<wait>((here.clone(), go.clone())).sandbox(sandbox).start().unwrap();
    assert!(here.wait(Some(PATIENCE)));
    let place = Place::new();
    assert_eq!(value(ctx.process::<attempt>(place.arguments())), Attempts::default());
    go.set();
    suite::outcome(&confined).unwrap();
}

/// What a worker of this worker is told.
#[mp::task]
fn by_a_child(method: String, socket: Option<PathBuf>, folder: PathBuf, port: u16) -> Attempts {
    let mut ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
    if let Some(socket) = socket {
        ctx = ctx.with_socket(socket).with_fallback(mp::Fallback::Fail);
    }
    value(ctx.process::<attempt>((folder, port)))
}

/// Also one that a daemon forks, which the kernel knows nothing of.
fn what_it_starts_is_confined_too(ctx: &mp::Context) {
    let sandbox = Sandbox::new().deny(Deny::Ptrace).private_network();
    if !can(ctx, sandbox.clone()) {
        return;
    }
    let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
    let want = Attempts {
        peek: libc::EPERM,
        connect: libc::ENETUNREACH,
        unshare: libc::EPERM,
        ..Attempts::default()
    };
    for (method, socket) in [("fork", None), ("spawn", None), ("forkserver", Some(daemon.socket()))]
    {
        let place = Place::new();
        let (folder, port) = place.arguments();
        let arguments = (method.to_owned(), socket, folder, port);
        let told = value(ctx.process::<by_a_child>(arguments).sandbox(sandbox.clone()));
        assert_eq!(told, want, "{method}");
    }
}

/// A thread that runs already cannot be confined, so nothing is, and the task does not run.
#[test]
fn threads_of_hooks_are_in_the_way() {
    let misbehave = mpserverd_tests::build::artifacts().misbehave.to_str().unwrap();
    let daemon = mpserverd_tests::daemon::Daemon::start_with(
        &["--preload", misbehave],
        &[("MISBEHAVE", "after-fork-thread")],
    );
    let echo = |words: &[&str]| {
        let output = daemon.mpctl(&[&["run", "misbehave::echo", "hello"], words].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    assert_eq!(echo(&[]).0, Some(0));
    let (code, said) = echo(&["--sandbox", "no-exec"]);
    assert!(code == Some(111) && said.contains("it has 2 threads"), "{code:?} {said}");
    assert!(said.contains("sleeper") && said.contains("after_fork"), "{said}");
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// The controller has been elsewhere meanwhile, but looks after everything that it is for.
fn the_controller_still_controls(ctx: &mp::Context) {
    if !can(ctx, everything()) {
        return;
    }
    let limit = std::time::Duration::from_millis(50);
    let process = ctx.process::<sleep_for_ever>(()).sandbox(everything()).deadline(limit);
    let process = process.start().unwrap();
    let error = suite::outcome(&process).unwrap_err();
    assert!(matches!(error, mp::ProcessError::DeadlineExceeded(_)), "{error}");
    assert_eq!(suite::end(&process), -9);
    let process = ctx.process::<sleep_for_ever>(()).sandbox(everything()).start().unwrap();
    process.terminate().unwrap();
    assert_eq!(suite::end(&process), -15);
    let process = ctx.process::<panics>(()).sandbox(everything()).env("RUST_BACKTRACE", "0");
    let error = suite::outcome(&process.start().unwrap()).unwrap_err();
    assert!(matches!(error, mp::ProcessError::Panicked(_)), "{error}");
}

#[mp::task]
fn panics() {
    panic!("as asked");
}

fn everything() -> Sandbox {
    let words = ["no-files", "private-network", "private-tmp"].into_iter();
    let words = words.chain(mpserverd_proto::sandbox::Deny::ALL.map(|(_, name)| name));
    words.fold(Sandbox::new(), |sandbox, word| sandbox.word(word).unwrap())
}

/// Starts a confined worker that dies with it; says who that is.
#[mp::task]
fn start_one_and_wait(method: String, socket: Option<PathBuf>, pid: mp::Value<u32>) {
    let mut ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
    if let Some(socket) = socket {
        ctx = ctx.with_socket(socket).with_fallback(mp::Fallback::Fail);
    }
    let policy = mp::OnParentDeath::Kill;
    let process = ctx.process::<sleep_for_ever>(()).sandbox(everything()).on_parent_death(policy);
    let process = process.start().unwrap();
    pid.set(process.pid());
    let _ = suite::outcome(&process);
}

#[test]
fn a_confined_worker_dies_with_its_client() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    if !can(&spawn, everything()) {
        return;
    }
    let daemon = mpserverd_tests::daemon::Daemon::start(&[]);
    for (method, socket) in [("fork", None), ("spawn", None), ("forkserver", Some(daemon.socket()))]
    {
        let pid = mp::Value::new(0u32).unwrap();
        let arguments = (method.to_owned(), socket, pid.clone());
        let client = spawn.process::<start_one_and_wait>(arguments).start().unwrap();
        assert!(mpserverd_tests::eventually(PATIENCE, || pid.value() != 0), "{method}");
        // Whether it has its job by then or not.
        client.kill().unwrap();
        let gone = || !mpserverd_tests::proc::is_running(pid.value());
        assert!(mpserverd_tests::eventually(PATIENCE, gone), "{method}: it lives on");
    }
}

suite![
    the_controller_still_controls,
    every_thread_has_the_same_confinement,
    the_controller_cannot_open_what_the_task_cannot,
    siblings_are_free,
    what_it_starts_is_confined_too,
];
