//! One number from client to certificate.

use super::*;
use mpserverd_tests::suite;
use mpserverd_tests::suite::value;
use std::time::Duration;

/// The trace of this process, as it is told and as its environment has it.
#[mp::task]
fn own_trace() -> (Option<String>, Option<String>) {
    let trace = mp::current_process().trace().map(|trace| trace.to_string());
    (trace, std::env::var("TRACEPARENT").ok())
}

/// That of a process that this one starts.
#[mp::task]
fn trace_of_a_child() -> (Option<String>, Option<String>) {
    value(mp::get_context(mp::StartMethod::Spawn).process::<own_trace>(()))
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

suite![
    every_start_has_a_trace,
    a_named_trace_goes_on_to_descendants,
    a_trace_of_the_environment_is_taken_up,
    a_cleared_environment_has_none_but_the_process_has,
];

fn every_start_has_a_trace(ctx: &mp::Context) {
    let (first, parent) = value(ctx.process::<own_trace>(()));
    let (first, parent) = (first.unwrap(), parent.unwrap());
    assert!(parent.starts_with(&format!("00-{first}-")) && parent.len() == 55, "{parent}");
    if mp::current_process().trace().is_none() {
        assert_ne!(value(ctx.process::<own_trace>(())).0, Some(first), "the same again");
    }
}

fn a_named_trace_goes_on_to_descendants(ctx: &mp::Context) {
    let trace: mp::TraceId = TRACE.parse().unwrap();
    for (told, parent) in [
        value(ctx.process::<own_trace>(()).trace(trace)),
        value(ctx.process::<trace_of_a_child>(()).trace(trace)),
    ] {
        assert_eq!(told.as_deref(), Some(TRACE));
        assert!(parent.unwrap().starts_with(&format!("00-{TRACE}-")));
    }
}

fn a_trace_of_the_environment_is_taken_up(ctx: &mp::Context) {
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let (told, own) = value(ctx.process::<own_trace>(()).env("TRACEPARENT", &parent));
    assert_eq!(told.as_deref(), Some(TRACE));
    let own = own.unwrap();
    assert!(own.starts_with(&format!("00-{TRACE}-")) && own.ends_with("-00"), "{own}");
    assert_ne!(own, parent, "a span of its own");
}

fn a_cleared_environment_has_none_but_the_process_has(ctx: &mp::Context) {
    let trace: mp::TraceId = TRACE.parse().unwrap();
    let (told, own) = value(ctx.process::<own_trace>(()).env_clear().trace(trace));
    assert_eq!((told.as_deref(), own), (Some(TRACE), None));
}

#[test]
fn the_daemon_has_it_in_its_log_and_in_the_certificate() {
    let daemon = Daemon::start(&["--log-level", "debug"]);
    let trace: mp::TraceId = TRACE.parse().unwrap();
    let process = daemon.context().process::<exits>((3,)).trace(trace).start().unwrap();
    process.join();
    assert_eq!(certificate(&daemon, process.pid()).trace, Some(trace));
    let log = daemon.log();
    for what in ["worker leased", "worker ended"] {
        let line = log.lines().find(|line| line.contains(what) && line.contains(TRACE));
        assert!(line.is_some(), "{what}:\n{log}");
    }
}

/// What a trace costs a start is far below a microsecond; here only that it is no syscall's worth
/// of surprise: choosing ten thousand takes no time that anybody would notice.
#[test]
fn traces_are_cheap() {
    let begun = Instant::now();
    for _ in 0..10_000 {
        let builder = mp::get_context(mp::StartMethod::Spawn).process::<fine>(());
        drop(builder.trace(mp::TraceId(7)));
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
}
