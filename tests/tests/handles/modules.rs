//! Handles in tasks of modules, whose copy of the library is their own.

use mp::{JobError, ProcessError};
use mpserverd_tests::build::{artifacts, c_module};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{outcome, value};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Seek, Write};
use std::path::Path;

/// A task of the module `misbehave`, as a program sees it that is not built with it.
macro_rules! task_of_misbehave {
    ($type:ident: $name:literal, ($($arg:ty),*) -> $output:ty) => {
        #[derive(Debug)]
        enum $type {}

        impl mp::Task for $type {
            const NAME: &'static str = concat!("misbehave::tasks::", $name);
            const SIGNATURE: &'static str = "";
            const DOC: &'static str = "";
            const SCHEMA: u64 = 0;
            const ARITY: usize = [$(stringify!($arg)),*].len();
            type Args = ($($arg,)*);
            type Output = $output;

            fn call(_: Self::Args) -> $output {
                unreachable!("the module has it")
            }

            fn encode(codec: mp::Codec, output: $output) -> mp::task::Encoded {
                mp::task::ReturnsValue::encode(&mp::task::Returns::new(), codec, output)
            }

            fn decode(codec: mp::Codec, failed: bool, payload: &[u8]) -> Result<$output, mp::CodecError> {
                mp::task::ReturnsValue::decode(&mp::task::Returns::new(), codec, failed, payload)
            }
        }
    };
}

task_of_misbehave!(Upper: "upper", (mp::Passed<File>) -> mp::Passed<File>);
task_of_misbehave!(CloseFirst: "close_first", (mp::Passed<PipeWriter>, mp::Passed<PipeReader>) -> usize);
task_of_misbehave!(Nulls: "nulls", (usize) -> Vec<mp::SharedFd>);

fn file_with(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

fn modules_take_and_return_handles(ctx: &mp::Context) {
    let module = artifacts().misbehave.to_str().unwrap();
    let ctx = ctx.clone().with_modules([module]);
    let mut back = value(ctx.process::<Upper>((mp::Passed(file_with("shout")),)));
    let mut text = String::new();
    back.read_to_string(&mut text).unwrap();
    assert_eq!(text, "SHOUT");

    // The module has the only copy, beside what was passed by itself.
    let (mut closes, close) = std::io::pipe().unwrap();
    let (wait, go) = std::io::pipe().unwrap();
    let process = ctx.process::<CloseFirst>((mp::Passed(close), mp::Passed(wait)));
    let process = process.pass_fd(file_with("a")).pass_fd(file_with("b")).start().unwrap();
    assert!(super::ends(&mut closes), "a write end is left open");
    drop(go);
    assert_eq!(outcome(&process).unwrap(), 2);

    mp::sys::attributes::raise_descriptor_limit().unwrap();
    assert_eq!(value(ctx.process::<Nulls>((300,))).len(), 300);
    let process = ctx.process::<Nulls>((4097,)).start().unwrap();
    match outcome(&process) {
        Err(ProcessError::Rejected(error)) => {
            assert_eq!(error, JobError::TooManyFds { count: 4097, limit: 4096 });
        }
        other => panic!("{:?}", other.map(|fds| fds.len())),
    }
}

#[test]
fn a_spawned_host_passes_them_on() {
    modules_take_and_return_handles(&mp::get_context(mp::StartMethod::Spawn));
}

#[test]
fn a_forked_host_passes_them_on() {
    let daemon = Daemon::start(&[]);
    modules_take_and_return_handles(&daemon.context());
}

#[test]
fn numbers_that_are_no_descriptors_are_refused() {
    for (define, says) in [("BAD_FD", "number -1"), ("ODD_FDS", "no array of numbers")] {
        let Some(module) = c_module("broken", &[define]) else { return };
        let module = Path::to_str(&module).unwrap();
        let ctx = mp::get_context(mp::StartMethod::Spawn).with_modules([module]);
        let process = ctx.process_named("broken.task", &[]).start().unwrap();
        match outcome(&process) {
            Err(ProcessError::Rejected(JobError::Descriptors(what))) => {
                assert!(what.contains(says), "{define}: {what}");
            }
            other => panic!("{define}: {other:?}"),
        }
    }
}
