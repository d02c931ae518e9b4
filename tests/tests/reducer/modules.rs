//! Tasks of modules, which have a copy of the library and reducers of their own.

use super::{DRAFT, MSGPACK};
use mp::{Connection, JobError, ProcessError, Queue, Reducer, TaskError};
use mpserverd_tests::build::{artifacts, c_module};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, outcome, value};

/// A task of a module, as a program sees it that is not built with it.
macro_rules! task_of_module {
    ($type:ident: $name:literal, ($($arg:ty),*) -> $output:ty) => {
        #[derive(Debug)]
        pub(super) enum $type {}

        impl mp::Task for $type {
            const NAME: &'static str = $name;
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
                #[allow(unused_imports, reason = "the type decides which one is used")]
                use mp::task::{ReturnsResult as _, ReturnsValue as _};
                (&&mp::task::Returns::<$output>::new()).encode(codec, output)
            }

            fn append(
                codec: mp::Codec,
                output: $output,
                into: &mut mp::task::Buffer,
            ) -> Result<bool, Box<mp::CodecError>> {
                #[allow(unused_imports, reason = "the type decides which one is used")]
                use mp::task::{ReturnsResult as _, ReturnsValue as _};
                (&&mp::task::Returns::<$output>::new()).append(codec, output, into)
            }

            fn decode(
                codec: mp::Codec,
                failed: bool,
                payload: &[u8],
            ) -> Result<$output, mp::CodecError> {
                #[allow(unused_imports, reason = "the type decides which one is used")]
                use mp::task::{ReturnsResult as _, ReturnsValue as _};
                (&&mp::task::Returns::<$output>::new()).decode(codec, failed, payload)
            }
        }
    };
}

task_of_module!(AddUp: "misbehave::tasks::add_up", (u32, Option<u32>) -> Result<u64, String>);
task_of_module!(TakeItem: "misbehave::tasks::take_item", (Queue<u32>) -> Result<u32, TaskError>);
task_of_module!(DoubleOn: "misbehave::tasks::double_on", (Connection) -> Result<(), TaskError>);
task_of_module!(Add: "add", (i64, i64) -> i64);

const KNOWN: [&str; 5] = ["bincode", "json", "postcard", "draft/1", "msgpack/1"];

fn tasks_of_modules(ctx: &mp::Context) {
    let ctx = ctx.clone().with_modules([artifacts().misbehave.to_str().unwrap()]);
    for reducer in [Reducer::bincode(), Reducer::json(), Reducer::postcard(), MSGPACK] {
        let ctx = ctx.clone().with_reducer(reducer);
        assert_eq!(value(ctx.process::<AddUp>((1, Some(2)))), Ok(3), "{reducer}");
        let error = value(ctx.process::<AddUp>((1, None))).unwrap_err();
        assert_eq!(error, "there is no second one", "{reducer}");
    }
    // The module has only another version of this one.
    let process = ctx.clone().with_reducer(DRAFT).process::<AddUp>((1, None)).start().unwrap();
    match outcome(&process) {
        Err(ProcessError::Rejected(JobError::UnknownReducer { name, mut known })) => {
            known[3..].sort();
            assert_eq!((name.as_str(), &known[..]), ("draft/2", &KNOWN.map(str::to_owned)[..]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(process.join_timeout(PATIENCE), Some(100));
}

#[test]
fn tasks_of_a_spawned_host() {
    tasks_of_modules(&mp::get_context(mp::StartMethod::Spawn));
}

#[test]
fn tasks_of_a_forked_host() {
    let daemon = Daemon::start(&[]);
    tasks_of_modules(&daemon.context());
}

fn host() -> mp::Context {
    let module = artifacts().misbehave.to_str().unwrap();
    mp::get_context(mp::StartMethod::Spawn).with_modules([module])
}

#[test]
fn a_queue_of_an_unknown_reducer_keeps_its_items() {
    let queue = Queue::with_reducer(DRAFT).unwrap();
    queue.put(&7).unwrap();
    let error = value(host().process::<TakeItem>((queue.clone(),))).unwrap_err().to_string();
    assert!(error.contains("`draft/2`") && error.contains("draft/1"), "{error}");
    assert_eq!(queue.get_timeout(PATIENCE).unwrap(), 7);

    let queue = Queue::with_reducer(MSGPACK).unwrap();
    queue.put(&8).unwrap();
    assert_eq!(value(host().process::<TakeItem>((queue,))).unwrap(), 8);
}

#[test]
fn a_connection_of_an_unknown_reducer_says_so() {
    for (reducer, fits) in [(MSGPACK, true), (DRAFT, false)] {
        let (ours, theirs) = mp::pipe(true).unwrap();
        let (ours, theirs) = (ours.with_reducer(reducer), theirs.with_reducer(reducer));
        ours.send(&21u32).unwrap();
        let done = value(host().process::<DoubleOn>((theirs,)));
        if fits {
            done.unwrap();
            assert_eq!(ours.recv_timeout::<u32>(PATIENCE).unwrap(), 42);
        } else {
            let error = done.unwrap_err().to_string();
            assert!(error.contains("`draft/2`") && error.contains("draft/1"), "{error}");
        }
    }
}

#[test]
fn modules_in_c_speak_json_only() {
    let Some(hello) = c_module("hello", &[]) else { return };
    let ctx = mp::get_context(mp::StartMethod::Spawn).with_modules([hello.to_str().unwrap()]);
    let json = ctx.clone().with_reducer(Reducer::json());
    assert_eq!(value(json.process::<Add>((40, 2))), 42);
    for reducer in [Reducer::bincode(), Reducer::postcard(), MSGPACK] {
        let process = ctx.clone().with_reducer(reducer).process::<Add>((1, 2)).start().unwrap();
        match outcome(&process) {
            Err(ProcessError::Rejected(JobError::UnsupportedCodec { task, codec })) => {
                assert_eq!((task, codec), ("add".to_owned(), reducer.to_string()));
            }
            other => panic!("{reducer}: {other:?}"),
        }
    }
}
