//! A collector that is stopped or dead holds up nobody.

use crate::{alone, record};
use mp::logging::Level;
use mpserverd_tests::suite::{PATIENCE, end, outcome};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

alone![
    a_stopped_collector_holds_up_no_worker,
    the_death_of_the_collector_holds_up_no_worker,
    a_stopped_worker_holds_up_nobody,
    a_subscriber_that_hangs_holds_up_nobody_for_long,
];

/// Events of 100 bytes and more: several times what there is room for.
const MANY: u64 = 20_000;

#[mp::task]
fn log_many(go: mp::Event, done: mp::Value<u64>) {
    tracing::info!("ready");
    assert!(go.wait(Some(PATIENCE)));
    for number in 1..=MANY {
        tracing::info!(number, "one of many");
        done.set(number);
    }
    tracing::error!("an error has room even now");
    done.set(MANY + 1);
}

/// A process that collects what one worker logs; what arrived, and what was lost.
#[mp::task]
fn collect(
    method: String,
    go: mp::Event,
    ready: mp::Event,
    done: mp::Value<u64>,
) -> (u64, u64, bool) {
    let seen = record(Level::INFO);
    mp::logging::set_rate_limit(0);
    let ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
    let process = ctx.process::<log_many>((go, done)).start().unwrap();
    assert!(mpserverd_tests::eventually(PATIENCE, || seen.count() == 1));
    ready.set();
    outcome(&process).unwrap();
    let is_last = seen.messages().last().unwrap() == "an error has room even now";
    (seen.count() as u64, seen.lost(), is_last)
}

/// Starts the collector, and its worker by the method of the test where that needs no daemon.
fn start(
    ctx: &mp::Context,
    go: &mp::Event,
    done: &mp::Value<u64>,
) -> mp::Process<(u64, u64, bool)> {
    let ready = mp::Event::new().unwrap();
    let method = match ctx.method() {
        mp::StartMethod::Fork => "fork",
        _ => "spawn",
    };
    let arguments = (method.to_owned(), go.clone(), ready.clone(), done.clone());
    let collector = ctx.process::<collect>(arguments).start().unwrap();
    assert!(ready.wait(Some(PATIENCE)));
    collector
}

fn a_stopped_collector_holds_up_no_worker(ctx: &mp::Context) {
    let (go, done) = (mp::Event::new().unwrap(), mp::Value::new(0u64).unwrap());
    let collector = start(ctx, &go, &done);
    let pid = Pid::from_raw(collector.pid() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    go.set();
    let all = || done.value() == MANY + 1;
    assert!(mpserverd_tests::eventually(PATIENCE, all), "stuck at {}", done.value());
    kill(pid, Signal::SIGCONT).unwrap();
    let (arrived, lost, is_last) = outcome(&collector).unwrap();
    assert_eq!(arrived + lost, MANY + 2);
    assert!(lost > 0 && is_last, "{lost} lost");
}

fn the_death_of_the_collector_holds_up_no_worker(ctx: &mp::Context) {
    let (go, done) = (mp::Event::new().unwrap(), mp::Value::new(0u64).unwrap());
    let collector = start(ctx, &go, &done);
    collector.kill().unwrap();
    assert_eq!(end(&collector), -9);
    go.set();
    let all = || done.value() == MANY + 1;
    assert!(mpserverd_tests::eventually(PATIENCE, all), "stuck at {}", done.value());
}

#[mp::task]
fn log_for_ever() {
    loop {
        tracing::info!("again");
    }
}

#[mp::task]
fn log_some() {
    for number in 0..200 {
        tracing::info!(number);
    }
}

fn a_stopped_worker_holds_up_nobody(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    let stopped = ctx.process::<log_for_ever>(()).start().unwrap();
    assert!(mpserverd_tests::eventually(PATIENCE, || seen.count() > 0));
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(3));
        stopped.signal(Signal::SIGSTOP as i32).unwrap();
        let other = ctx.process::<log_some>(()).start().unwrap();
        outcome(&other).unwrap();
        let own = seen.lines().iter().filter(|line| line.process() == other.name()).count();
        assert_eq!(own, 200);
        stopped.signal(Signal::SIGCONT as i32).unwrap();
    }
    stopped.kill().unwrap();
    assert_eq!(end(&stopped), -9);
}

fn a_subscriber_that_hangs_holds_up_nobody_for_long(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    *seen.also.lock().unwrap() = Some(|| {
        if std::thread::current().name() == Some("mp-log") {
            std::thread::sleep(PATIENCE * 10);
        }
    });
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        match ctx.process::<log_some>(()).start() {
            Ok(process) => {
                outcome(&process).unwrap();
                assert_eq!(end(&process), 0);
            }
            // Its thread may hold anything, so that a copy of this process might hang.
            Err(mp::StartError::ForkWithThreads { names, .. }) => {
                assert!(names.iter().any(|name| name == "mp-log"), "{names:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(begun.elapsed() < PATIENCE);
}
