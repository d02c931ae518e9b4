//! Contexts and start methods: the scenarios of `context.py`.
//!
//! They change what holds for a whole process, so they run in one of their own.

use mp::{Connection, Context, ContextError, StartMethod};
use mpserverd_tests::parity::{Difference, alone, compare};
use mpserverd_tests::suite::{PATIENCE, end, value};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const DIFFERENCES: [Difference; 2] = [
    Difference {
        name: "preload_of_no_name",
        theirs: "None",
        ours: "ContextError",
        why: "a list that no server can load is refused at once (#117378: errors of a preload were \
              ignored)",
    },
    Difference {
        name: "made_by_fork_used_by_spawn",
        theirs: "RuntimeError",
        ours: "42",
        why: "an object belongs to no context and goes to processes of every start method",
    },
];

type Said = Vec<(String, String)>;

fn say(said: &mut Said, name: impl Into<String>, outcome: impl ToString) {
    said.push((name.into(), outcome.to_string()));
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn decided(method: Option<StartMethod>) -> String {
    method.map_or("None".to_owned(), |method| method.to_string())
}

/// An error by the name of its counterpart.
fn outcome<T>(result: Result<T, ContextError>) -> &'static str {
    match result {
        Ok(_) => "None",
        Err(ContextError::AlreadySet) => "RuntimeError",
        Err(ContextError::Fixed | ContextError::UnknownMethod(..)) => "ValueError",
        Err(_) => "ContextError",
    }
}

#[mp::task]
fn own_method() -> String {
    format!("{} {}", mp::get_start_method(), decided(mp::fixed_start_method()))
}

fn test_default(said: &mut Said) {
    mp::force_start_method(None);
    say(said, "at_first", decided(mp::fixed_start_method()));
    let first = mp::get_all_start_methods()[0];
    say(said, "the_default_is_listed_first", truth(first == mp::get_start_method()));
    say(said, "fixed_by_being_asked_for", truth(mp::fixed_start_method().is_some()));
    let mut all = mp::get_all_start_methods().iter().map(|it| it.as_str()).collect::<Vec<_>>();
    all.sort_unstable();
    say(said, "all_methods", format!("{all:?}").replace('"', "'"));
    mp::force_start_method(None);
    say(said, "undecided_by_force", decided(mp::fixed_start_method()));
    say(said, "set", outcome(mp::set_start_method(StartMethod::Spawn)));
    say(said, "set_again", outcome(mp::set_start_method(StartMethod::Fork)));
    say(said, "set_again_the_same", outcome(mp::set_start_method(StartMethod::Spawn)));
    let default = Context::default();
    say(said, "forced", outcome(default.force_start_method(Some(StartMethod::Fork))));
    say(said, "after_force", decided(mp::fixed_start_method()));
    say(said, "set_after_force", outcome(default.set_start_method(StartMethod::Spawn)));
    say(said, "unknown_method", outcome("thread".parse::<StartMethod>()));
}

fn test_concrete(said: &mut Said) {
    for method in [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer] {
        mp::force_start_method(None);
        let ctx = mp::get_context(method);
        say(said, format!("{method}.method"), ctx.method());
        say(said, format!("{method}.decided"), decided(ctx.fixed_start_method()));
        say(said, format!("{method}.set"), outcome(ctx.set_start_method(method)));
        say(said, format!("{method}.force"), outcome(ctx.force_start_method(Some(method))));
        say(said, format!("{method}.own_context"), ctx.get_context(None).method());
        let spawn = ctx.get_context(StartMethod::Spawn);
        say(said, format!("{method}.other_context"), spawn.method());
        say(said, format!("{method}.child"), value(ctx.process::<own_method>(())));
        assert_eq!(mp::fixed_start_method(), None, "{method}");
        if method == StartMethod::Fork {
            say(said, "fork.leaves_the_default", decided(mp::fixed_start_method()));
        }
    }
}

fn test_default_context(said: &mut Said) {
    mp::force_start_method(Some(StartMethod::Spawn));
    let ctx = mp::get_context(None);
    say(said, "default.set", outcome(ctx.set_start_method(StartMethod::Fork)));
    mp::force_start_method(Some(StartMethod::Fork));
    say(said, "default.keeps_its_method", ctx.method());
    say(said, "default.context_now", mp::get_context(None).method());
    mp::force_start_method(None);
    let _ = mp::get_context(None);
    say(said, "default.fixed_by_get_context", truth(mp::fixed_start_method().is_some()));
}

fn preload(modules: &[&str]) -> &'static str {
    outcome(mp::set_forkserver_preload(modules.iter().copied(), mp::OnPreloadError::Ignore))
}

fn test_process_wide(said: &mut Said) {
    let ctx = mp::get_context(StartMethod::Spawn);
    say(said, "cpu_count", truth(mp::cpu_count() == ctx.cpu_count()));
    // Whose results have been taken may still be on their way out.
    for child in ctx.active_children() {
        assert_eq!(end(&child), 0);
    }
    say(said, "no_children", format!("{:?}", ctx.active_children()));
    mp::allow_connection_pickling();
    say(said, "allow_connection_pickling", "None");
    say(said, "preload", preload(&["json"]));
    say(said, "preload_of_nothing", preload(&[]));
    say(said, "preload_of_no_name", preload(&[""]));
    let program = std::fs::read_link("/proc/self/exe").unwrap();
    let forms: [(&str, &dyn Fn()); 3] = [
        ("text", &|| mp::set_executable(program.to_str().unwrap())),
        ("bytes", &|| mp::set_executable(OsStr::from_bytes(program.as_os_str().as_bytes()))),
        ("path", &|| mp::set_executable(&program)),
    ];
    for (name, set) in forms {
        set();
        say(said, format!("executable.{name}"), value(ctx.process::<own_method>(())));
    }
    mp::force_start_method(None);
}

#[mp::task]
fn double(queue: mp::Queue<u32>) -> u32 {
    queue.get_timeout(PATIENCE).unwrap() * 2
}

fn mixed(maker: StartMethod, starter: StartMethod) -> u32 {
    let queue = mp::get_context(maker).queue().unwrap();
    queue.put(&21).unwrap();
    value(mp::get_context(starter).process::<double>((queue,)))
}

fn test_mixed(said: &mut Said) {
    let (fork, spawn) = (StartMethod::Fork, StartMethod::Spawn);
    say(said, "made_by_spawn_used_by_fork", mixed(spawn, fork));
    say(said, "made_by_fork_used_by_spawn", mixed(fork, spawn));
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Capitals {
    text: String,
    writer: Connection,
}

#[mp::task]
impl mp::Runnable for Capitals {
    type Output = ();

    fn run(self) {
        let said = format!("{} {}", mp::current_process().name(), self.text.to_uppercase());
        self.writer.send(&said).unwrap();
    }
}

fn test_subclass(said: &mut Said) {
    let (reader, writer) = mp::pipe(false).unwrap();
    let state = Capitals { text: "hello".to_owned(), writer };
    let spawn = mp::get_context(StartMethod::Spawn);
    let process = spawn.process_of(state).name("capitals").start().unwrap();
    say(said, "run_of_a_state", reader.recv::<String>().unwrap());
    say(said, "its_exit_code", end(&process));
}

#[mp::task]
fn register(writer: Connection) {
    let writer = std::sync::Arc::new(writer);
    let send = |text: &'static str| {
        let writer = writer.clone();
        move || writer.send(text).unwrap()
    };
    mp::at_exit(send("first"));
    mp::at_exit(send("second"));
    mp::at_exit(|| panic!("it keeps no other handler from running"));
    mp::at_exit(send("third"));
}

fn test_atexit(said: &mut Said) {
    let (reader, writer) = mp::pipe(false).unwrap();
    let spawn = mp::get_context(StartMethod::Spawn);
    let process = spawn.process::<register>((writer,)).stderr(mp::Stream::Null).start().unwrap();
    let marks = std::iter::from_fn(|| reader.recv::<String>().ok()).collect::<Vec<_>>();
    say(said, "handlers_of_a_child", marks.join(" "));
    assert_eq!(end(&process), 0);
}

#[mp::task]
fn scenarios() -> Said {
    let mut said = Said::new();
    test_default(&mut said);
    test_concrete(&mut said);
    test_default_context(&mut said);
    test_process_wide(&mut said);
    test_mixed(&mut said);
    test_subclass(&mut said);
    test_atexit(&mut said);
    said
}

#[test]
fn contexts() {
    let _turn = alone();
    let directory = tempfile::tempdir().unwrap();
    let spawn = mp::get_context(StartMethod::Spawn);
    // No daemon of the user's answers.
    let process = spawn.process::<scenarios>(()).env("XDG_RUNTIME_DIR", directory.path());
    let said = value(process.env("MPSERVERD_SOCKET", directory.path().join("socket")));
    let ours = said.iter().map(|(name, outcome)| (&**name, outcome.clone())).collect::<Vec<_>>();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/context.py");
    compare(&script, &ours, &DIFFERENCES);
}
