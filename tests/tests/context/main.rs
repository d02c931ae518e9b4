//! Contexts and start methods. The default method belongs to a whole process, so that a program
//! of its own tries what would change it.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod factories;
mod globals;
mod states;

use mp::{ContextError, StartError, StartMethod};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::program;
use mpserverd_tests::suite::{outcome, value};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");

#[mp::task]
fn allowed_cpus() -> usize {
    mp::available_cpus()
}

fn subject(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    program::output(program::command(SUBJECT, directory.path()).args(arguments))
}

#[test]
fn all_methods_are_listed_with_the_default_first() {
    let all = mp::get_all_start_methods();
    assert_eq!(all, [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork]);
    for method in all {
        assert_eq!(method.to_string().parse::<StartMethod>().unwrap(), *method);
        assert_eq!(mp::get_context(*method).method(), *method);
    }
    match "thread".parse::<StartMethod>() {
        Err(error @ ContextError::UnknownMethod(..)) => assert_eq!(
            error.to_string(),
            "cannot find a context for `thread`; there are: forkserver, spawn, fork"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_concrete_context_refuses_another_method() {
    for method in mp::get_all_start_methods() {
        let context = mp::get_context(*method);
        assert_eq!(context.set_start_method(*method), Err(ContextError::Fixed));
        assert_eq!(context.force_start_method(None), Err(ContextError::Fixed));
        assert_eq!(context.fixed_start_method(), Some(*method));
        assert_eq!(context.get_context(None).method(), *method);
        assert_eq!(context.method(), *method);
    }
}

#[test]
fn the_default_is_fixed_by_its_first_use_only() {
    let want = "\
freeze_support: None
concrete: None
set: Some(Fork)
again: the start method has been set already; use `force` to change it
concrete set: a concrete context has a fixed start method
force: Some(Spawn)
none: None
open: None
default: forkserver
get_context: Some(ForkServer)
default set: the start method has been set already; use `force` to change it
default forced: fork
";
    assert_eq!(subject(&["defaults"]), want);
}

#[test]
fn children_report_the_method_that_started_them() {
    // Without a daemon: what falls back to spawn still was asked for as forkserver.
    let want = "forkserver forkserver\nspawn spawn\nfork fork\n";
    assert_eq!(subject(&["methods"]), want);
    let daemon = Daemon::start(&[]);
    let mut command = program::command(SUBJECT, daemon.directory());
    assert_eq!(program::output(command.arg("methods")), want);
}

#[test]
fn a_fork_refuses_other_threads_by_name() {
    let want = "\
alone: 1
refused: this process has 2 threads (subject, other), and `fork` copies only one: use forkserver \
or spawn, or allow it with `allow_threads(true)`
allowed: 3
";
    assert_eq!(subject(&["fork-with-threads"]), want);
}

#[test]
fn a_program_without_freeze_support_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program::command(env!("CARGO_BIN_EXE_unfrozen"), directory.path());
    let text = program::output(&mut command);
    let lines = text.lines().collect::<Vec<_>>();
    for (line, method) in lines.iter().zip(["spawn", "forkserver"]) {
        let want = format!("{method}: this program has not called `freeze_support()`");
        assert!(line.starts_with(&want), "{line}");
    }
    assert_eq!(lines[2], "fork: Ok(Some(7))");
}

#[test]
fn closures_run_in_forks_only() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        match mp::get_context(method).process_fn(|| 1).start() {
            Err(StartError::ClosureNeedsFork { method: told }) => {
                assert_eq!(told, method.as_str());
            }
            other => panic!("{method}: {other:?}"),
        }
    }
    let spawn = mp::get_context(StartMethod::Spawn);
    assert_eq!(value(spawn.process::<fork_closures>(())), 42);
}

/// In a worker, whose only other thread is the runtime's.
#[mp::task]
fn fork_closures() -> usize {
    let ctx = mp::get_context(StartMethod::Fork);
    let words = ["captured".to_owned(), "words".to_owned()];
    assert_eq!(value(ctx.process_fn(move || words.join(" "))), "captured words");
    let panicking = ctx.process_fn(|| panic!("ouch")).stderr(mp::Stream::Null).start().unwrap();
    let error = outcome::<()>(&panicking).unwrap_err();
    assert!(error.to_string().contains("ouch"), "{error}");
    // A closure's `Result` is a value like any other.
    assert_eq!(value(ctx.process_fn(|| "x".parse::<u8>().map_err(|e| e.to_string()))).ok(), None);
    42
}

#[test]
fn cpus_are_counted() {
    assert!(mp::cpu_count() >= mp::available_cpus());
    assert!(mp::available_cpus() >= 1);
    let spawn = mp::get_context(StartMethod::Spawn);
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let first = (0..).find(|cpu| set.is_set(*cpu).unwrap()).unwrap();
    assert_eq!(value(spawn.process::<allowed_cpus>(()).affinity([first])), 1);
}
