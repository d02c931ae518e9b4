//! `explain`: every reason to wait is told for what it is.

use super::*;
use mpserverd_proto::bounds::Bound;
use mpserverd_proto::explain::{Explanation, Facts, Finding, Subject, WaitReason, WaitingRow};

fn explain(bench: &mut Bench, subject: Subject) -> Result<Explanation, Refusal> {
    let (_, actions) = bench.ask(S, Ask::Explain(subject));
    match replies(&actions).pop() {
        Some(Reply::Explained(explanation)) => Ok(explanation),
        Some(Reply::Refused(refusal)) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

/// The only finding, with all its sentences in one.
fn finding(bench: &mut Bench, subject: Subject) -> (Facts, String) {
    let explanation = explain(bench, subject).expect("known");
    let [Finding { sentences, facts }] = explanation.findings.as_slice() else {
        panic!("{explanation:?}")
    };
    (facts.clone(), sentences.join(" "))
}

/// What the client of the tests waits for.
fn waiting(bench: &mut Bench) -> (Vec<WaitingRow>, String) {
    match finding(bench, Subject::Pid(900)) {
        (Facts::Client { requests, .. }, text) => (requests, text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_template_that_loads() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let template = built(&actions)[0];
    let pool = bench.open(warn("p"));
    bench.tell(Event::TemplateHello { template });
    let (module, stage) = ("alpha".to_owned(), Stage::Init);
    bench.tell(Event::TemplateLoading { template, module, stage });
    let (id, _) = bench.lease(S, pool);
    bench.now += ms(2000);
    let (rows, text) = waiting(&mut bench);
    let reason = WaitReason::TemplateLoads {
        template,
        module: Some("alpha".into()),
        stage: Some(Stage::Init),
        since_ms: 2000,
    };
    assert_eq!((rows[0].request, &rows[0].reason), (id, &reason));
    assert_eq!(
        (rows[0].waited_ms, rows[0].left_ms, rows[0].ahead),
        (Some(2000), Some(3000), Some(0))
    );
    assert_eq!(
        text,
        format!(
            "Pid 900 is a client, of uid 1000; it has 0 workers and waits for the answers to 1 \
             request. Request {id} waits for a worker of `p`, for 2s so far; it gives up in 3s. \
             The template ({template}) is not ready: it has loaded for 2s, and works on `alpha` \
             (init). It is the next in turn."
        )
    );
    let (_, text) = finding(&mut bench, Subject::Template(template));
    assert!(text.contains("is being built, for 2s so far"), "{text}");
    assert!(text.contains("It works on `alpha` just now (stage: init)."), "{text}");
}

#[test]
fn a_template_that_failed() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let template = built(&actions)[0];
    bench.fail(template, "p");
    let (facts, text) = finding(&mut bench, Subject::Template(template));
    assert!(matches!(facts, Facts::Template(row) if row.error.is_some()));
    assert!(text.contains("was the template `p`, and failed: ") && text.contains("hook"), "{text}");
    assert!(text.contains("It is not built again for another "), "{text}");
}

#[test]
fn a_pause_that_is_short_enough_to_wait_for() {
    let settings = Settings { backoff_min: ms(500), ..Settings::default() };
    let (mut bench, pool, template) = Bench::serving(settings);
    bench.tell(Event::TemplateGone { template, code: Some(-11) });
    bench.lease(S, pool);
    let (rows, text) = waiting(&mut bench);
    let WaitReason::BackOff { retry_ms, error } = &rows[0].reason else { panic!("{rows:?}") };
    assert!(*retry_ms <= 500 && error.contains("signal 11"), "{rows:?}");
    assert!(text.contains("is built again in 500ms"), "{text}");
}

#[test]
fn the_limit_of_workers_and_the_turn() {
    let settings = Settings { workers_max: 1, ..Settings::default() };
    let (mut bench, pool, _) = Bench::serving(settings);
    bench.lease(S, pool);
    for _ in 0..3 {
        bench.lease(S, pool);
    }
    let (rows, text) = waiting(&mut bench);
    assert!(rows.iter().all(|row| row.reason == WaitReason::WorkersMax { limit: 1 }), "{rows:?}");
    let ahead: Vec<_> = rows.iter().map(|row| row.ahead).collect();
    assert_eq!(ahead, [Some(0), Some(1), Some(2)]);
    assert!(text.contains("it has 1 worker and waits for the answers to 3 requests"), "{text}");
    assert!(text.contains("1 workers run, which is the limit (`max_workers`)"), "{text}");
    assert!(text.contains("2 requests are served before it."), "{text}");
}

/// Limits of the host, of a user or of a module.
fn limits(scope: &str, rules: &[(Bound, i64)]) -> Settings {
    let rule = |&(bound, value): &(Bound, i64)| (bound, Rule { value, set_in: "there".into() });
    let section: Section = rules.iter().map(rule).collect();
    let mut limits = Limits::default();
    match scope {
        "host" => limits.host = section,
        "uid" => drop(limits.uids.insert(Some(1000), section)),
        module => drop(limits.modules.insert(Some(module.to_owned()), section)),
    }
    Settings { spares_min: 8, limits, ..Settings::default() }
}

#[test]
fn limits_of_the_host_a_user_and_a_module() {
    for (scope, of) in [("host", "host"), ("uid", "uid 1000"), ("alpha", "module alpha")] {
        let (mut bench, pool, _) = Bench::serving(limits(scope, &[(Bound::Workers, 2)]));
        (0..3).for_each(|_| drop(bench.lease(S, pool)));
        let (rows, text) = waiting(&mut bench);
        let reason = WaitReason::Limit {
            limit: "workers".into(),
            scope: of.into(),
            max: 2,
            set_in: "there".into(),
            retry_ms: None,
        };
        assert_eq!((rows.len(), &rows[0].reason), (1, &reason));
        let of = if of == "host" { "the host" } else { of };
        let want = format!(
            "The limit `workers = 2` of {of}, set in there, is reached: one of its workers must \
             end first. It is the next in turn."
        );
        assert!(text.contains(&want), "{text}");
    }
}

#[test]
fn a_rate_of_starts_and_a_queue_that_is_full() {
    let rules = [(Bound::Starts, 2), (Bound::Queue, 1)];
    let (mut bench, pool, _) = Bench::serving(limits("uid", &rules));
    (0..3).for_each(|_| drop(bench.lease(S, pool)));
    bench.now += ms(100);
    let (rows, text) = waiting(&mut bench);
    let WaitReason::Limit { limit, retry_ms, .. } = &rows[0].reason else { panic!("{rows:?}") };
    assert_eq!((limit.as_str(), *retry_ms), ("starts_per_second", Some(400)));
    let want = "The limit `starts_per_second = 2` of uid 1000, set in there, is reached: the next \
                one may start in 400ms.";
    assert!(text.contains(want), "{text}");
    let want = "1 request of uid 1000 waits, which is the limit (`queue = 1`, set in there)";
    assert!(text.contains(want), "{text}");
}

#[test]
fn forks_under_way_and_forks_that_fail() {
    let settings = Settings { spares_min: 0, ..Settings::default() };
    let (mut bench, pool, template) = Bench::serving(settings);
    bench.lease(S, pool);
    let (rows, text) = waiting(&mut bench);
    assert_eq!(rows[0].reason, WaitReason::Forking { in_flight: 1 });
    assert!(text.contains("No spare is left; 1 is being forked."), "{text}");
    let message = "no memory".to_owned();
    bench.tell(Event::ForkFailed { template, missing: 1, message });
    bench.lease(S, pool);
    let (rows, text) = waiting(&mut bench);
    assert!(matches!(rows[0].reason, WaitReason::ForkFails { .. }), "{rows:?}");
    assert!(text.contains("could not fork, and tries again in"), "{text}");
}

#[test]
fn spares_and_workers() {
    let (mut bench, pool, template) = Bench::serving(Settings::default());
    let (_, actions) = bench.lease(S, pool);
    let worker = granted(&actions)[0].1.worker;
    bench.now += ms(125_000);
    let (facts, text) = finding(&mut bench, Subject::Worker(worker));
    let Facts::Worker(row) = facts else { panic!("{facts:?}") };
    assert!(text.contains("The client with pid 900 has had it for 2m 5s."), "{text}");
    assert!(text.starts_with(&format!(
        "{worker} (pid {}) is a worker of the template `p` ({template}, generation 1), and runs as",
        row.pid
    )));
    assert_eq!(finding(&mut bench, Subject::Pid(row.pid)).0, Facts::Worker(row));
    let (_, text) = finding(&mut bench, Subject::Template(template));
    assert!(text.contains("Of 2 spares that it aims at, 1 is there; 1 worker of it run"), "{text}");
    bench.tell(Event::TemplateGone { template, code: Some(0) });
    let (_, text) = finding(&mut bench, Subject::Worker(worker));
    assert!(text.contains("Its template forks no more workers"), "{text}");
}

#[test]
fn one_pid_may_be_several() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let (_, actions) = bench.lease(S, pool);
    let pid = granted(&actions)[0].1.pid;
    // A worker that starts workers.
    let peer = Peer { pid, uid: 1000, gid: 1000 };
    bench.tell(Event::SessionOpened { session: SessionId(2), peer });
    let findings = explain(&mut bench, Subject::Pid(pid)).expect("known").findings;
    assert!(matches!(
        findings.iter().map(|f| &f.facts).collect::<Vec<_>>()[..],
        [Facts::Worker(_), Facts::Client { .. }]
    ));
    assert_eq!(finding(&mut bench, Subject::Pid(7)).0, Facts::Daemon);
}

#[test]
fn the_dead_are_explained_by_their_certificates() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let (_, actions) = bench.lease(S, pool);
    let (_, grant) = granted(&actions)[0];
    bench.now += ms(61_000);
    bench.end(grant.worker);
    for subject in [Subject::Worker(grant.worker), Subject::Pid(grant.pid)] {
        let (facts, text) = finding(&mut bench, subject);
        assert!(matches!(facts, Facts::Death(it) if it.worker == grant.worker));
        assert!(
            text.contains("It ended with exit code 0 after 1m 1s. It did so itself."),
            "{text}"
        );
        assert!(text.contains("The client with pid 900 had it."), "{text}");
    }
}

#[test]
fn nobody_is_told_to_be_nobody() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    for (subject, name) in [
        (Subject::Pid(999_999), "pid 999999"),
        (Subject::Worker(WorkerId(5)), "w5"),
        (Subject::Template(TemplateId(9)), "t9"),
    ] {
        assert_eq!(explain(&mut bench, subject), Err(Refusal::NothingKnown(name.into())));
    }
}

#[test]
fn a_client_with_thousands_of_requests_is_told_in_short() {
    let settings = Settings { workers_max: 1, ..Settings::default() };
    let (mut bench, pool, _) = Bench::serving(settings);
    for _ in 0..2001 {
        bench.lease(S, pool);
    }
    let (rows, text) = waiting(&mut bench);
    assert_eq!(rows.len(), mpserverd_proto::limits::EXPLAINED_MAX);
    assert!(text.ends_with("1984 requests more like these."), "{text}");
}
