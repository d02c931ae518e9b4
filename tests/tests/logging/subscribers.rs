//! Workers with subscribers of their own.

use crate::{Recorder, Seen, alone, record};
use mp::logging::{Level, Tee};
use mpserverd_tests::suite::value;
use tracing_subscriber::layer::SubscriberExt;

alone![
    an_own_subscriber_gets_what_is_logged_in_its_scope,
    a_tee_gives_to_both,
    a_forked_tee_gives_to_the_collector_only,
    a_worker_may_collect_for_itself,
];

#[mp::task]
fn with_own() -> Vec<String> {
    let own = Seen::default();
    tracing::subscriber::with_default(Recorder::subscriber(&own), || tracing::info!("own"));
    tracing::info!("collected");
    own.messages()
}

fn an_own_subscriber_gets_what_is_logged_in_its_scope(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    assert_eq!(value(ctx.process::<with_own>(())), ["own"]);
    assert_eq!(seen.messages(), ["collected"]);
}

#[mp::task]
fn with_tee() -> (Vec<String>, Vec<String>) {
    let own = Seen::default();
    // Only warnings: the collector's level is another one.
    let filter = tracing_subscriber::filter::LevelFilter::WARN;
    let tee = Tee::new(Recorder::subscriber(&own).with(filter));
    tracing::subscriber::with_default(tee, || {
        let outer = tracing::info_span!("outer", a = 1).entered();
        let inner = tracing::warn_span!("inner", b = 2).entered();
        tracing::info!("info");
        tracing::warn!("warn");
        tracing::trace!("trace");
        let explicit = tracing::warn_span!(parent: &*outer, "explicit");
        tracing::warn!(parent: &explicit, "below");
        drop(explicit);
        drop(inner);
        drop(outer);
    });
    let spans = own.lines().iter().map(|line| format!("{:?}", line.spans.len())).collect();
    (own.messages(), spans)
}

fn a_tee_gives_to_both(ctx: &mp::Context) {
    let seen = record(Level::DEBUG);
    let (own, spans) = value(ctx.process::<with_tee>(()));
    assert_eq!(own, ["warn", "below"]);
    assert_eq!(spans, ["1", "1"]);
    assert_eq!(seen.messages(), ["info", "warn", "below"]);
    let lines = seen.lines();
    let names = |at: usize| lines[at].spans.iter().map(|(name, _)| name.as_str());
    assert!(names(0).eq(["outer", "inner"]) && names(1).eq(["outer", "inner"]), "{lines:?}");
    assert!(names(2).eq(["outer", "explicit"]), "{lines:?}");
    let mut closed = seen.closed();
    closed.sort();
    assert_eq!(closed, ["explicit", "inner", "outer"]);
}

#[mp::task]
fn log_in_a_thread() {
    tracing::info!("task");
    std::thread::scope(|scope| {
        scope.spawn(|| tracing::info!("thread"));
    });
}

fn a_forked_tee_gives_to_the_collector_only(ctx: &mp::Context) {
    let seen = Seen::default();
    let tee = Tee::new(Recorder::subscriber(&seen));
    tracing::subscriber::set_global_default(tee).unwrap();
    mp::logging::forward(Level::INFO);
    tracing::info!("here");
    value(ctx.process::<log_in_a_thread>(()));
    // Also what a thread said that knows of nothing but the global subscriber.
    assert_eq!(seen.messages(), ["here", "task", "thread"]);
    let lines = seen.lines();
    assert_eq!(lines[0].process(), "");
    assert_ne!(lines[2].process(), "");
}

#[mp::task]
fn collect_below() -> Vec<String> {
    tracing::info!("above");
    let own = Seen::default();
    let guard = tracing::subscriber::set_default(Recorder::subscriber(&own));
    mp::logging::forward(Level::INFO);
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    value(spawn.process::<log_in_a_thread>(()));
    drop(guard);
    own.messages()
}

fn a_worker_may_collect_for_itself(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    assert_eq!(value(ctx.process::<collect_below>(())), ["task", "thread"]);
    assert_eq!(seen.messages(), ["above"]);
}
