//! Reports: right, bounded, and cheap.

use super::*;
use crate::core::queue::visits;
use mpserverd_proto::codec::encode;
use mpserverd_proto::limits::FRAME_BYTES_MAX;
use mpserverd_proto::report::{StatusReport, TemplateState};

fn status(bench: &mut Bench) -> StatusReport {
    let (_, actions) = bench.ask(S, Ask::Status);
    match replies(&actions).pop() {
        Some(Reply::Status(report)) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn status_counts_without_walking_the_queue() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let pool = bench.open(warn("q"));
    let mut actions = Vec::new();
    for id in 10_000..20_000 {
        let ask = Ask::Lease { pool, wait: ms(9000), task: None, trace: None };
        let event = Event::Asked { session: S, id: RequestId(id), ask };
        bench.core.handle(Time(bench.now), event, &mut actions);
    }
    let before = visits::count();
    let id = RequestId(1);
    let event = Event::Asked { session: S, id, ask: Ask::Status };
    bench.core.handle(Time(bench.now), event, &mut actions);
    assert_eq!(visits::count(), before, "the queue was walked");
    let Some(Reply::Status(report)) = replies(&actions).pop() else { panic!() };
    assert_eq!((report.queued, report.templates[0].queued), (10_000, 10_000));
    let event = Event::Asked { session: S, id, ask: Ask::Cancel(RequestId(15_000)) };
    bench.core.handle(Time(bench.now), event, &mut actions);
    assert_eq!(visits::count(), before + 1, "one request, one visit");
    bench.tell(Event::SessionClosed { session: S });
    assert_eq!(visits::count(), before + 10_000, "each of the others once");
}

#[test]
fn status_tells_what_there_is() {
    let (mut bench, pool, template) = Bench::serving(Settings::default());
    bench.tell(Event::TemplateStarted { template, pid: 55 });
    let memory = Memory { rss_kib: 9, ..Memory::default() };
    bench.tell(Event::TemplateMemory { template, memory });
    bench.lease(S, pool);
    bench.now += ms(70);
    let report = status(&mut bench);
    assert_eq!((report.uptime_ms, report.workers, report.starts), (70, 1, 1));
    let row = &report.templates[0];
    assert_eq!((row.state, row.pid, row.memory), (TemplateState::Ready, Some(55), memory));
    assert_eq!((row.spares, row.spares_wanted, row.workers, row.spare_hits), (1, 2, 1, 1));
}

#[test]
fn a_failed_pool_shows_why() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    bench.fail(built(&actions)[0], "p");
    let report = status(&mut bench);
    assert_eq!(report.templates[0].state, TemplateState::Failed);
    assert!(report.templates[0].error.as_ref().is_some_and(|text| text.contains("hook")));
    let (_, actions) = bench.ask(S, Ask::Modules);
    let Some(Reply::Modules(report)) = replies(&actions).pop() else { panic!() };
    assert_eq!(report.templates[0].modules[0].error, Some(broken("p")));
}

#[test]
fn modules_are_cut_to_a_frame_tasks_first() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let template = built(&actions)[0];
    let task = mpserverd_proto::report::TaskInfo {
        name: "t".repeat(100),
        signature: "s".repeat(100),
        doc: "d".repeat(10_000),
        schema: 1,
    };
    let modules = (0..100).map(|_| ModuleReport { tasks: vec![task.clone(); 10], ..module("m") });
    bench.tell(Event::TemplateHello { template });
    let (modules, memory) = (modules.collect(), Memory::default());
    bench.tell(Event::TemplateReady { template, modules, memory });
    let (_, actions) = bench.ask(S, Ask::Modules);
    let Some(reply) = replies(&actions).pop() else { panic!() };
    assert!(encode(&reply).expect("encodes").len() < FRAME_BYTES_MAX);
    let Reply::Modules(report) = reply else { panic!() };
    let modules = &report.templates[0].modules;
    assert_eq!(modules.len(), 100);
    assert!(!modules[0].tasks.is_empty() && modules[99].tasks.is_empty());
}
