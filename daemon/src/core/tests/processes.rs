//! `ps` page by page, and a status that costs the same however many workers there are.

use super::*;
use mpserverd_proto::codec::encode;
use mpserverd_proto::limits::{FRAME_BYTES_MAX, PROCESS_ROWS_MAX};
use mpserverd_proto::report::{ProcessFilter, ProcessRow, ProcessesReport};
use std::time::Instant;

/// A core whose one template has so many workers.
fn with_workers(name: &str, count: u64) -> (Bench, TemplateId) {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn(name)]);
    let template = built(&actions)[0];
    bench.ready(template);
    let mut actions = Vec::new();
    for number in 1_000..1_000 + count {
        let (worker, pid) = (WorkerId(number), 100_000 + u32::try_from(number).unwrap_or(0));
        let event = Event::WorkerAdopted { template, worker, pid };
        bench.core.handle(Time(bench.now), event, &mut actions);
    }
    (bench, template)
}

fn page(
    bench: &mut Bench,
    after: Option<WorkerId>,
    limit: u32,
    filter: &ProcessFilter,
) -> ProcessesReport {
    let ask = Ask::Processes { after, limit, filter: filter.clone() };
    let (_, mut actions) = bench.ask(S, ask);
    match actions.pop() {
        Some(Action::Processes { report, filter: kept, .. }) if kept == *filter => report,
        other => panic!("{other:?}"),
    }
}

/// All pages.
fn all(bench: &mut Bench, limit: u32, filter: &ProcessFilter) -> (Vec<ProcessRow>, usize) {
    let (mut rows, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let report = page(bench, after, limit, filter);
        rows.extend(report.rows);
        pages += 1;
        match report.next {
            Some(next) => after = Some(next),
            None => return (rows, pages),
        }
    }
}

#[test]
fn ten_thousand_workers_are_listed_to_the_last() {
    let (mut bench, _) = with_workers("p", 10_000);
    let everybody = ProcessFilter { spares: true, ..ProcessFilter::default() };
    let (rows, pages) = all(&mut bench, u32::MAX, &everybody);
    assert_eq!((rows.len(), pages), (10_000, 10));
    assert!(rows.is_sorted_by(|a, b| a.worker < b.worker), "each once, by id");
    let (few, pages) = all(&mut bench, 7, &everybody);
    assert_eq!((few.len(), pages), (10_000, 1429));
    let report = page(&mut bench, None, 0, &everybody);
    assert_eq!((report.rows.len(), report.total), (1, 10_000), "a page of nothing ends nowhere");
}

#[test]
fn a_page_fits_a_frame_whatever_the_names() {
    let name = "n".repeat(4000);
    let (mut bench, _) = with_workers(&name, 3_000);
    let everybody = ProcessFilter { spares: true, ..ProcessFilter::default() };
    let mut report = page(&mut bench, None, u32::MAX, &everybody);
    assert!(report.rows.len() < PROCESS_ROWS_MAX as usize && report.next.is_some());
    for row in &mut report.rows {
        row.task = Some("t".repeat(mpserverd_proto::limits::NAME_BYTES_MAX));
        row.trace = Some(mpserverd_proto::trace::TraceId(1));
    }
    assert!(encode(&Reply::Processes(report)).expect("encodes").len() < FRAME_BYTES_MAX);
    assert_eq!(all(&mut bench, u32::MAX, &everybody).0.len(), 3_000);
}

#[test]
fn a_filter_that_admits_nobody_does_not_hold_the_loop_for_long() {
    let (mut bench, template) = with_workers("p", 20_000);
    let nobody = ProcessFilter { uid: Some(4711), ..ProcessFilter::default() };
    let report = page(&mut bench, None, u32::MAX, &nobody);
    assert!(report.rows.is_empty() && report.next.is_some(), "it goes on with the next question");
    assert_eq!(all(&mut bench, u32::MAX, &nobody), (Vec::new(), 3));
    let named = ProcessFilter { template: Some(template.to_string()), ..ProcessFilter::default() };
    assert_eq!(all(&mut bench, u32::MAX, &named).0.len(), 20_000);
}

#[test]
fn rows_tell_whose_they_are() {
    let (mut bench, pool, template) = Bench::serving(Settings::default());
    bench.core =
        std::mem::replace(&mut bench.core, Core::new(Time::default(), "", 0, "", 1)).with_uid(1234);
    bench.lease(S, pool);
    bench.now += ms(50);
    let workers = page(&mut bench, None, 99, &ProcessFilter::default());
    let [row] = workers.rows.as_slice() else { panic!("{workers:?}") };
    assert_eq!((row.client_pid, row.uid, row.spare), (Some(900), 1234, false));
    assert_eq!((row.template, row.age_ms), (template, 50));
    let of = |pid| ProcessFilter { client: Some(pid), ..ProcessFilter::default() };
    assert_eq!(page(&mut bench, None, 99, &of(900)).rows.len(), 1);
    assert_eq!(page(&mut bench, None, 99, &of(901)).rows.len(), 0);
}

#[test]
fn a_status_costs_the_same_however_many_workers() {
    let measure = |count: u64| {
        let (mut bench, _) = with_workers("p", count);
        let mut best = Duration::MAX;
        let mut report = None;
        for id in 1..=100 {
            let begun = Instant::now();
            let mut actions = Vec::new();
            let event = Event::Asked { session: S, id: RequestId(id), ask: Ask::Status };
            bench.core.handle(Time(bench.now), event, &mut actions);
            let Some(reply) = replies(&actions).pop() else { panic!("no reply") };
            let bytes = encode(&reply).expect("encodes").len();
            best = best.min(begun.elapsed());
            report = Some((reply, bytes));
        }
        let Some((Reply::Status(status), bytes)) = report else { panic!("no status") };
        assert_eq!((status.workers, u64::from(status.templates[0].workers)), (count, count));
        println!("status of {count} workers: {best:?}, {bytes} bytes");
        bytes
    };
    assert_eq!(measure(10), measure(10_000), "no byte more for ten thousand workers than for ten");
}
