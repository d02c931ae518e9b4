//! Each way to fail, and what becomes of it.

use super::*;
use mp::{ExitRecord, Panic, PreloadError, Reporter, Stage, Usage};
use std::io;

fn died(code: i32) -> ProcessError {
    let usage = Usage::default();
    let record =
        ExitRecord { code, core: false, usage, reporter: Reporter::Template, out_of_cpu: false };
    ProcessError::Died { pid: 4711, ending: Ending::Known(record), cause: None, stderr: Vec::new() }
}

fn failure(error: ProcessError) -> Failure {
    match judge(error) {
        Verdict::Failed(failure) => failure,
        Verdict::Hopeless(error) => panic!("hopeless: {error}"),
    }
}

#[test]
fn kinds_codes_and_retries() {
    let panic =
        Panic { message: "boom".into(), location: Some("a.rs:1:2".into()), backtrace: None };
    let bad = JobError::BadArguments { signature: "t(x: u64)".into(), reason: "no".into() };
    let setup = JobError::Setup { step: "nice".into(), message: "no".into() };
    for (error, kind, code, temporary) in [
        (ProcessError::Failed { message: "no".into() }, Kind::Failed, 1, false),
        (ProcessError::Panicked(panic), Kind::Panicked, 1, true),
        (ProcessError::DeadlineExceeded(Duration::from_secs(2)), Kind::Timeout, 124, true),
        (died(-9), Kind::Died, 137, true),
        (died(8), Kind::Died, 8, true),
        (died(0), Kind::Died, 1, true),
        (
            ProcessError::Died { pid: 1, ending: Ending::Unknown, cause: None, stderr: Vec::new() },
            Kind::Died,
            111,
            true,
        ),
        (bad.into(), Kind::Rejected, 100, false),
        (setup.into(), Kind::Rejected, 111, false),
        (JobError::AfterFork("no".into()).into(), Kind::Rejected, 111, true),
        (ProcessError::Undecodable("no".into()), Kind::Rejected, 111, false),
    ] {
        let text = error.to_string();
        let failure = failure(error);
        let found = (failure.kind, failure.code, failure.temporary);
        assert_eq!(found, (kind, code, temporary), "{text}");
    }
}

#[test]
fn equal_deaths_have_equal_words() {
    let message = failure(died(-9)).message;
    assert!(message.contains("killed by signal 9") && !message.contains("4711"), "{message}");
}

#[test]
fn retries_are_counted() {
    let late = Failure::timeout(Duration::from_secs(1));
    assert!(!late.is_worth_a_retry(1, 0));
    assert!(late.is_worth_a_retry(1, 1));
    assert!(!late.is_worth_a_retry(2, 1));
    assert!(!Failure::rejected("no".into()).is_worth_a_retry(1, 9));
}

#[test]
fn an_unknown_task_is_hopeless() {
    let unknown = JobError::UnknownTask { name: "x".into(), near: vec!["y".into()] };
    let Verdict::Hopeless(error) = judge(unknown.into()) else { panic!("not hopeless") };
    assert_eq!(error.code, 100);
    assert!(error.to_string().contains("did you mean y?"), "{error}");
}

#[test]
fn refused_starts() {
    let refused = |refusal| StartError::Daemon(DaemonError::Refused(refusal));
    let failed = |retry_after_ms| {
        let fault = mp::Fault::NoFreezeSupport;
        let error = PreloadError { module: "x".into(), stage: Stage::Handshake, fault };
        refused(Refusal::TemplateFailed { error, retry_after_ms })
    };
    let system = |errno| {
        let source = io::Error::from_raw_os_error(errno);
        StartError::System { call: "spawn", source }
    };
    for (error, expected) in [
        (StartError::TooLarge { limit: 1 }, Trouble::Input),
        (StartError::Timeout(Duration::ZERO), Trouble::Busy),
        (refused(Refusal::QueueFull { waiting: 1, limit: 1 }), Trouble::Busy),
        (refused(Refusal::ShuttingDown), Trouble::Away),
        (refused(Refusal::UnknownPool), Trouble::Lasting),
        (failed(Some(100)), Trouble::Busy),
        (failed(None), Trouble::Lasting),
        (system(libc::EAGAIN), Trouble::Busy),
        (system(libc::ENOENT), Trouble::Lasting),
        (StartError::NoFreezeSupport, Trouble::Lasting),
    ] {
        assert_eq!(trouble(&error), expected, "{error}");
    }
}

#[test]
fn json_has_stable_names() {
    let value = serde_json::to_value(failure(died(-9))).expect("json");
    assert_eq!(value["kind"], "died");
    assert_eq!(value.as_object().map(|object| object.len()), Some(2), "{value}");
}
