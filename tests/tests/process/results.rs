//! What comes back from a task, and how each way of failing is told.

use mp::{JobError, ProcessError, StartError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use serde_json::json;
use std::io;
use std::time::Duration;

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}

#[mp::task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[mp::task]
fn read(path: &std::path::Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

#[mp::task]
fn fail_with(kind: String) -> io::Result<()> {
    let kind = if kind == "TimedOut" { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    Err(io::Error::new(kind, "as asked"))
}

#[mp::task]
fn parse(text: &str) -> Result<u32, mp::TaskError> {
    Ok(text.parse()?)
}

#[mp::task]
fn divide(a: i32, b: i32) -> Result<i32, String> {
    a.checked_div(b).ok_or_else(|| "division by zero".to_owned())
}

#[mp::task]
fn panic_with(text: &str) {
    panic!("{text}")
}

#[mp::task]
fn panic_with_a_number() {
    std::panic::panic_any(7)
}

#[mp::task]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// A value without an encoding.
#[derive(Debug, serde::Deserialize)]
struct Odd;

impl serde::Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("odd values do not travel"))
    }
}

#[mp::task]
fn take_odd(_odd: Odd) {}

#[mp::task]
fn give_odd() -> Odd {
    Odd
}

/// [`square`], by a caller that was compiled against another signature.
#[derive(Debug)]
enum OtherSquare {}

impl mp::Task for OtherSquare {
    const NAME: &'static str = <square as mp::Task>::NAME;
    const SIGNATURE: &'static str = "(x: u32) -> u32";
    const DOC: &'static str = "";
    const SCHEMA: u64 = <square as mp::Task>::SCHEMA ^ 1;
    const ARITY: usize = 1;
    type Args = (u32,);
    type Output = u32;

    fn call((x,): (u32,)) -> u32 {
        x * x
    }

    fn encode(codec: mp::Codec, output: u32) -> mp::task::Encoded {
        mp::task::ReturnsValue::encode(&mp::task::Returns::new(), codec, output)
    }

    fn decode(codec: mp::Codec, failed: bool, payload: &[u8]) -> Result<u32, mp::CodecError> {
        mp::task::ReturnsValue::decode(&mp::task::Returns::new(), codec, failed, payload)
    }
}

suite![
    a_result_is_taken_once,
    a_result_can_be_waited_for_in_steps,
    sizes_up_to_ten_mebibytes_travel,
    errors_arrive_as_they_were,
    panics_are_told_with_their_place,
    backtraces_come_when_asked_for,
    what_has_no_encoding_is_told,
    unknown_tasks_are_told_with_near_names,
    wrong_arguments_are_told,
    another_signature_is_told,
    tasks_are_called_by_name,
];

fn a_result_is_taken_once(ctx: &mp::Context) {
    let process = ctx.process::<square>((7,)).start().unwrap();
    assert_eq!(outcome(&process).unwrap(), 49);
    assert!(matches!(process.result(), Err(ProcessError::Taken)));
    assert!(process.has_result());
    assert_eq!(end(&process), 0);
    assert!(matches!(process.result_timeout(Duration::ZERO), Err(ProcessError::Taken)));

    // Long after its end, too.
    let process = ctx.process::<square>((8,)).start().unwrap();
    assert_eq!(end(&process), 0);
    assert!(process.has_result());
    assert_eq!(process.result().unwrap(), 64);
}

fn a_result_can_be_waited_for_in_steps(ctx: &mp::Context) {
    let (reader, mut writer) = io::pipe().unwrap();
    let process = ctx.process::<read_a_byte>(()).stdin(reader).start().unwrap();
    assert!(!process.has_result());
    for timeout in [Duration::ZERO, Duration::from_millis(10)] {
        let waited = process.result_timeout(timeout);
        assert!(matches!(waited, Err(ProcessError::Timeout(_))), "{waited:?}");
    }
    io::Write::write_all(&mut writer, b"x").unwrap();
    assert_eq!(outcome(&process).unwrap(), b'x');
    assert_eq!(value(ctx.process::<nap>((3,))), 3);
}

#[mp::task]
fn read_a_byte() -> u8 {
    let mut byte = [0];
    io::Read::read_exact(&mut io::stdin(), &mut byte).unwrap();
    byte[0]
}

fn sizes_up_to_ten_mebibytes_travel(ctx: &mp::Context) {
    let edge = 64 << 10;
    for size in [0, 1, edge - 1024, edge - 1, edge, edge + 1, 10 << 20] {
        let bytes = (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        assert!(value(ctx.process::<echo>((bytes.clone(),))) == bytes, "{size} bytes");
    }
    // Each byte around the edge: the header's length is not known here.
    for size in (edge - 1200..edge + 40).step_by(31) {
        assert_eq!(value(ctx.process::<echo>((vec![7; size],))).len(), size);
    }
}

fn errors_arrive_as_they_were(ctx: &mp::Context) {
    let process = ctx.process::<read>(("/nonexistent".into(),)).start().unwrap();
    let error = outcome(&process).unwrap().unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::NotFound, Some(2)));
    assert_eq!(end(&process), 1);
    let error = value(ctx.process::<fail_with>(("TimedOut".into(),))).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, "as asked"));
    assert_eq!(value(ctx.process::<read>(("/dev/null".into(),))).unwrap(), "");

    let error = value(ctx.process::<parse>(("x".into(),))).unwrap_err();
    assert_eq!(error.chain, ["invalid digit found in string"]);
    assert_eq!(value(ctx.process::<parse>(("12".into(),))), Ok(12));
    assert_eq!(value(ctx.process::<divide>((1, 0))), Err("division by zero".into()));
    assert_eq!(value(ctx.process::<divide>((6, 3))), Ok(2));
}

fn panicked(builder: mp::ProcessBuilder<()>) -> mp::Panic {
    let process = builder.stderr(mp::Stream::Null).start().unwrap();
    let panic = match outcome(&process) {
        Err(ProcessError::Panicked(panic)) => panic,
        other => panic!("{other:?}"),
    };
    assert_eq!(end(&process), 1);
    panic
}

fn panics_are_told_with_their_place(ctx: &mp::Context) {
    let panic =
        panicked(ctx.process::<panic_with>(("ouch ü".into(),)).env_remove("RUST_BACKTRACE"));
    assert_eq!(panic.message, "ouch ü");
    assert!(panic.location.unwrap().contains("process/results.rs:"));
    assert_eq!(panic.backtrace, None);
    let panic = panicked(ctx.process::<panic_with_a_number>(()));
    assert_eq!(panic.message, "(a panic without text)");
    assert!(panic.location.unwrap().contains("process/results.rs:"));
}

fn backtraces_come_when_asked_for(ctx: &mp::Context) {
    let process = ctx.process::<panic_with>(("ouch".into(),)).env("RUST_BACKTRACE", "1");
    let backtrace = panicked(process).backtrace.expect("a backtrace");
    assert!(backtrace.contains("panic_with"), "{backtrace}");
}

fn what_has_no_encoding_is_told(ctx: &mp::Context) {
    let error = ctx.process::<take_odd>((Odd,)).start().unwrap_err();
    let StartError::Unserializable(reason) = &error else { panic!("{error}") };
    assert!(reason.contains("odd values do not travel"), "{reason}");
    let process = ctx.process::<give_odd>(()).start().unwrap();
    match outcome(&process) {
        Err(ProcessError::Rejected(JobError::Unserializable(reason))) => {
            assert!(reason.contains("odd values do not travel"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(end(&process), 100);
}

fn rejected<R: std::fmt::Debug>(builder: mp::ProcessBuilder<R>) -> JobError {
    let process = builder.stderr(mp::Stream::Null).start().unwrap();
    let error = match outcome(&process) {
        Err(ProcessError::Rejected(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(end(&process), 100);
    error
}

fn unknown_tasks_are_told_with_near_names(ctx: &mp::Context) {
    let error = rejected(ctx.process_named("sqare", &[json!(1)]));
    let JobError::UnknownTask { name, near } = &error else { panic!("{error}") };
    assert_eq!(name, "sqare");
    assert!(near.contains(&<square as mp::Task>::NAME.to_owned()), "{near:?}");
    let error = rejected(ctx.process_named("sleep_for_ever", &[]));
    let JobError::AmbiguousTask { candidates, .. } = &error else { panic!("{error}") };
    assert!(candidates.len() >= 2, "{candidates:?}");
}

fn wrong_arguments_are_told(ctx: &mp::Context) {
    for args in [vec![], vec![json!(1), json!(2)], vec![json!("x")], vec![json!(-1)]] {
        let error = rejected(ctx.process_named("square", &args));
        let JobError::BadArguments { signature, .. } = &error else { panic!("{error}") };
        assert!(signature.ends_with("square(x: u64) -> u64"), "{signature}");
    }
}

fn another_signature_is_told(ctx: &mp::Context) {
    let error = rejected(ctx.process::<OtherSquare>((7,)));
    let JobError::SchemaMismatch { task, signature } = &error else { panic!("{error}") };
    assert_eq!(task, <square as mp::Task>::NAME);
    assert!(signature.contains("(x: u64) -> u64"), "{signature}");
}

fn tasks_are_called_by_name(ctx: &mp::Context) {
    for name in ["square", "results::square", <square as mp::Task>::NAME] {
        assert_eq!(value(ctx.process_named(name, &[json!(7)])), json!(49));
    }
    let process = ctx.process_named("divide", &[json!(1), json!(0)]).start().unwrap();
    match process.result_timeout(PATIENCE) {
        Err(ProcessError::Failed { message }) => assert_eq!(message, "division by zero"),
        other => panic!("{other:?}"),
    }
    assert_eq!(end(&process), 1);
}
