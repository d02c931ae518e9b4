//! Early refusals and penalties, as clients meet them.

use super::*;
use mpserverd_proto::explain::Subject;
use mpserverd_proto::report::PenaltyRow;

const OTHER: SessionId = SessionId(2);
const ROOT: SessionId = SessionId(3);

/// Nobody is refused but as these say.
fn rules(admission: Admission) -> Settings {
    Settings { admission, spares_min: 0, spares_max: 1, workers_max: 1, ..Settings::default() }
}

fn connect_as(bench: &mut Bench, session: SessionId, uid: u32) {
    bench.tell(Event::SessionOpened { session, peer: Peer { pid: 901, uid, gid: uid } });
    bench.last_request += 1;
    let id = RequestId(bench.last_request);
    bench.tell(Event::Asked { session, id, ask: Ask::Open(warn("p")) });
}

fn misbehave(bench: &mut Bench, uid: u32, times: usize) {
    for _ in 0..times {
        bench.tell(Event::Misbehaved { uid, why: "nonsense".to_owned() });
    }
}

fn told_of_penalties(bench: &mut Bench, session: SessionId) -> Vec<PenaltyRow> {
    let (_, actions) = bench.ask(session, Ask::Status);
    let [Reply::Status(status)] = &replies(&actions)[..] else { panic!("{actions:?}") };
    status.penalties.clone()
}

fn told_of_client(bench: &mut Bench, pid: u32) -> String {
    let (_, actions) = bench.ask(S, Ask::Explain(Subject::Pid(pid)));
    let [Reply::Explained(told)] = &replies(&actions)[..] else { panic!("{actions:?}") };
    told.findings[0].sentences.join("\n")
}

#[test]
fn past_the_first_mark_some_are_refused_and_past_the_second_all() {
    let rule = EarlyRefusal { begin: 20, rate: 30, full: 60 };
    let admission = Admission { early_refusal: Some(rule), ..Admission::usual() };
    let (mut bench, pool, _) = Bench::serving(rules(admission));
    let mut waiting = 0;
    let mut refused_before_full = 0;
    for _ in 0..400 {
        match &refused(&bench.lease(S, pool).1)[..] {
            [] => waiting += 1,
            [(_, Refusal::TooBusy { uid: 1000, waiting: told, retry_after_ms })] => {
                assert_eq!(*told, waiting);
                assert!((20..60).contains(&waiting) || waiting == 60, "{waiting}");
                assert!((1..5000).contains(retry_after_ms));
                refused_before_full += u64::from(waiting < 60);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waiting, 60);
    assert!(refused_before_full > 0);
    let told = told_of_client(&mut bench, 900);
    assert!(
        told.contains("With 60 requests of its user waiting, ") && told.contains("100% of further"),
        "{told}"
    );
    // Another user is not concerned, and a request that need not wait is none of this.
    connect_as(&mut bench, OTHER, 1001);
    assert!(refused(&bench.lease(OTHER, pool).1).is_empty());
    // Who waits no more makes room.
    bench.tell(Event::SessionClosed { session: S });
    bench.connect(S);
    bench.open(warn("p"));
    assert!(refused(&bench.lease(S, pool).1).is_empty());
}

#[test]
fn the_same_seed_refuses_the_same() {
    let rule = EarlyRefusal { begin: 0, rate: 50, full: 1000 };
    let of = |seed| {
        let admission = Admission { early_refusal: Some(rule), ..Admission::usual() };
        let (mut bench, pool, _) = Bench::serving(rules(admission));
        bench.core.users.seed(seed);
        (0..64).map(|_| refused(&bench.lease(S, pool).1).len()).collect::<Vec<_>>()
    };
    assert_eq!(of(3), of(3));
    assert_ne!(of(3), of(4));
}

#[test]
fn misbehaviour_bites_after_a_while_and_passes() {
    let (mut bench, pool, _) = Bench::serving(rules(Admission::usual()));
    connect_as(&mut bench, OTHER, 1001);
    misbehave(&mut bench, 1000, 2);
    assert!(refused(&bench.lease(S, pool).1).is_empty(), "the first two are only noted");
    misbehave(&mut bench, 1000, 1);
    let (_, actions) = bench.lease(S, pool);
    let want = Refusal::Penalised { uid: 1000, why: "nonsense".to_owned(), retry_after_ms: 4000 };
    assert_eq!(refused(&actions)[0].1, want);
    let (_, actions) = bench.ask(S, Ask::Open(warn("q")));
    assert!(matches!(refused(&actions)[0].1, Refusal::Penalised { .. }));
    assert!(actions.iter().any(|action| matches!(action, Action::ForgetPool { .. })));
    assert!(refused(&bench.lease(OTHER, pool).1).is_empty(), "it is another user");
    let (_, actions) = bench.ask(S, Ask::Status);
    let [Reply::Status(status)] = &replies(&actions)[..] else { panic!("{actions:?}") };
    // Everybody sees himself, operators see all.
    assert!(told_of_penalties(&mut bench, OTHER).is_empty());
    bench.tell(Event::SessionOpened { session: ROOT, peer: Peer { pid: 902, uid: 0, gid: 0 } });
    assert_eq!(told_of_penalties(&mut bench, ROOT), status.penalties);
    let row = &status.penalties[0];
    assert_eq!((row.uid, row.times, row.penalty_ms, row.left_ms), (1000, 3, 4000, 4000));
    let told = told_of_client(&mut bench, 900);
    assert!(told.contains("refused for another 4s (`[admission]`): nonsense."), "{told}");
    bench.wait(ms(3999));
    assert!(!refused(&bench.lease(S, pool).1).is_empty());
    bench.wait(ms(1));
    assert!(refused(&bench.lease(S, pool).1).is_empty());
    assert!(!told_of_client(&mut bench, 900).contains("refused"));
    // Forgotten after three times a minute of good conduct.
    bench.wait(Duration::from_secs(181));
    assert_eq!(told_of_penalties(&mut bench, S), []);
}

#[test]
fn templates_that_fail_again_and_again_count() {
    let settings =
        Settings { backoff_min: ms(10), backoff_max: ms(10), ..rules(Admission::usual()) };
    let (mut bench, _) = Bench::new(settings, Vec::new());
    let fail = spec("fails", &[], OnPreloadError::Fail);
    let mut actions = bench.ask(S, Ask::Open(fail.clone())).1;
    for round in 0..3 {
        let template = built(&actions)[0];
        bench.fail(template, "fails");
        bench.wait(ms(20));
        let (_, next) = bench.ask(S, Ask::Open(fail.clone()));
        assert_eq!(refused(&next).is_empty(), round < 2, "round {round}: {next:?}");
        actions = next;
    }
    let Refusal::Penalised { why, .. } = &refused(&actions)[0].1 else { panic!("{actions:?}") };
    assert!(why.contains("template of its requests failed"), "{why}");
}

#[test]
fn the_exempt_and_the_free_are_left_alone() {
    let exempt = Admission { exempt: [1000].into(), ..Admission::usual() };
    let none = Admission::default();
    for mut admission in [exempt, none] {
        let rule = EarlyRefusal { begin: 0, rate: 100, full: 1 };
        admission.early_refusal = (!admission.exempt.is_empty()).then_some(rule);
        let (mut bench, pool, _) = Bench::serving(rules(admission));
        misbehave(&mut bench, 1000, 20);
        for _ in 0..9 {
            assert!(refused(&bench.lease(S, pool).1).is_empty());
        }
    }
}

#[test]
fn no_penalty_wakes_the_daemon() {
    let (mut bench, ..) = Bench::serving(rules(Admission::usual()));
    bench.wait(Duration::from_secs(60));
    let before = bench.core.next_deadline();
    misbehave(&mut bench, 1000, 20);
    assert_eq!(bench.core.next_deadline(), before);
}
