//! Processes from start to end: the scenarios of `process.py`.

use mp::{Connection, StartMethod};
use mpserverd_tests::parity::{Difference, alone, compare};
use mpserverd_tests::suite::{PATIENCE, end, value};
use std::path::Path;
use std::time::Duration;

const DIFFERENCES: [Difference; 2] = [
    Difference {
        name: "grandchild_of_a_daemonic",
        theirs: "AssertionError",
        ours: "True",
        why: "a daemonic process may have children: they end with it",
    },
    Difference {
        name: "a_thread_that_is_left",
        theirs: "the thread has ended",
        ours: "EOFError",
        why: "threads of Rust are not waited for at the end of a process: join what must finish",
    },
];

type Outcomes = Vec<(&'static str, String)>;

fn truth(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

fn none<T: std::fmt::Debug>(value: Option<T>) -> String {
    value.map_or("None".to_owned(), |value| format!("{value:?}"))
}

fn spawn() -> mp::Context {
    mp::get_context(StartMethod::Spawn)
}

#[mp::task]
fn nothing() {}

#[mp::task]
fn fail() -> Result<(), String> {
    Err("as asked".to_owned())
}

#[mp::task]
fn exit(code: i32) {
    std::process::exit(code)
}

#[mp::task]
fn sleep() {
    std::thread::sleep(10 * PATIENCE);
}

fn main_process(out: &mut Outcomes) {
    let me = mp::current_process();
    out.push(("main.name", me.name().to_owned()));
    out.push(("main.daemon", truth(me.daemon())));
    out.push(("main.pid", truth(me.pid() == std::process::id())));
    out.push(("main.authkey", me.authkey().len().to_string()));
    out.push(("main.parent", none(mp::parent_process())));
}

fn exit_codes(out: &mut Outcomes) {
    let code = |process: &mp::Handle| end(process).to_string();
    let ctx = spawn();
    out.push(("exitcode.return", code(&ctx.process::<nothing>(()).start().unwrap())));
    out.push(("exitcode.an_exception", code(&ctx.process::<fail>(()).start().unwrap())));
    for (name, asked) in
        [("exitcode.exit_8", 8), ("exitcode.exit_300", 300), ("exitcode.exit_minus_5", -5)]
    {
        out.push((name, code(&ctx.process::<exit>((asked,)).start().unwrap())));
    }
    type Signal = fn(&mp::Handle) -> std::io::Result<()>;
    let ways: [(&str, &str, Signal); 2] = [
        ("exitcode.terminate", "terminate_again", mp::Handle::terminate),
        ("exitcode.kill", "kill_again", mp::Handle::kill),
    ];
    for (name, again, signal) in ways {
        let process = ctx.process::<sleep>(()).start().unwrap();
        signal(&process).unwrap();
        out.push((name, code(&process)));
        out.push((again, none(signal(&process).err())));
    }
}

fn life(out: &mut Outcomes) {
    let process = spawn().process::<sleep>(()).name("sleeper").daemon(true).start().unwrap();
    out.push(("name", process.name()));
    process.set_name("renamed").unwrap();
    out.push(("renamed", process.name()));
    out.push(("daemon", truth(process.daemon())));
    out.push(("running.is_alive", truth(process.is_alive())));
    out.push(("running.exitcode", none(process.exitcode())));
    // A negative time is none, by its type.
    for name in ["running.join_0", "running.join_negative"] {
        out.push((name, none(process.join_timeout(Duration::ZERO))));
    }
    let ready =
        |process: &mp::Handle, timeout| mp::wait(&[process], Some(timeout)).len().to_string();
    let active = |pid| truth(mp::active_children().iter().any(|child| child.pid() == pid));
    out.push(("running.sentinel", ready(process.handle(), Duration::ZERO)));
    out.push(("running.active", active(process.pid())));
    let mp::StillRunning(process) = process.close().unwrap_err();
    out.push(("running.close", "ValueError".to_owned()));
    process.kill().unwrap();
    out.push(("ended.sentinel", ready(process.handle(), PATIENCE)));
    let code = end(&process);
    out.push(("ended.sentinel_again", ready(process.handle(), Duration::ZERO)));
    out.push(("ended.is_alive", truth(process.is_alive())));
    // It gives the code, which is nothing that `join` of the reference gives.
    assert_eq!(process.join(), code);
    out.push(("ended.join", "None".to_owned()));
    out.push(("ended.active", active(process.pid())));
    out.push(("ended.close", none(process.close().err())));
}

#[mp::task]
fn tell_identity() -> String {
    let (me, parent) = (mp::current_process(), mp::parent_process().unwrap());
    let is_parent = parent.pid() == std::os::unix::process::parent_id();
    let (daemon, alive) = (truth(me.daemon()), truth(parent.is_alive()));
    format!("{} {daemon} {} {} {alive}", me.name(), parent.name(), truth(is_parent))
}

#[mp::task]
fn tell_key() -> Vec<u8> {
    mp::current_process().authkey().to_vec()
}

#[mp::task]
fn read_input() -> String {
    std::io::read_to_string(std::io::stdin()).unwrap()
}

#[mp::task]
fn start_a_child() -> bool {
    value(spawn().process::<tell_key>(())) == mp::current_process().authkey()
}

fn child(out: &mut Outcomes) {
    let ctx = spawn();
    out.push(("child.identity", value(ctx.process::<tell_identity>(()).name("child"))));
    let key = value(ctx.process::<tell_key>(()));
    out.push(("child.authkey", truth(key == mp::current_process().authkey())));
    let input = value(ctx.process::<read_input>(()));
    out.push(("child.stdin", format!("'{input}'")));
    out.push(("grandchild", truth(value(ctx.process::<start_a_child>(())))));
    let daemonic = ctx.process::<start_a_child>(()).daemon(true);
    out.push(("grandchild_of_a_daemonic", truth(value(daemonic))));
}

#[mp::task]
fn linger(writer: Connection) {
    let later = move || {
        std::thread::sleep(10 * PATIENCE);
        writer.send("the thread has ended").unwrap();
    };
    std::thread::Builder::new().spawn(later).unwrap();
}

fn threads(out: &mut Outcomes) {
    let (reader, writer) = mp::pipe(false).unwrap();
    let process = spawn().process::<linger>((writer,)).start().unwrap();
    let said = match reader.recv_timeout::<String>(PATIENCE) {
        Ok(said) => said,
        Err(mp::ConnectionError::Eof) => "EOFError".to_owned(),
        Err(other) => panic!("{other}"),
    };
    out.push(("a_thread_that_is_left", said));
    assert_eq!(end(&process), 0);
}

#[test]
fn processes() {
    let _turn = alone();
    let mut out = Vec::new();
    main_process(&mut out);
    exit_codes(&mut out);
    life(&mut out);
    child(&mut out);
    threads(&mut out);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/process.py");
    compare(&script, &out, &DIFFERENCES);
}
