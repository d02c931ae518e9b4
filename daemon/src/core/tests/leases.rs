//! Requests and spares.

use super::*;
use mpserverd_proto::client::WorkerRef;
use mpserverd_proto::limits::QUEUE_PER_SESSION_MAX;

#[test]
fn a_spare_that_waits_is_a_hit_and_is_replaced_off_the_path() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let (_, actions) = bench.lease(S, pool);
    let grants = granted(&actions);
    assert!(grants[0].1.spare_hit);
    assert_eq!(grants[0].1.generation, 1);
    assert_eq!(forks(&actions), 0, "a refill never runs ahead of the job");
    assert_eq!(bench.core.next_deadline(), Some(Time(ms(1))));
    assert_eq!(forks(&bench.wait(ms(1))), 1);
}

#[test]
fn who_finds_no_spare_gets_the_next_one_and_the_target_grows() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    bench.lease(S, pool);
    bench.lease(S, pool);
    let (_, actions) = bench.lease(S, pool);
    assert!(granted(&actions).is_empty());
    assert_eq!(forks(&actions), 1, "only what is missing");
    let actions = bench.come_up(&actions);
    assert!(!granted(&actions)[0].1.spare_hit);
    assert_eq!(forks(&actions), 4, "spares are exhausted: refill to the doubled target");
}

#[test]
fn sessions_take_turns() {
    let settings = Settings { spares_min: 0, ..Settings::default() };
    let (mut bench, pool, _) = Bench::serving(settings);
    let other = SessionId(2);
    bench.connect(other);
    bench.ask(other, Ask::Open(warn("p")));
    let mut actions = Vec::new();
    for _ in 0..3 {
        actions.extend(bench.lease(S, pool).1);
    }
    actions.extend(bench.lease(other, pool).1);
    let mut order = Vec::new();
    while !actions.is_empty() {
        actions = bench.come_up(&actions);
        order.extend(granted(&actions).iter().map(|(session, _)| *session));
    }
    assert_eq!(order, [S, other, S, S]);
}

#[test]
fn a_request_gives_up_at_its_deadline() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let pool = bench.open(warn("q"));
    let (id, _) = bench.ask(S, Ask::Lease { pool, wait: ms(30), task: None, trace: None });
    assert!(refused(&bench.wait(ms(29))).is_empty());
    assert_eq!(refused(&bench.wait(ms(1))), [(id, Refusal::Deadline { waited_ms: 30 })]);
}

#[test]
fn what_is_taken_back_is_answered_and_not_served() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let pool = bench.open(warn("p"));
    let (id, _) = bench.lease(S, pool);
    let (_, answers) = bench.ask(S, Ask::Cancel(id));
    assert_eq!(replies(&answers), [Reply::Refused(Refusal::Cancelled), Reply::Done]);
    let (_, answers) = bench.ask(S, Ask::Cancel(id));
    assert_eq!(replies(&answers), [Reply::Done], "it waits no more");
    let actions = bench.ready(built(&actions)[0]);
    assert!(granted(&bench.come_up(&actions)).is_empty());
}

#[test]
fn a_closed_session_leaves_nothing_behind() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let pool = bench.open(warn("q"));
    for _ in 0..10 {
        bench.lease(S, pool);
    }
    let actions = bench.tell(Event::SessionClosed { session: S });
    assert!(replies(&actions).is_empty());
    assert_eq!(bench.core.totals.waiting, 0);
}

#[test]
fn the_queue_of_a_session_is_bounded() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let pool = bench.open(warn("q"));
    let mut actions = Vec::new();
    for id in 0..=QUEUE_PER_SESSION_MAX as u64 {
        let ask = Ask::Lease { pool, wait: ms(9000), task: None, trace: None };
        let event = Event::Asked { session: S, id: RequestId(1000 + id), ask };
        bench.core.handle(Time(bench.now), event, &mut actions);
    }
    let limit = QUEUE_PER_SESSION_MAX as u64;
    let want = (RequestId(1000 + limit), Refusal::QueueFull { waiting: limit, limit });
    assert_eq!(refused(&actions), [want]);
    bench.core.audit().expect("the book is right");
}

#[test]
fn the_number_of_workers_is_bounded() {
    let settings = Settings { workers_max: 1, ..Settings::default() };
    let (mut bench, pool, _) = Bench::serving(settings);
    let (_, actions) = bench.lease(S, pool);
    let first = granted(&actions)[0].1.worker;
    let (_, actions) = bench.lease(S, pool);
    assert!(granted(&actions).is_empty() && forks(&actions) == 0);
    assert_eq!(granted(&bench.end(first)).len(), 1);
}

#[test]
fn only_who_opened_a_pool_may_lease() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let stranger = SessionId(9);
    bench.connect(stranger);
    let (id, actions) = bench.lease(stranger, pool);
    assert_eq!(refused(&actions), [(id, Refusal::UnknownPool)]);
    let (id, actions) = bench.lease(S, PoolId(77));
    assert_eq!(refused(&actions), [(id, Refusal::UnknownPool)]);
}

#[test]
fn a_failed_fork_is_told_and_tried_again_later() {
    let settings = Settings { spares_min: 0, ..Settings::default() };
    let (mut bench, pool, template) = Bench::serving(settings);
    let (id, actions) = bench.lease(S, pool);
    assert_eq!(forks(&actions), 1);
    let message = String::from("EAGAIN");
    let actions = bench.tell(Event::ForkFailed { template, missing: 1, message });
    let [(who, Refusal::ForkFailed { hint, .. })] = &refused(&actions)[..] else { panic!() };
    assert_eq!(*who, id);
    assert!(hint.contains("pids.max"));
    let (_, actions) = bench.lease(S, pool);
    assert_eq!(forks(&actions), 0, "no storm");
    assert_eq!(forks(&bench.wait(ms(100))), 2, "the request and the target that grew");
}

#[test]
fn without_shortage_spares_decay_until_nothing_is_left_to_do() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let mut workers = Vec::new();
    let mut actions = Vec::new();
    for _ in 0..8 {
        actions.extend(bench.lease(S, pool).1);
    }
    while !actions.is_empty() {
        workers.extend(granted(&actions).iter().map(|(_, grant)| grant.worker));
        actions = bench.come_up(&actions);
    }
    for worker in workers {
        bench.end(worker);
    }
    let actions = bench.wait(ms(1));
    bench.come_up(&actions);
    assert!(bench.core.pools[&pool].marks.target() > 2);
    let mut gone = 0;
    for _ in 0..10 {
        let actions = bench.wait(ms(5000));
        assert_eq!(forks(&actions), 0);
        gone += released(&actions).len();
        released(&actions).into_iter().for_each(|spare| drop(bench.end(spare)));
    }
    assert!(gone > 0);
    assert_eq!(bench.core.workers.len(), 2);
    assert_eq!(bench.core.next_deadline(), None, "an idle daemon does not wake up");
}

#[test]
fn a_template_whose_spares_die_is_given_up() {
    let settings = Settings { spares_min: 1, ..Settings::default() };
    let (mut bench, pool, template) = Bench::serving(settings);
    let mut actions = Vec::new();
    for _ in 0..5 {
        let spare = *bench.core.workers.keys().next().expect("a spare");
        actions = bench.end_with(spare, -11);
        let forked = bench.wait(ms(2));
        bench.come_up(&forked);
    }
    assert!(actions.contains(&Action::Retire { template }));
    assert!(bench.core.pools[&pool].failure.is_some());
    assert_eq!(built(&bench.wait(ms(100))).len(), 1, "after the back-off");
}

#[test]
fn a_spare_that_nobody_asked_for_is_released() {
    let (mut bench, _, template) = Bench::serving(Settings::default());
    let spare = WorkerId(bench.core.next.worker - 100);
    let actions = bench.tell(Event::Spares { template, spares: vec![(spare, 77)] });
    assert_eq!(released(&actions), [spare]);
}

#[test]
fn a_template_that_does_not_answer_a_fork_is_killed() {
    let (mut bench, pool, template) = Bench::serving(Settings::default());
    bench.lease(S, pool);
    let actions = bench.wait(ms(10_100));
    assert!(actions.contains(&Action::KillTemplate { template }));
}

#[test]
fn signals_go_to_workers_only() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let grant = granted(&bench.lease(S, pool).1)[0].1;
    let kill = |worker, signal| Ask::Kill { worker, signal };
    let (_, actions) = bench.ask(S, kill(WorkerRef::Pid(grant.pid), 15));
    assert_eq!(signals(&actions), [15]);
    assert_eq!(replies(&actions), [Reply::Done]);
    let (_, actions) = bench.ask(S, kill(WorkerRef::Id(grant.worker), 65));
    assert!(matches!(refused(&actions)[..], [(_, Refusal::BadRequest(_))]));
    let (_, actions) = bench.ask(S, kill(WorkerRef::Pid(9999), 9));
    assert!(matches!(refused(&actions)[..], [(_, Refusal::NoSuchWorker(_))]));
}
