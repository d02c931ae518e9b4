//! Modules in a spawned host: what they can do, and how each way of failing is told.
//!
//! A module chooses its misbehaviour when it is loaded, by the environment that its host was
//! executed with. So the test starts a process with that environment, and the process spawns the
//! host: [`attempt`] is the task in between.
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

use mp::{Ending, Fault, JobError, OnPreloadError, PreloadError, ProcessError, Stage};
use mpserverd_tests::build::{artifacts, c_module};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a host may take that is expected to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a host is watched that is expected to hang.
const GLANCE: Duration = Duration::from_millis(500);

/// How an attempt ended, as far as it can travel.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Attempt {
    Returned(String),
    Failed(String),
    Panicked(String),
    Rejected(JobError),
    Died(i32),
    TimedOut,
    Other(String),
}

/// Spawns a host with this module, which must load, and runs a task in it.
#[mp::task]
fn attempt(module: PathBuf, task: String, args: String, patience: Duration) -> Attempt {
    mp::set_forkserver_preload([""; 0], OnPreloadError::Fail).unwrap();
    let args = serde_json::from_str::<Vec<Value>>(&args).unwrap();
    let process = host(&module).process_named(&task, &args).start().unwrap();
    let attempt = match process.result_timeout(patience) {
        Ok(value) => Attempt::Returned(value.to_string()),
        Err(ProcessError::Failed { message }) => Attempt::Failed(message),
        Err(ProcessError::Panicked(panic)) => Attempt::Panicked(panic.message),
        Err(ProcessError::Rejected(error)) => Attempt::Rejected(error),
        Err(ProcessError::Died { ending: Ending::Known(record), .. }) => Attempt::Died(record.code),
        Err(ProcessError::Timeout(_)) => Attempt::TimedOut,
        Err(other) => Attempt::Other(other.to_string()),
    };
    process.kill().unwrap();
    process.join();
    attempt
}

fn host(module: &Path) -> mp::Context {
    let module = module.to_str().unwrap().to_owned();
    mp::get_context(mp::StartMethod::Spawn).with_modules([module])
}

fn attempt_with(environment: &str, module: &Path, task: &str, args: &Value) -> Attempt {
    let patience = if environment == "hang" { GLANCE } else { PATIENCE };
    mp::get_context(mp::StartMethod::Spawn)
        .process::<attempt>((module.to_owned(), task.to_owned(), args.to_string(), patience))
        .env("MISBEHAVE", environment)
        .start()
        .unwrap()
        .result_timeout(2 * PATIENCE)
        .unwrap()
}

fn misbehave(environment: &str) -> Attempt {
    let module = &artifacts().misbehave;
    attempt_with(environment, module, "misbehave.echo", &json!(["hello"]))
}

/// The fault that such a module is blamed for.
fn blamed(environment: &str, module: &Path) -> (Stage, Fault) {
    match attempt_with(environment, module, "misbehave.echo", &json!(["hello"])) {
        Attempt::Rejected(JobError::Preload(PreloadError { module: blamed, stage, fault })) => {
            assert_eq!(Path::new(&blamed), module);
            (stage, fault)
        }
        other => panic!("{environment}: {other:?}"),
    }
}

fn call(module: &Path, task: &str, args: &[Value]) -> Result<Value, ProcessError> {
    host(module).process_named(task, args).start()?.result_timeout(PATIENCE)
}

fn rejected(module: &Path, task: &str, args: &[Value]) -> JobError {
    match call(module, task, args) {
        Err(ProcessError::Rejected(error)) => error,
        other => panic!("{task}: {other:?}"),
    }
}

mod hooks {
    use super::*;

    #[test]
    fn a_well_behaved_module_serves() {
        assert_eq!(misbehave(""), Attempt::Returned("\"hello\"".into()));
    }

    #[test]
    fn threads_are_named() {
        let (stage, fault) = blamed("thread", &artifacts().misbehave);
        let names = vec!["sleeper".to_owned()];
        assert_eq!((stage, fault), (Stage::Verdict, Fault::StartedThreads { count: 1, names }));
    }

    #[test]
    fn what_workers_would_share_is_named() {
        for (environment, kind) in [("socket", "socket:["), ("epoll", "anon_inode:[eventpoll]")] {
            let (stage, fault) = blamed(environment, &artifacts().misbehave);
            let Fault::OpenDescriptors { what } = fault else { panic!("{environment}: {fault}") };
            assert_eq!(stage, Stage::Verdict);
            assert!(what.iter().all(|what| what.starts_with(kind)), "{what:?}");
            assert_eq!(what.len(), if environment == "socket" { 2 } else { 1 });
        }
    }

    #[test]
    fn panics_and_errors_of_init_are_told() {
        let (stage, fault) = blamed("panic", &artifacts().misbehave);
        let Fault::HookPanicked(message) = fault else { panic!("{fault}") };
        assert_eq!(stage, Stage::Init);
        assert!(message.starts_with("init panics as asked at "), "{message}");
        assert!(message.contains("misbehave/src/lib.rs:"), "{message}");

        let failed = Fault::HookFailed("init fails as asked".into());
        assert_eq!(blamed("error", &artifacts().misbehave), (Stage::Init, failed));
        let (_, fault) = blamed("mispelled", &artifacts().misbehave);
        assert_eq!(fault, Fault::HookFailed("unknown MISBEHAVE=mispelled".into()));
    }

    #[test]
    fn the_end_of_the_host_is_told() {
        assert_eq!(misbehave("abort"), Attempt::Died(-6));
        assert_eq!(misbehave("exit"), Attempt::Died(7));
        assert_eq!(misbehave("hang"), Attempt::TimedOut);
    }

    #[test]
    fn after_fork_hooks_fail_the_job() {
        let failed = |attempt| match attempt {
            Attempt::Rejected(JobError::AfterFork(message)) => message,
            other => panic!("{other:?}"),
        };
        let message = failed(misbehave("after-fork-panic"));
        assert!(message.contains("its hook panicked: after_fork panics as asked"), "{message}");
        let message = failed(misbehave("after-fork-error"));
        assert!(message.ends_with("its hook failed: after_fork fails as asked"), "{message}");
    }

    #[test]
    fn a_host_that_only_warns_goes_on_without_the_module() {
        let missing = Path::new("/nonexistent/libmissing.so");
        let error = rejected(missing, "missing.task", &[]);
        assert!(matches!(error, JobError::UnknownTask { .. }), "{error}");
    }
}

mod tasks {
    use super::*;

    fn misbehaving(task: &str, args: &[Value]) -> Result<Value, ProcessError> {
        call(&artifacts().misbehave, &format!("misbehave.{task}"), args)
    }

    #[test]
    fn deaths_are_told() {
        for signal in [4, 6, 9, 11, 15] {
            match misbehaving("crash", &[json!(signal)]) {
                Err(ProcessError::Died { ending: Ending::Known(record), .. }) => {
                    assert_eq!(record.signal(), Some(signal));
                }
                other => panic!("{signal}: {other:?}"),
            }
        }
        match misbehaving("exit_with", &[json!(3)]) {
            Err(ProcessError::Died { ending: Ending::Known(record), .. }) => {
                assert_eq!(record.code, 3);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_panic_is_told_with_its_place() {
        match misbehaving("panic_with", &[json!("ouch")]) {
            Err(ProcessError::Panicked(panic)) => {
                assert_eq!(panic.message, "ouch");
                assert!(panic.location.unwrap().contains("misbehave/src/tasks.rs:"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_result_without_encoding_is_told() {
        let error = rejected(&artifacts().misbehave, "misbehave.unserialisable", &[]);
        let JobError::Unserializable(reason) = &error else { panic!("{error}") };
        assert!(reason.contains("this value has no encoding"), "{reason}");
    }

    #[test]
    fn large_results_travel() {
        let value = misbehaving("huge_result", &[json!(40)]).unwrap();
        assert_eq!(value.as_str().unwrap().len(), 40 << 20);
        assert_eq!(misbehaving("leak", &[json!(3)]).unwrap(), json!(3));
    }

    #[test]
    fn wrong_arguments_name_the_signature() {
        for args in [vec![], vec![json!(1), json!(2)], vec![json!("x")]] {
            let error = rejected(&artifacts().misbehave, "misbehave.leak", &args);
            let JobError::BadArguments { signature, .. } = &error else { panic!("{error}") };
            assert_eq!(signature, "misbehave::tasks::leak(mib: u64) -> u64");
        }
        let error = rejected(&artifacts().misbehave, "misbehave.leak", &[]);
        assert!(error.to_string().ends_with("takes 1 argument(s), got 0"), "{error}");
    }

    #[test]
    fn a_state_is_a_task_like_any_other() {
        // It starts processes of its own kind, from inside the module.
        let numbers = (1..=5).collect::<Vec<u64>>();
        assert_eq!(misbehaving("Sum", &[json!({ "numbers": numbers })]).unwrap(), json!(15));
        let error = rejected(&artifacts().misbehave, "misbehave.Sum", &[json!({})]);
        let JobError::BadArguments { signature, .. } = &error else { panic!("{error}") };
        let want = "misbehave::tasks::Sum(self: Sum) -> Result<u64, mp::TaskError>";
        assert_eq!(signature, want);
    }

    #[test]
    fn an_unknown_task_gives_near_names() {
        let error = rejected(&artifacts().misbehave, "misbehave.slep_ms", &[]);
        let JobError::UnknownTask { near, .. } = &error else { panic!("{error}") };
        assert_eq!(near, &["misbehave::tasks::sleep_ms"]);
    }

    #[test]
    fn output_without_a_newline_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output");
        let process = host(&artifacts().misbehave)
            .process_named("misbehave.print", &[json!("no newline")])
            .stdout(std::fs::File::create(&path).unwrap())
            .start()
            .unwrap();
        process.result_timeout(PATIENCE).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no newline");
        assert_eq!(process.join(), 0);
    }

    #[test]
    fn a_task_sees_the_environment_of_its_process() {
        let process = host(&artifacts().misbehave)
            .process_named("misbehave.environment", &[json!("COLOUR")])
            .env("COLOUR", "green")
            .start()
            .unwrap();
        assert_eq!(process.result_timeout(PATIENCE).unwrap(), json!("green"));
    }

    #[test]
    fn who_ignores_sigterm_can_be_killed() {
        let process = host(&artifacts().misbehave)
            .process_named("misbehave.ignore_sigterm", &[json!(60_000)])
            .start()
            .unwrap();
        let ignores = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()));
            let status = status.unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
            mask.is_some_and(|mask| u64::from_str_radix(mask, 16).unwrap() & (1 << 14) != 0)
        };
        assert!(mpserverd_tests::eventually(PATIENCE, ignores));
        process.terminate().unwrap();
        assert_eq!(process.join_timeout(GLANCE), None);
        process.kill().unwrap();
        assert_eq!(process.join(), -9);
    }
}

mod c {
    use super::*;

    /// The C task `add`, called as Rust programs call: in bincode.
    #[derive(Debug)]
    enum AddInBincode {}

    impl mp::Task for AddInBincode {
        const NAME: &'static str = "hello.add";
        const SIGNATURE: &'static str = "(a: i64, b: i64) -> i64";
        const DOC: &'static str = "";
        const SCHEMA: u64 = 0;
        const ARITY: usize = 2;
        type Args = (i64, i64);
        type Output = i64;

        fn call((a, b): (i64, i64)) -> i64 {
            a + b
        }

        fn encode(codec: mp::Codec, output: i64) -> mp::task::Encoded {
            mp::task::ReturnsValue::encode(&mp::task::Returns::new(), codec, output)
        }

        fn decode(codec: mp::Codec, failed: bool, payload: &[u8]) -> Result<i64, mp::CodecError> {
            mp::task::ReturnsValue::decode(&mp::task::Returns::new(), codec, failed, payload)
        }
    }

    #[test]
    fn tasks_run() {
        let Some(hello) = c_module("hello", &[]) else { return };
        let greet = |name: &str| call(&hello, "hello.greet", &[json!(name)]).unwrap();
        assert_eq!(greet("World"), json!("Hello, World!"));
        let odd = "\"q\" \\ / \u{8}\u{c}\n\r\t \u{0} \u{1b} é € \u{1F600}";
        assert_eq!(greet(odd), json!(format!("Hello, {odd}!")));
        let add = |a: i64, b: i64| call(&hello, "add", &[json!(a), json!(b)]);
        assert_eq!(add(-3, 5).unwrap(), json!(2));
        assert_eq!(add(i64::MIN, i64::MAX).unwrap(), json!(-1));
        let overflow = add(i64::MAX, 1).unwrap_err();
        assert!(
            matches!(&overflow, ProcessError::Failed { message } if message.contains("64 bits"))
        );
        let failed = call(&hello, "hello.fail", &[json!("as asked")]).unwrap_err();
        assert!(matches!(&failed, ProcessError::Failed { message } if message == "as asked"));
    }

    #[test]
    fn wrong_arguments_are_told() {
        let Some(hello) = c_module("hello", &[]) else { return };
        let reason = |task: &str, args: &[Value]| match rejected(&hello, task, args) {
            JobError::BadArguments { signature, reason } => {
                assert!(signature.starts_with(task), "{signature}");
                reason
            }
            other => panic!("{other}"),
        };
        assert_eq!(reason("greet", &[]), "too few arguments");
        assert_eq!(reason("greet", &[json!("a"), json!(1)]), "too many arguments");
        assert_eq!(reason("greet", &[json!(1)]), "expected a string");
        assert_eq!(reason("add", &[json!(1)]), "too few arguments");
        assert_eq!(reason("add", &[json!(1), json!(1.5)]), "expected an integer");
        assert_eq!(reason("add", &[json!("1"), json!(1)]), "expected an integer");
        let large = json!(u64::MAX);
        assert_eq!(reason("add", &[large, json!(1)]), "an integer does not fit 64 bits");
    }

    #[test]
    fn a_codec_that_it_does_not_speak_is_told() {
        let Some(hello) = c_module("hello", &[]) else { return };
        let process = host(&hello).process::<AddInBincode>((1, 2)).start().unwrap();
        match process.result_timeout(PATIENCE) {
            Err(ProcessError::Rejected(JobError::UnsupportedCodec { task, codec })) => {
                assert_eq!((task.as_str(), codec.as_str()), ("add", "bincode"));
            }
            other => panic!("{other:?}"),
        }
    }

    fn fault(define: &str) -> Option<(Stage, Fault)> {
        Some(blamed("", &c_module("broken", &[define])?))
    }

    #[test]
    fn broken_descriptors_are_told() {
        if c_module("broken", &[]).is_none() {
            return;
        }
        assert_eq!(fault("NO_SYMBOL"), Some((Stage::Descriptor, Fault::NoDescriptor)));
        let wrong = Fault::WrongAbi { found: 99, expected: 1 };
        assert_eq!(fault("WRONG_ABI"), Some((Stage::Descriptor, wrong)));
        for (define, says) in [
            ("WRONG_MAGIC", "magic"),
            ("WRONG_SIZE", "size"),
            ("NULL_MODULE", "no valid pointer"),
            ("NULL_NAME", "no name"),
            ("NULL_TASKS", "task array is null"),
            ("NULL_TASK_NAME", "a task has no name"),
        ] {
            match fault(define) {
                Some((Stage::Descriptor, Fault::BadDescriptor(what))) => {
                    assert!(what.contains(says), "{define}: {what}");
                }
                other => panic!("{define}: {other:?}"),
            }
        }
        let failed = Fault::HookFailed("init fails as asked".into());
        assert_eq!(fault("ERROR_IN_INIT"), Some((Stage::Init, failed)));
    }

    #[test]
    fn a_crash_in_init_is_told() {
        let Some(module) = c_module("broken", &["CRASH_IN_INIT"]) else { return };
        assert_eq!(attempt_with("", &module, "broken.task", &json!([])), Attempt::Died(-11));
    }

    #[test]
    fn what_is_no_shared_object_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("libtext.so");
        std::fs::write(&text, "not a shared object\n").unwrap();
        for path in [text, directory.path().join("missing.so")] {
            let (stage, fault) = blamed("", &path);
            assert_eq!(stage, Stage::Load);
            let Fault::NotLoadable(reason) = fault else { panic!("{fault}") };
            assert!(reason.contains(path.to_str().unwrap()), "{reason}");
        }
    }
}

mod highlight {
    use super::*;

    #[test]
    fn a_rust_file_is_rendered() {
        let source = Path::new(file!()).file_name().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
        let module = &artifacts().highlight;
        let value = call(module, "highlight.render", &[json!(source)]).unwrap();
        assert_eq!(value["language"], json!("Rust"));
        assert!(value["html"].as_str().unwrap().contains("<span style="));
        assert_eq!(call(module, "detect", &[json!(source)]).unwrap(), json!("Rust"));
    }

    #[test]
    fn a_binary_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.rs");
        std::fs::write(&path, b"fn\0").unwrap();
        let error = call(&artifacts().highlight, "highlight.render", &[json!(path)]);
        let Err(ProcessError::Failed { message }) = error else { panic!("{error:?}") };
        assert!(message.contains("is a binary file"), "{message}");
    }
}

mod demo {
    use super::*;
    use mpserverd_tests::demo::{files, run};

    #[test]
    fn its_jobs_are_measured_and_listed() {
        let directory = tempfile::tempdir().unwrap();
        let (base, out) = (directory.path(), directory.path().join("out"));
        let sources = ["a.rs", "sub/a.rs", "bad.rs"].map(|name| base.join(name));
        std::fs::create_dir(base.join("sub")).unwrap();
        std::fs::write(&sources[0], "fn a() {}\n").unwrap();
        std::fs::write(&sources[1], "fn a() {}\n").unwrap();
        std::fs::write(&sources[2], b"\xff").unwrap();
        let jobs = files::jobs(&sources, base, &out).unwrap();
        let run = run(&host(&artifacts().highlight), &jobs, 2);
        for outcome in &run.outcomes[..2] {
            assert!(outcome.first > Duration::ZERO && outcome.first < outcome.total);
            assert!(outcome.total <= run.took);
            assert!(outcome.result.as_ref().unwrap().written.is_file());
        }
        let failures = run.failures().map(|(job, _)| job.shown.as_path()).collect::<Vec<_>>();
        assert_eq!(failures, [Path::new("bad.rs")]);
        let index = std::fs::read_to_string(files::write_index(&out, &run).unwrap()).unwrap();
        assert!(index.contains("href=\"sub/a.rs.html\""), "{index}");
        assert!(index.contains("bad.rs is not UTF-8"), "{index}");
    }
}
