//! Parents, children and grandchildren: who belongs to whom, and who outlives whom.

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use mpserverd_tests::{eventually, proc, program, suite};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");

/// Pid, parent's pid as the kernel sees it, and names.
type Generation = (u32, u32, String, String);

fn own_generation() -> Generation {
    let parent = mp::parent_process().map_or(String::new(), |parent| parent.name().to_owned());
    let name = mp::current_process().name().to_owned();
    (std::process::id(), nix::unistd::getppid().as_raw() as u32, name, parent)
}

/// This worker and, below it, more of them by its own default method.
#[mp::task]
fn generations(depth: u32) -> Vec<Generation> {
    let mut all = vec![own_generation()];
    if depth > 0 {
        let ctx = mp::get_context(None).with_fallback(mp::Fallback::Fail);
        all.extend(value(ctx.process::<generations>((depth - 1,))));
    }
    all
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

#[mp::task]
fn squared(x: u64) -> u64 {
    x * x
}

/// Starts children, gives their pids, and ends: a daemonic one and (if asked) one that goes on.
#[mp::task]
fn start_a_daemonic_child() -> u32 {
    let ctx = mp::get_context(None);
    ctx.process::<sleep_for_ever>(()).daemon(true).start().unwrap().pid()
}

suite![
    grandchildren_know_their_parents,
    daemonic_grandchildren_end_with_their_parent,
    daemonic_processes_may_have_children,
];

fn grandchildren_know_their_parents(ctx: &mp::Context) {
    let all = value(ctx.process::<generations>((2,)).name("Process-7"));
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].3, mp::current_process().name());
    for pair in all.windows(2) {
        assert_eq!(pair[1].3, pair[0].2);
        assert!(pair[1].2.starts_with("Process-"), "{all:?}");
    }
    if ctx.method() == mp::StartMethod::ForkServer {
        // All of one template.
        assert!(all.iter().all(|one| one.1 == all[0].1), "{all:?}");
    } else {
        assert!(all.windows(2).all(|pair| pair[1].1 == pair[0].0), "{all:?}");
    }
}

fn daemonic_grandchildren_end_with_their_parent(ctx: &mp::Context) {
    let process = ctx.process::<start_a_daemonic_child>(()).start().unwrap();
    let grandchild = outcome(&process).unwrap();
    assert_eq!(end(&process), 0);
    assert!(eventually(PATIENCE, || !proc::is_running(grandchild)));
}

fn daemonic_processes_may_have_children(ctx: &mp::Context) {
    assert_eq!(value(ctx.process::<generations>((1,)).daemon(true)).len(), 2);
}

/// Runs a program by each method at once, with a daemon for it.
fn by_each_method(run: impl Fn(&str, &Path) + Sync) {
    let daemon = Daemon::start(&[]);
    let (run, directory) = (&run, daemon.directory());
    std::thread::scope(|scope| {
        for method in ["spawn", "forkserver", "fork"] {
            scope.spawn(move || run(method, directory));
        }
    });
}

/// Runs the subject until it has told the pids of its children, and kills it.
fn children_of_a_killed_parent(what: &str, method: &str, directory: &Path) -> Vec<u32> {
    let mut parent = program::command(SUBJECT, directory)
        .args([what, method])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    line.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Forks while another thread works on the list of children; how many children ended in order.
#[mp::task]
fn fork_amid_changes(rounds: u32) -> u32 {
    let ctx = mp::get_context(mp::StartMethod::Fork);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = mp::active_children();
            }
        });
        let ended = (0..rounds).take_while(|&round| {
            let child = ctx.process::<squared>((round.into(),)).allow_threads(true);
            let child = child.deadline(PATIENCE).start().unwrap();
            child.join_timeout(PATIENCE) == Some(0)
        });
        let ended = ended.count() as u32;
        over.store(true, Ordering::Relaxed);
        ended
    })
}

#[test]
fn a_fork_amid_a_change_of_the_list_of_children_can_end() {
    // In a process of its own: forks copy the threads' locks of whoever else is at work.
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    assert_eq!(value(spawn.process::<fork_amid_changes>((300,))), 300);
}

#[test]
fn a_normal_end_ends_daemonic_children_and_waits_for_others() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    let mut subject = program::command(SUBJECT, directory.path());
    let daemonic = program::output(subject.args(["leave-children", mark.to_str().unwrap()]));
    assert!(mark.exists(), "the other child was not waited for");
    assert!(!proc::is_running(daemonic.trim().parse().unwrap()));
}

#[test]
fn a_killed_parent_takes_with_it_who_is_tied_to_it() {
    by_each_method(|method, directory| {
        let pids = children_of_a_killed_parent("children-of-a-victim", method, directory);
        let [daemonic, other, tied] = pids[..] else { panic!("{method}: {pids:?}") };
        for pid in [daemonic, tied] {
            assert!(eventually(PATIENCE, || !proc::is_running(pid)), "{method}: {pids:?}");
        }
        assert!(proc::is_running(other), "{method}: {pids:?}");
        proc::kill_exactly(proc::identity(other).unwrap());
    });
}

#[test]
fn a_deadline_holds_without_the_parent() {
    by_each_method(|method, directory| {
        let pids = children_of_a_killed_parent("deadlines-of-orphans", method, directory);
        assert_eq!(pids.len(), 2, "{method}");
        // Neither the long grace of the one nor the signal that the other ignores keeps it.
        for &pid in &pids {
            assert!(eventually(PATIENCE, || !proc::is_running(pid)), "{method}: {pids:?}");
        }
    });
}

#[test]
fn closed_streams_are_dev_null_and_stay_closed() {
    by_each_method(|method, directory| {
        let out = directory.join(method);
        let mut subject = program::command(SUBJECT, directory);
        let _ = program::output(subject.args(["closed-streams", method]).arg(&out));
        let null = r#"["/dev/null", "/dev/null", "/dev/null"]"#;
        let text = std::fs::read_to_string(out).unwrap();
        let lines = text.lines().collect::<Vec<_>>();
        let squares = ["Some(0) Some(0)", "Some(1) Some(0)", "Some(4) Some(0)"];
        assert_eq!(lines[..3], squares, "{method}");
        assert_eq!(lines[3], format!("Some({null})"), "{method}");
        let closed = "No such file or directory (os error 2)";
        assert_eq!(lines[4], format!("{:?}", [closed; 3]), "{method}");
    });
}

#[test]
fn a_deleted_working_directory_is_passed_on() {
    by_each_method(|method, directory| {
        let mut subject = program::command(SUBJECT, directory);
        let kind = program::output(subject.args(["deleted-cwd", method]));
        assert_eq!(kind.trim(), "NotFound", "{method}");
    });
}

#[test]
fn a_stack_overflow_is_an_abort() {
    by_each_method(|method, directory| {
        let mut subject = program::command(SUBJECT, directory);
        let code = program::output(subject.args(["overflow", method]).stderr(Stdio::null()));
        assert_eq!(code.trim(), "-6", "{method}");
    });
}

#[test]
fn another_executable_can_be_the_worker() {
    // This very program, by another name: it has the tasks and calls `freeze_support`.
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other name");
    program::copy(std::env::current_exe().unwrap(), &other);
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    assert_eq!(value(spawn.process::<run_as>((other.clone(), None))), (9, other.clone()));
    let daemon = Daemon::start(&[]);
    let served = value(spawn.process::<run_as>((other, Some(daemon.socket()))));
    assert_eq!(served.0, 9);
}

#[mp::task]
fn own_program() -> std::path::PathBuf {
    std::fs::read_link("/proc/self/exe").unwrap()
}

/// In a process of its own, because the choice holds for a whole process.
#[mp::task]
fn run_as(
    program: std::path::PathBuf,
    socket: Option<std::path::PathBuf>,
) -> (u64, std::path::PathBuf) {
    mp::set_executable(&program);
    let ctx = match socket {
        None => mp::get_context(mp::StartMethod::Spawn),
        Some(socket) => mp::get_context(mp::StartMethod::ForkServer)
            .with_socket(socket)
            .with_fallback(mp::Fallback::Fail),
    };
    assert_eq!(value(ctx.process::<own_program>(())), program);
    (value(ctx.process::<squared>((3,))), value(ctx.process::<own_program>(())))
}

#[test]
fn an_interrupt_for_the_terminal_disturbs_neither_template_nor_workers() {
    let daemon = Daemon::start(&[]);
    let ctx = daemon.context();
    let sleeper = ctx.process::<sleep_for_ever>(()).start().unwrap();
    let template = value(ctx.process::<generations>((0,)))[0].1;
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(Pid::from_raw(template as i32), signal).unwrap();
    }
    assert_eq!(value(ctx.process::<squared>((5,))), 25);
    assert_eq!(value(ctx.process::<generations>((0,)))[0].1, template);
    assert!(sleeper.is_alive());
    // Nobody below the daemon is in its process group, so a terminal does not reach them.
    let group = |pid: u32| nix::unistd::getpgid(Some(Pid::from_raw(pid as i32))).unwrap();
    assert_ne!(group(template), group(daemon.pid()));
    assert_eq!(group(sleeper.pid()), group(template));
    sleeper.terminate().unwrap();
    assert_eq!(end(&sleeper), -15);
}
