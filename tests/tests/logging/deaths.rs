//! The last line before a death is there, and before the news of it.

use crate::{alone, record};
use mp::logging::Level;
use mpserverd_tests::seeds;
use mpserverd_tests::suite::{PATIENCE, end, outcome};
use nix::sys::signal::{Signal, raise};
use std::time::Duration;

alone![
    the_last_line_survives_kill_and_abort,
    a_panic_is_one_event_with_its_place,
    whoever_is_killed_leaves_all_that_was_logged,
    the_last_lines_survive_a_flood,
];

#[mp::task]
fn die(by: &str) {
    let _span = tracing::info_span!("dying", by).entered();
    tracing::info!("one");
    tracing::error!("last words before {by}");
    match by {
        "kill" => raise(Signal::SIGKILL).unwrap(),
        // The runtime's own handler lets the first one pass.
        "segv" => assert!((0..2).all(|_| raise(Signal::SIGSEGV).is_ok())),
        "exit" => std::process::exit(7),
        _ => std::process::abort(),
    }
}

fn the_last_line_survives_kill_and_abort(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    for by in ["kill", "abort", "exit", "segv"] {
        for ask in ["result", "join", "poll"] {
            let before = seen.count();
            let process = ctx.process::<die>((by.to_owned(),));
            let process = process.stderr(mp::Stream::Null).rlimit(mp::Resource::Core, 0, 0);
            let process = process.start().unwrap();
            match ask {
                "result" => drop(outcome(&process).unwrap_err()),
                "join" => assert_ne!(end(&process), 0),
                _ => {
                    assert!(mpserverd_tests::eventually(PATIENCE, || process.exitcode().is_some()))
                }
            }
            let lines = seen.lines();
            assert_eq!(lines.len(), before + 2, "{by} {ask}: {lines:?}");
            assert_eq!(lines[before + 1].message(), format!("last words before {by}"));
            assert_eq!(lines[before + 1].spans[0].1["by"].1, by);
        }
    }
    assert_eq!(seen.lost(), 0);
    // Those who died never closed a span.
    assert_eq!(seen.closed().len(), 12);
}

#[mp::task]
fn panic_softly(text: &str) {
    let caught = std::panic::catch_unwind(|| panic!("caught"));
    assert!(caught.is_err());
    panic!("{text}");
}

fn a_panic_is_one_event_with_its_place(ctx: &mp::Context) {
    let seen = record(Level::ERROR);
    let process = ctx.process::<panic_softly>(("ouch".into(),)).stderr(mp::Stream::Null);
    let process = process.name("panicky").start().unwrap();
    outcome(&process).unwrap_err();
    let all = seen.all().into_iter().filter(|line| !line.process().is_empty()).collect::<Vec<_>>();
    let said = all.iter().map(|line| line.message()).collect::<Vec<_>>();
    assert_eq!(said, ["panicked: caught", "panicked: ouch"]);
    assert!(all[1].get("location").contains("logging/deaths.rs:"), "{all:?}");
    assert_eq!((all[1].level, all[1].process()), (Level::ERROR, "panicky"));
}

#[mp::task]
fn count_until_killed(done: mp::Value<u64>) {
    for number in 0u64.. {
        let _span = tracing::info_span!("round", number).entered();
        tracing::info!(number, filler = "x".repeat((number % 300) as usize), "counted");
        done.set(number + 1);
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Everything that was logged before the death has arrived, once and in order, and at most one
/// more event, which was under way.
fn whoever_is_killed_leaves_all_that_was_logged(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    mp::logging::set_rate_limit(0);
    for (seed, mut moments) in seeds::rounds(8) {
        let done = mp::Value::new(0u64).unwrap();
        let process = ctx.process::<count_until_killed>((done.clone(),));
        let process = process.name(format!("victim {seed}")).start().unwrap();
        std::thread::sleep(Duration::from_micros(moments.below(60_000)));
        process.kill().unwrap();
        assert_eq!(end(&process), -9);
        let own = seen.all().into_iter().filter(|line| line.process() == process.name());
        let (lost, own) = own.partition::<Vec<_>, _>(|line| !line.get("lost").is_empty());
        let lost = lost.iter().map(|line| line.get("lost").parse::<u64>().unwrap()).sum::<u64>();
        let numbers = own.iter().map(|line| line.get("number").parse().unwrap());
        let numbers = numbers.collect::<Vec<u64>>();
        assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}: {numbers:?}");
        let (had, arrived) = (done.value(), numbers.len() as u64 + lost);
        assert!(arrived == had || arrived == had + 1, "seed {seed}: {arrived} of {had}");
    }
}

#[mp::task]
fn flood_and_die(count: u64) {
    for number in 0..count {
        tracing::info!(number);
    }
    tracing::info!("next to last");
    tracing::error!("last");
    let _ = raise(Signal::SIGKILL);
}

fn the_last_lines_survive_a_flood(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    mp::logging::set_rate_limit(100);
    let process = ctx.process::<flood_and_die>((3000,)).start().unwrap();
    assert_eq!(end(&process), -9);
    let lines = seen.lines();
    assert_eq!(lines.len() as u64 + seen.lost(), 3002);
    // A machine that stands still in between begins to count anew.
    assert!(lines.len() < 2000, "{} arrived", lines.len());
    assert_eq!(lines.last().unwrap().message(), "last", "{lines:?}");
}
