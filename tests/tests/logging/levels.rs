//! Levels travel, and change.

use crate::{alone, record};
use mp::logging::{Level, LevelFilter};
use mpserverd_tests::suite::{PATIENCE, outcome, value};

alone![
    the_level_travels_to_workers,
    the_level_travels_to_grandchildren,
    a_lower_level_reaches_running_workers,
    a_worker_may_choose_its_own_level,
    nothing_is_forwarded_unless_asked,
    the_level_travels_alone_too,
    the_library_logs_about_itself,
];

#[mp::task]
fn log_all() -> LevelFilter8 {
    tracing::error!("error");
    tracing::warn!("warn");
    tracing::info!("info");
    tracing::debug!("debug");
    tracing::trace!("trace");
    mp::get_logger().level().to_string()
}

/// A level as text.
type LevelFilter8 = String;

fn the_level_travels_to_workers(ctx: &mp::Context) {
    let seen = record(Level::DEBUG);
    assert_eq!(value(ctx.process::<log_all>(())), "debug");
    assert_eq!(seen.messages(), ["error", "warn", "info", "debug"]);
    mp::get_logger().set_level(Level::ERROR);
    assert_eq!(value(ctx.process::<log_all>(())), "error");
    assert_eq!(seen.messages()[4..], ["error"]);
    mp::get_logger().set_level(LevelFilter::OFF);
    assert_eq!(value(ctx.process::<log_all>(())), "off");
    assert_eq!(seen.messages().len(), 5);
    mp::get_logger().set_level(mp::logging::SUBDEBUG);
    assert_eq!(value(ctx.process::<log_all>(())), "trace");
    assert_eq!(seen.messages().len(), 10);
}

/// Starts a process that starts a process, all in the way that started the first one.
#[mp::task]
fn dynasty(depth: u32) {
    let name = mp::current_process().name().to_owned();
    tracing::info!("{name} at {depth}");
    tracing::debug!("not wanted");
    if depth > 0 {
        let method = if name.contains("fork-") { "fork" } else { "spawn" };
        let ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
        let child = ctx.process::<dynasty>((depth - 1,)).name(format!("{name}+")).start().unwrap();
        outcome(&child).unwrap();
    }
}

fn the_level_travels_to_grandchildren(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    for first in ["fork-", "spawn-"] {
        value(ctx.process::<dynasty>((2,)).name(first));
    }
    let want = ["fork- at 2", "fork-+ at 1", "fork-++ at 0", "spawn- at 2", "spawn-+ at 1"];
    // Nobody here waits for the end of a grandchild.
    let all = || seen.messages().len() == 6;
    assert!(mpserverd_tests::eventually(PATIENCE, all), "{:?}", seen.messages());
    assert_eq!(seen.messages()[..5], want);
    assert!(seen.lines().iter().all(|line| line.message().starts_with(line.process())));
}

#[mp::task]
fn log_twice(lowered: mp::Event, first: mp::Event) {
    tracing::info!("first");
    first.set();
    assert!(lowered.wait(Some(PATIENCE)));
    tracing::info!("second");
    tracing::warn!("third");
}

fn a_lower_level_reaches_running_workers(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    let (lowered, first) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
    let process = ctx.process::<log_twice>((lowered.clone(), first.clone())).start().unwrap();
    assert!(first.wait(Some(PATIENCE)));
    mp::get_logger().set_level(Level::WARN);
    lowered.set();
    outcome(&process).unwrap();
    assert_eq!(seen.messages(), ["first", "third"]);
}

#[mp::task]
fn choose() {
    tracing::info!("not wanted");
    mp::get_logger().set_level(Level::INFO);
    tracing::info!("wanted");
    tracing::debug!("nor this");
    mp::get_logger().set_level(Level::ERROR);
    tracing::warn!("nor that");
}

fn a_worker_may_choose_its_own_level(ctx: &mp::Context) {
    let seen = record(Level::WARN);
    value(ctx.process::<choose>(()));
    assert_eq!(seen.messages(), ["wanted"]);
}

fn nothing_is_forwarded_unless_asked(ctx: &mp::Context) {
    let seen = crate::Seen::default();
    let recorder = crate::Recorder::subscriber(&seen);
    tracing::subscriber::set_global_default(recorder).unwrap();
    value(ctx.process::<log_all>(()));
    assert!(seen.lines().is_empty());
    assert_eq!(threads(), 2);
}

/// Threads of this process: the runtime's controller, the task's and perhaps the log's.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn the_level_travels_alone_too(ctx: &mp::Context) {
    assert_eq!(mp::get_logger().level(), LevelFilter::TRACE);
    mp::get_logger().set_level(Level::WARN);
    assert_eq!(value(ctx.process::<log_all>(())), "warn");
    assert_eq!(threads(), 2);
}

fn the_library_logs_about_itself(ctx: &mp::Context) {
    let seen = record(Level::DEBUG);
    let process = ctx.process::<log_all>(()).name("watched").start().unwrap();
    outcome(&process).unwrap();
    assert_eq!(process.join_timeout(PATIENCE), Some(0));
    let own = seen.all().into_iter().filter(|line| line.target == mp::logging::TARGET);
    let own = own.filter(|line| line.process().is_empty()).collect::<Vec<_>>();
    let said = own.iter().map(|line| line.message()).collect::<Vec<_>>();
    assert_eq!(said, ["started a process", "a process has ended"]);
    assert_eq!(own[0].get("name"), "watched");
    assert!(own.iter().all(|line| line.get("pid") == process.pid().to_string()));
}
