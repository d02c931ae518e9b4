//! From start to end: who a process is, and what its starter sees of it.

use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a worker says about itself.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Who {
    name: String,
    pid: u32,
    authkey: Vec<u8>,
    daemon: bool,
    identity: Vec<u32>,
    is_worker: bool,
    argv: Vec<std::ffi::OsString>,
    parent: Option<(u32, String, bool)>,
    method: String,
}

#[mp::task]
fn who() -> Who {
    let me = mp::current_process();
    Who {
        name: me.name().to_owned(),
        pid: me.pid(),
        authkey: me.authkey().to_owned(),
        daemon: me.daemon(),
        identity: me.identity().to_owned(),
        is_worker: me.is_worker(),
        argv: me.argv(),
        parent: mp::parent_process().map(|p| (p.pid(), p.name().to_owned(), p.is_alive())),
        method: mp::get_start_method().to_string(),
    }
}

#[mp::task]
fn join_texts(first: String, second: &str, third: Option<u8>) -> String {
    format!("{first} {second} {third:?}")
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

#[mp::task]
fn nothing() {}

#[mp::task]
fn exit_with(code: i32) {
    std::process::exit(code)
}

#[mp::task]
fn leave_marks(path: std::path::PathBuf) {
    use std::io::Write;
    for mark in ["first", "second"] {
        let path = path.clone();
        mp::at_exit(move || {
            let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
            writeln!(file, "{mark}").unwrap();
        });
    }
    mp::at_exit(|| panic!("a handler that panics does not keep the others from running"));
}

suite![
    the_current_process_runs,
    a_process_gets_its_arguments_and_its_name,
    its_parent_is_its_starter,
    numbers_and_default_names_count_up,
    names_have_rules,
    the_daemon_flag_is_passed_on,
    exit_codes_are_told,
    it_is_an_active_child_until_it_ends,
    join_with_a_timeout_returns,
    close_wants_an_ended_process,
    the_sentinel_becomes_ready_and_stays,
    wait_any_tells_who_ended,
    exit_handlers_run_last_first,
    a_hundred_at_once,
    two_hundred_terminated_at_once,
    usage_is_told,
    handles_work_in_many_threads,
];

fn the_current_process_runs(_: &mp::Context) {
    let me = mp::current_process();
    assert_eq!(me.pid(), std::process::id());
    assert!(!me.daemon());
    assert!(!me.authkey().is_empty());
}

fn a_process_gets_its_arguments_and_its_name(ctx: &mp::Context) {
    let who = ctx.process::<who>(()).name("worker ü").start().unwrap();
    assert_eq!(who.name(), "worker ü");
    let told = outcome(&who).unwrap();
    assert_eq!(told.name, "worker ü");
    assert_eq!(told.pid, who.pid());
    assert_ne!(told.pid, std::process::id());
    assert_eq!(told.authkey, mp::current_process().authkey());
    assert!(told.is_worker);
    assert_eq!(told.argv, mp::current_process().argv());
    assert_eq!(told.method, ctx.method().as_str());
    assert_eq!(end(&who), 0);
    assert_eq!(who.exitcode(), Some(0));
    assert!(!who.is_alive());

    let joined = value(ctx.process::<join_texts>(("a".into(), "b".into(), Some(3))));
    assert_eq!(joined, "a b Some(3)");
    assert_eq!(value(ctx.process::<who>(()).authkey(*b"key")).authkey, b"key");
}

fn its_parent_is_its_starter(ctx: &mp::Context) {
    let (pid, name, alive) = value(ctx.process::<who>(())).parent.unwrap();
    assert_eq!(pid, std::process::id());
    assert_eq!(name, mp::current_process().name());
    assert!(alive);
}

fn numbers_and_default_names_count_up(ctx: &mp::Context) {
    let (a, b) = (value(ctx.process::<who>(())), value(ctx.process::<who>(())));
    let own = mp::current_process().identity().to_owned();
    for who in [&a, &b] {
        let (last, ancestors) = who.identity.split_last().unwrap();
        assert_eq!(ancestors, own);
        assert!(*last >= 1);
        let numbers = who.identity.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(who.name, format!("Process-{}", numbers.join(":")));
    }
    assert!(a.identity < b.identity);
}

fn names_have_rules(ctx: &mp::Context) {
    for name in ["a\0b".to_owned(), "x".repeat(513)] {
        let error = ctx.process::<nothing>(()).name(name).start().unwrap_err();
        assert!(matches!(error, mp::StartError::Invalid(_)), "{error}");
    }
    let longest = "x".repeat(512);
    let process = ctx.process::<who>(()).name(&longest).start().unwrap();
    assert_eq!(outcome(&process).unwrap().name, longest);
    assert!(process.set_name("a\0").is_err());
    process.set_name("renamed").unwrap();
    assert_eq!(process.name(), "renamed");
    assert_eq!(end(&process), 0);
    assert_eq!(value(ctx.process::<who>(()).name("")).name, "");
}

fn the_daemon_flag_is_passed_on(ctx: &mp::Context) {
    for daemon in [true, false] {
        let process = ctx.process::<who>(()).daemon(daemon).start().unwrap();
        assert_eq!(process.daemon(), daemon);
        assert_eq!(outcome(&process).unwrap().daemon, daemon);
    }
    assert_eq!(value(ctx.process::<who>(())).daemon, mp::current_process().daemon());
}

fn exit_codes_are_told(ctx: &mp::Context) {
    for code in [0, 1, 8, 100, 255] {
        let process = ctx.process::<exit_with>((code,)).start().unwrap();
        match outcome(&process) {
            Err(mp::ProcessError::Died { pid, ending: mp::Ending::Known(record), .. }) => {
                assert_eq!((pid, record.code), (process.pid(), code));
            }
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(end(&process), code);
        assert!(process.exit_record().is_some());
    }
}

fn it_is_an_active_child_until_it_ends(ctx: &mp::Context) {
    let is_active = |pid| mp::active_children().iter().any(|child| child.pid() == pid);
    let process = ctx.process::<sleep_for_ever>(()).start().unwrap();
    assert!(process.is_alive());
    assert_eq!(process.exitcode(), None);
    assert!(is_active(process.pid()));
    process.kill().unwrap();
    assert_eq!(end(&process), -9);
    assert!(!is_active(process.pid()));

    let dropped = ctx.process::<nothing>(()).start().unwrap().pid();
    assert!(mpserverd_tests::eventually(PATIENCE, || !is_active(dropped)));
}

fn join_with_a_timeout_returns(ctx: &mp::Context) {
    let process = ctx.process::<sleep_for_ever>(()).start().unwrap();
    assert_eq!(process.join_timeout(Duration::ZERO), None);
    assert_eq!(process.join_timeout(Duration::from_millis(10)), None);
    assert!(process.is_alive());
    process.kill().unwrap();
    assert_eq!(process.join_timeout(Duration::MAX), Some(-9));
    assert_eq!(process.join_timeout(Duration::ZERO), Some(-9));
}

fn close_wants_an_ended_process(ctx: &mp::Context) {
    let process = ctx.process::<sleep_for_ever>(()).start().unwrap();
    let mp::StillRunning(process) = process.close().unwrap_err();
    process.kill().unwrap();
    assert_eq!(end(&process), -9);
    process.close().unwrap();
}

fn the_sentinel_becomes_ready_and_stays(ctx: &mp::Context) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let ready = |process: &mp::Handle, timeout: PollTimeout| {
        let mut sources = [PollFd::new(process.sentinel(), PollFlags::POLLIN)];
        poll(&mut sources, timeout).unwrap() == 1
    };
    let process = ctx.process::<sleep_for_ever>(()).start().unwrap();
    assert!(!ready(&process, PollTimeout::ZERO));
    process.terminate().unwrap();
    assert!(ready(&process, PollTimeout::try_from(PATIENCE).unwrap()));
    assert_eq!(end(&process), -15);
    assert!(ready(&process, PollTimeout::ZERO));
    assert!(ready(&process, PollTimeout::ZERO));
}

fn wait_any_tells_who_ended(ctx: &mp::Context) {
    let processes =
        (0..3).map(|_| ctx.process::<sleep_for_ever>(()).start().unwrap()).collect::<Vec<_>>();
    let handles = processes.iter().map(|process| process.handle()).collect::<Vec<_>>();
    assert!(mp::wait_any(&handles, Some(Duration::ZERO)).is_empty());
    assert!(mp::wait_any(&[], None).is_empty());
    processes[1].kill().unwrap();
    assert_eq!(mp::wait_any(&handles, Some(PATIENCE)), [1]);
    for process in [&processes[0], &processes[2]] {
        process.kill().unwrap();
        assert_eq!(end(process), -9);
    }
    assert_eq!(mp::wait_any(&handles, Some(PATIENCE)), [0, 1, 2]);
}

fn exit_handlers_run_last_first(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("marks");
    let process = ctx.process::<leave_marks>((path.clone(),)).start().unwrap();
    outcome(&process).unwrap();
    assert_eq!(end(&process), 0);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "second\nfirst\n");
}

fn a_hundred_at_once(ctx: &mp::Context) {
    let processes = (0..100).map(|_| ctx.process::<who>(()).start().unwrap()).collect::<Vec<_>>();
    let mut pids = BTreeSet::new();
    for process in &processes {
        assert_eq!(end(process), 0);
        assert_eq!(outcome(process).unwrap().pid, process.pid());
        pids.insert(process.pid());
    }
    assert_eq!(pids.len(), 100);
}

fn two_hundred_terminated_at_once(ctx: &mp::Context) {
    let processes =
        (0..200).map(|_| ctx.process::<sleep_for_ever>(()).start().unwrap()).collect::<Vec<_>>();
    for process in &processes {
        assert!(process.is_alive());
        process.terminate().unwrap();
    }
    for process in &processes {
        assert_eq!(end(process), -15);
        // Nothing happens, and nobody else is hit.
        process.kill().unwrap();
        assert_eq!(process.exitcode(), Some(-15));
    }
}

#[mp::task]
fn touch_memory() -> usize {
    std::hint::black_box(vec![1u8; 32 << 20]).len()
}

fn usage_is_told(ctx: &mp::Context) {
    let process = ctx.process::<touch_memory>(()).start().unwrap();
    outcome(&process).unwrap();
    assert_eq!(end(&process), 0);
    let record = process.exit_record().unwrap();
    assert!(record.usage.peak_rss_kib >= 32 << 10, "{record:?}");
    assert!(!record.core);
}

fn handles_work_in_many_threads(ctx: &mp::Context) {
    let process = ctx.process::<exit_with>((7,)).start().unwrap();
    let handle = process.handle().clone();
    std::thread::scope(|scope| {
        let waiting = (0..8)
            .map(|_| scope.spawn(|| (handle.join_timeout(PATIENCE), handle.exitcode())))
            .collect::<Vec<_>>();
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), (Some(7), Some(7)));
        }
    });
}
