//! Levels, fields, spans, places and order survive the journey.

use crate::recorder::Line;
use crate::{alone, record};
use mp::logging::Level;
use mpserverd_tests::build::artifacts;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use std::collections::BTreeMap;

alone![
    everything_about_an_event_arrives,
    spans_arrive_with_their_fields,
    events_of_a_worker_arrive_in_order,
    long_values_are_cut_and_say_so,
    names_that_change_are_followed,
    threads_of_a_worker_log_too,
    a_subscriber_may_log_while_it_gets_events,
    what_is_logged_by_the_debug_of_a_value_is_left_out,
];

#[derive(Debug)]
struct Odd;

impl std::error::Error for Odd {}

impl std::fmt::Display for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("odd thing")
    }
}

#[mp::task]
fn log_one() -> (u32, u32) {
    let error: &(dyn std::error::Error + 'static) = &Odd;
    tracing::warn!(
        target: "my::target",
        yes = true,
        minus = -3i32,
        plus = u64::MAX,
        half = 0.5,
        huge = i128::MIN,
        vast = u128::MAX,
        text = "a \"quoted\" text",
        debug = ?Some(1),
        display = %"shown",
        error,
        "said {}",
        "so"
    );
    (line!() - 1, std::process::id())
}

fn everything_about_an_event_arrives(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    let (line, pid) = value(ctx.process::<log_one>(()).name("odd name"));
    let lines = seen.lines();
    let [event] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(event.level, Level::WARN);
    assert_eq!(event.target, "my::target");
    assert!(event.file.ends_with("logging/arrivals.rs"), "{event:?}");
    assert!(event.line > line - 20 && event.line < line, "{event:?}");
    assert!(event.module.ends_with("arrivals"), "{event:?}");
    let expected: [(&str, &str, &str); 13] = [
        ("yes", "bool", "true"),
        ("minus", "i64", "-3"),
        ("plus", "u64", "18446744073709551615"),
        ("half", "f64", "0.5"),
        ("huge", "i128", "-170141183460469231731687303715884105728"),
        ("vast", "u128", "340282366920938463463374607431768211455"),
        ("text", "str", "a \"quoted\" text"),
        ("debug", "debug", "Some(1)"),
        ("display", "debug", "shown"),
        ("error", "debug", "odd thing"),
        ("message", "debug", "said so"),
        ("process.name", "str", "odd name"),
        ("process.pid", "u64", &pid.to_string()),
    ];
    let expected = expected.map(|(name, kind, text)| (name.to_owned(), (kind, text.to_owned())));
    assert_eq!(event.fields, BTreeMap::from(expected));
    assert!(event.spans.is_empty());
}

#[mp::task]
fn log_in_spans() {
    let outer = tracing::info_span!("outer", a = 1, later = tracing::field::Empty);
    let entered = outer.clone().entered();
    tracing::info!("first");
    {
        let _inner = tracing::warn_span!("inner", b = "two").entered();
        outer.record("later", 7);
        tracing::info!("second");
    }
    tracing::info!("third");
    drop(entered);
    tracing::info!("fourth");
    tracing::info!(parent: &outer, "fifth");
    let _other = tracing::info_span!(parent: &outer, "other").entered();
    tracing::info!("sixth");
    tracing::info!(parent: None, "seventh");
    // Nothing is ever logged in it.
    drop(tracing::info_span!("silent"));
}

fn spans_arrive_with_their_fields(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    let process = ctx.process::<log_in_spans>(()).name("spanning").start().unwrap();
    outcome(&process).unwrap();
    assert_eq!(end(&process), 0);
    let names = |line: &Line| {
        let names = line.spans.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        format!("{}: {}", line.message(), names.join(" "))
    };
    let lines = seen.lines();
    let got = lines.iter().map(names).collect::<Vec<_>>();
    let want = [
        "first: outer",
        "second: outer inner",
        "third: outer",
        "fourth: ",
        "fifth: outer",
        "sixth: outer other",
        "seventh: ",
    ];
    assert_eq!(got, want);
    let outer = &lines[0].spans[0].1;
    assert_eq!(outer["a"], ("i64", "1".to_owned()));
    assert_eq!(outer["process.name"], ("str", "spanning".to_owned()));
    assert!(!outer.contains_key("later"));
    assert_eq!(lines[1].spans[0].1["later"], ("i64", "7".to_owned()));
    let inner = &lines[1].spans[1].1;
    assert_eq!(inner["b"], ("str", "two".to_owned()));
    assert!(!inner.contains_key("process.name"));
    let mut closed = seen.closed();
    closed.sort();
    assert_eq!(closed, ["inner", "other", "outer", "silent"]);
}

#[mp::task]
fn count_up(count: u32) {
    for number in 0..count {
        tracing::info!(number);
    }
}

fn events_of_a_worker_arrive_in_order(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    mp::logging::set_rate_limit(0);
    let start = |_| ctx.process::<count_up>((500,)).start().unwrap();
    let processes = (0..3).map(start).collect::<Vec<_>>();
    for process in &processes {
        outcome(process).unwrap();
        // All of its own is there with its result.
        let own = seen.lines().into_iter().filter(|line| line.process() == process.name());
        let numbers = own.map(|line| line.get("number").parse().unwrap()).collect::<Vec<u32>>();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>(), "{}", process.name());
    }
    assert_eq!(seen.lost(), 0);
}

#[mp::task]
fn log_long() {
    let long = "ä".repeat(200 << 10);
    tracing::info!(long = long.as_str(), after = 1, "long");
    tracing::info!("{long}");
    let _span = tracing::info_span!("span", long = long.as_str()).entered();
    tracing::info!(bytes = &[7u8; 100_000][..], "in a span");
}

fn long_values_are_cut_and_say_so(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    value(ctx.process::<log_long>(()));
    let lines = seen.lines();
    assert_eq!(lines.len(), 3, "lost {}", seen.lost());
    let is_cut = |text: &str| text.ends_with("ä… (cut)") && text.len() > 1000;
    // The message comes last in an event, and has no room then.
    assert!(is_cut(lines[0].get("long")) && lines[0].get("long").len() > 60_000);
    assert!(is_cut(lines[1].message()));
    assert!(is_cut(&lines[2].spans[0].1["long"].1));
    let bytes = lines[2].get("bytes").matches('7').count();
    assert!((50_000..65_000).contains(&bytes), "{bytes}");
}

#[mp::task]
fn rename() {
    tracing::info!("before");
    mp::set_current_name("renamed").unwrap();
    tracing::info!("after");
}

fn names_that_change_are_followed(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    value(ctx.process::<rename>(()).name("named"));
    let names = seen.lines().iter().map(|line| line.process().to_owned()).collect::<Vec<_>>();
    assert_eq!(names, ["named", "renamed"]);
}

#[mp::task]
fn log_in_threads() {
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let work = |name: usize| {
        for number in 0..100 {
            let _span = tracing::info_span!("thread", name).entered();
            tracing::info!(number, name);
        }
    };
    std::thread::scope(|scope| {
        for name in 0..4 {
            // A forked worker's threads begin with the program's own subscriber.
            let dispatch = dispatch.clone();
            scope.spawn(move || tracing::dispatcher::with_default(&dispatch, || work(name)));
        }
    });
}

fn threads_of_a_worker_log_too(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    mp::logging::set_rate_limit(0);
    value(ctx.process::<log_in_threads>(()));
    for name in ["0", "1", "2", "3"] {
        let own = seen.lines().into_iter().filter(|line| line.get("name") == name);
        let own = own.collect::<Vec<_>>();
        let numbers = own.iter().map(|line| line.get("number").parse::<u32>().unwrap());
        assert!(numbers.eq(0..100u32), "{name}, lost {}", seen.lost());
        assert!(own.iter().all(|line| line.spans[0].1["name"].1 == name));
    }
}

fn a_subscriber_may_log_while_it_gets_events(ctx: &mp::Context) {
    let seen = record(Level::TRACE);
    *seen.also.lock().unwrap() = Some(|| {
        // Nor does asking for what it is told about make anybody wait for himself.
        let _ = mp::active_children();
        if std::thread::current().name() == Some("mp-log") {
            tracing::error!("about an event");
        }
    });
    value(ctx.process::<count_up>((100,)));
    assert!(mpserverd_tests::eventually(PATIENCE, || mp::active_children().is_empty()));
    let messages = seen.lines().iter().filter(|line| !line.get("number").is_empty()).count();
    assert_eq!(messages, 100);
    assert!(!seen.messages().contains(&"about an event".to_owned()));
}

struct Chatty;

impl std::fmt::Debug for Chatty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        tracing::info!("from inside");
        f.write_str("Chatty")
    }
}

#[mp::task]
fn log_chatty() {
    tracing::info!(value = ?Chatty, "outside");
}

fn what_is_logged_by_the_debug_of_a_value_is_left_out(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    value(ctx.process::<log_chatty>(()));
    assert_eq!(seen.messages(), ["outside"]);
    assert_eq!(seen.lines()[0].get("value"), "Chatty");
}

/// A module's copy of `tracing` is its own, and so is its copy of this library.
#[mp::task]
fn host_a_module(method: crate::Method) {
    let seen = record(Level::INFO);
    let ctx = method.context().with_modules([artifacts().misbehave.to_str().unwrap()]);
    let json = [serde_json::json!("from a module")];
    let process = ctx.process_named("misbehave.log", &json).name("module's").start().unwrap();
    outcome(&process).unwrap();
    let lines = seen.lines();
    let [event] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((event.level, event.message()), (Level::WARN, "from a module"));
    assert_eq!((event.process(), event.get("length")), ("module's", "13"));
    assert_eq!(event.spans[0].1["copy"], ("bool", "true".to_owned()));
    let failing = ctx.process_named("misbehave.panic_with", &[serde_json::json!("ouch")]);
    assert!(outcome(&failing.stderr(mp::Stream::Null).start().unwrap()).is_err());
    let all = seen.all();
    let panics = all.iter().filter(|line| line.message() == "panicked: ouch").count();
    assert_eq!(panics, 1, "{all:?}");
}

#[test]
fn modules_log_in_spawned_and_in_forked_hosts() {
    for method in [mp::StartMethod::Spawn, mp::StartMethod::ForkServer] {
        crate::in_own_process(method, |spawn, method| spawn.process::<host_a_module>((method,)));
    }
}
