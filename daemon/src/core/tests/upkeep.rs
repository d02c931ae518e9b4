//! What is told of reloads, upgrades, earlier generations and limits, and what a change of the
//! confinement does to leases.

use super::*;
use mpserverd_proto::bounds::Bound;
use mpserverd_proto::death::LastWords;
use mpserverd_proto::explain::Subject;
use mpserverd_proto::job::{AHEAD, END_IF_IDLE};
use mpserverd_proto::quota::Holder;
use mpserverd_proto::report::StatusReport;
use mpserverd_proto::upkeep::GenerationRow;

fn status_of(bench: &mut Bench, session: SessionId) -> StatusReport {
    let (_, actions) = bench.ask(session, Ask::Status);
    match replies(&actions).pop() {
        Some(Reply::Status(report)) => *report,
        other => panic!("{other:?}"),
    }
}

fn status(bench: &mut Bench) -> StatusReport {
    status_of(bench, S)
}

/// All sentences about whoever has this pid.
fn told(bench: &mut Bench, pid: u32) -> String {
    let (_, actions) = bench.ask(S, Ask::Explain(Subject::Pid(pid)));
    match replies(&actions).pop() {
        Some(Reply::Explained(all)) => {
            let sentences = all.findings.into_iter().flat_map(|finding| finding.sentences);
            sentences.collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    }
}

/// A reload that the client of the tests asks for; gives the new template.
fn reload(bench: &mut Bench, settings: Settings) -> TemplateId {
    let (origin, settings) = (Some((S, RequestId(7000))), Box::new(settings));
    let settings = Box::new(Settings { operators: vec![1000], ..*settings });
    let preload = vec![warn("p")];
    built(&bench.tell(Event::Configured { origin, settings, preload }))[0]
}

#[test]
fn a_reload_is_told_while_it_runs_and_when_it_has_failed() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    assert_eq!(status(&mut bench).reload, Default::default());
    let new = reload(&mut bench, Settings::default());
    bench.now += ms(2000);
    assert_eq!(status(&mut bench).reload.running_ms, Some(2000));
    let missing = "The new template `p` is not ready yet.";
    let text = told(&mut bench, 7);
    let want = "A reload has been under way for 2s; the old templates serve meanwhile.";
    assert!(text.contains(&format!("{want} {missing}")), "{text}");
    let text = told(&mut bench, 900);
    assert!(text.contains("waits for the end of a reload"), "{text}");
    assert!(text.contains(missing), "{text}");
    bench.fail(new, "alpha");
    bench.now += ms(61_000);
    let after = status(&mut bench).reload;
    let last = after.last.expect("it is over");
    assert_eq!((after.running_ms, last.ago_ms, last.took_ms), (None, 61_000, 2000));
    assert!(last.error.as_ref().is_some_and(|why| why.contains("alpha")), "{last:?}");
    let text = told(&mut bench, 7);
    assert!(text.contains("The last reload failed 1m 1s ago, and everything is"), "{text}");
    bench.tell(Event::ReloadRefused { why: "line 3: no such key".into() });
    let text = told(&mut bench, 7);
    assert!(text.contains("as it was: line 3: no such key."), "{text}");
    assert_eq!(bench.core.snapshot().reloads, (0, 2));
    // What a configuration has in it is not everybody's business.
    let peer = Peer { pid: 5, uid: 4, gid: 4 };
    bench.tell(Event::SessionOpened { session: SessionId(9), peer });
    let seen = status_of(&mut bench, SessionId(9)).reload.last.and_then(|last| last.error);
    assert_eq!(seen.as_deref(), Some("operators are told why"));
}

#[test]
fn a_reload_that_cannot_begin_does_not_hide_one_that_runs() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let new = reload(&mut bench, Settings::default());
    bench.tell(Event::ReloadRefused { why: "one is in progress".into() });
    assert_eq!(status(&mut bench).reload.last, None);
    bench.ready_with_spares(new);
    assert_eq!(status(&mut bench).reload.last.map(|last| last.error), Some(None));
}

#[test]
fn an_upgrade_is_told_to_who_asked_and_to_who_asks() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    bench.tell(Event::UpgradeBegan { origin: Some((S, RequestId(8))) });
    bench.now += ms(3000);
    assert_eq!(status(&mut bench).upgrade.running_ms, Some(3000));
    assert!(told(&mut bench, 7).contains("An upgrade has been under way for 3s"));
    assert!(told(&mut bench, 900).contains("It waits for the end of an upgrade, for 3s so far."));
    bench.tell(Event::UpgradeEnded { pause: ms(4), error: None });
    let last = status(&mut bench).upgrade.last.expect("done");
    assert_eq!((last.took_ms, last.pause_us, last.error), (3000, Some(4000), None));
    let text = told(&mut bench, 7);
    assert!(text.contains("it took 3s, and nobody listened for 4ms."), "{text}");
    assert!(!told(&mut bench, 900).contains("upgrade"));
    bench.tell(Event::UpgradeBegan { origin: None });
    bench.tell(Event::UpgradeEnded { pause: ms(0), error: Some("exit code 1".repeat(500)) });
    let last = status(&mut bench).upgrade.last.expect("over");
    assert!(last.pause_us.is_none() && last.error.is_some_and(|why| why.len() == 1024));
    let snapshot = bench.core.snapshot();
    assert_eq!(snapshot.upgrades, (1, 1));
    assert!(snapshot.last_upgrade.is_some_and(|last| last.error.is_some()));
}

#[test]
fn earlier_generations_are_told_as_long_as_something_is_left() {
    let (mut bench, pool, old) = Bench::serving(Settings::default());
    let worker = granted(&bench.lease(S, pool).1)[0].1.worker;
    let new = reload(&mut bench, Settings::default());
    let actions = bench.ready_with_spares(new);
    released(&actions).into_iter().for_each(|spare| drop(bench.end(spare)));
    let left = GenerationRow { generation: 1, templates: 1, workers: 1 };
    assert_eq!(status(&mut bench).generations, [left]);
    let text = told(&mut bench, 7);
    assert!(text.contains("Of generation 1 there are still 1 worker and 1 template."), "{text}");
    bench.tell(Event::TemplateGone { template: old, code: Some(-9) });
    let orphan = GenerationRow { templates: 0, ..left };
    assert_eq!(status(&mut bench).generations, [orphan]);
    bench.end(worker);
    assert_eq!(status(&mut bench).generations, []);
}

#[test]
fn leases_without_a_job_do_not_outlive_their_confinement() {
    let (mut bench, pool, template) = Bench::serving(Settings::default());
    let workers: Vec<_> = (0..2).map(|_| granted(&bench.lease(S, pool).1)[0].1.worker).collect();
    let actions = bench.tell(Event::TemplateOutdated { template });
    assert_eq!(signals(&actions), [END_IF_IDLE; 2], "and no spare: those the reload lets go");
    // One waited for its job, the other has it and is deaf to the signal.
    bench.end_with(workers[0], -END_IF_IDLE);
    bench.end_with(workers[1], 3);
    assert_eq!(bench.core.snapshot().deaths, [("itself", 1)], "the first has died of nothing");
    assert_eq!(signals(&bench.tell(Event::TemplateOutdated { template })), [0; 0]);
}

#[test]
fn a_lease_without_a_job_does_not_keep_the_template_of_before_a_reload() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let idle = granted(&bench.lease(S, pool).1)[0].1.worker;
    let new = reload(&mut bench, Settings::default());
    let actions = bench.ready_with_spares(new);
    assert_eq!(signals(&actions), [0; 0], "it is as good as any");
    released(&actions).into_iter().for_each(|spare| drop(bench.end(spare)));
    assert_eq!(signals(&bench.wait(AHEAD)), [0; 0]);
    assert_eq!(signals(&bench.wait(AHEAD)), [END_IF_IDLE]);
    let (usage, reporter) = (Usage::default(), Reporter::Template);
    let last = Some(LastWords::default());
    let record = ExitRecord { code: 0, core: false, usage, reporter, out_of_cpu: false };
    bench.tell(Event::WorkerEnded { worker: idle, record, last, stderr: Vec::new() });
    assert_eq!(bench.core.snapshot().deaths, []);
}

fn limited() -> Settings {
    let rule = |value| Rule { value, set_in: "there".into() };
    let mut limits = Limits {
        host: [(Bound::Workers, rule(9)), (Bound::Queue, rule(2))].into(),
        ..Limits::default()
    };
    limits.host.insert(Bound::Memory, rule(1 << 30));
    limits.uids.insert(Some(1000), [(Bound::Workers, rule(1)), (Bound::Starts, rule(4))].into());
    limits.modules.insert(Some("alpha".into()), [(Bound::Fds, rule(64))].into());
    Settings { spares_min: 8, limits, ..Settings::default() }
}

#[test]
fn what_is_used_of_limits_and_who_holds_them() {
    let (mut bench, pool, _) = Bench::serving(limited());
    bench.lease(S, pool);
    bench.lease(S, pool);
    let report = status(&mut bench);
    let rows = report.quotas.iter().map(|row| {
        assert_eq!(row.set_in, "there");
        (row.limit.as_str(), row.scope.as_str(), row.used, row.max)
    });
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [
            ("workers", "uid 1000", 1, 1),
            ("queue", "host", 1, 2),
            ("starts_per_second", "uid 1000", 1, 4),
            ("workers", "host", 1, 9),
        ],
        "the most used first"
    );
    let held = |limit| report.held.iter().find(|row| row.limit == limit).expect("a row");
    assert_eq!((held("memory").by, held("memory").configured), (Holder::Sampling, true));
    assert_eq!((held("fds").by, held("fds").configured), (Holder::Rlimit, true));
    assert_eq!((held("cpu_quota").by, held("cpu_quota").configured), (Holder::Nobody, false));
    // Another user sees the host's, and none of this one's.
    let peer = Peer { pid: 5, uid: 4, gid: 4 };
    bench.tell(Event::SessionOpened { session: SessionId(9), peer });
    let seen = status_of(&mut bench, SessionId(9)).quotas;
    assert!(seen.iter().all(|row| row.scope == "host") && seen.len() == 2, "{seen:?}");
    bench.now += ms(250);
    let rows = status(&mut bench).quotas;
    let starts = rows.iter().find(|row| row.limit == "starts_per_second");
    assert_eq!(starts.map(|row| row.used), Some(0), "time gives them back");
}
