//! Limits: who waits for whom, what is refused, and how a worker ends that goes beyond.

use super::*;
use mpserverd_proto::bounds::{Bound, Bounds};
use mpserverd_proto::death::{Cause, LimitKind};

const OTHER: SessionId = SessionId(2);

fn section(rules: &[(Bound, i64)]) -> Section {
    let rule = |&(bound, value): &(Bound, i64)| (bound, Rule { value, set_in: "there".into() });
    rules.iter().map(rule).collect()
}

fn host(rules: &[(Bound, i64)]) -> Settings {
    let limits = Limits { host: section(rules), ..Limits::default() };
    Settings { spares_min: 8, kill_after: ms(50), limits, ..Settings::default() }
}

fn asked_to_end(actions: &[Action]) -> Vec<i32> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::AskToEnd { signal, .. } => Some(*signal),
        _ => None,
    });
    asked.collect()
}

fn killed(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::KillTree { .. })).count()
}

fn measured(actions: &[Action]) -> Option<Measure> {
    actions.iter().find_map(|action| match action {
        Action::Measure { what, .. } => Some(*what),
        _ => None,
    })
}

/// A pool with spares, and one worker that is handed over.
fn one_worker(settings: Settings) -> (Bench, WorkerId) {
    let (mut bench, pool, _) = Bench::serving(settings);
    let (_, actions) = bench.lease(S, pool);
    (bench, granted(&actions)[0].1.worker)
}

#[test]
fn another_user_is_served_past_one_who_has_all_that_he_may() {
    let mut settings = host(&[]);
    settings.limits.uids.insert(Some(1000), section(&[(Bound::Workers, 1)]));
    let (mut bench, pool, _) = Bench::serving(settings);
    bench.tell(Event::SessionOpened { session: OTHER, peer: Peer { pid: 1, uid: 7, gid: 7 } });
    bench.ask(OTHER, Ask::Open(warn("p")));
    let (_, actions) = bench.lease(S, pool);
    let first = granted(&actions)[0].1.worker;
    let (waits, actions) = bench.ask(S, Ask::Lease { pool, wait: ms(40), task: None, trace: None });
    assert!(granted(&actions).is_empty());
    let (_, actions) = bench.lease(OTHER, pool);
    assert_eq!(granted(&actions)[0].0, OTHER);
    let (id, refusal) = refused(&bench.wait(ms(41))).remove(0);
    assert_eq!(id, waits);
    let want = "the limit `workers = 1`, set in there, is reached; waited 40 ms";
    assert_eq!(refusal.to_string(), want);
    bench.lease(S, pool);
    assert_eq!(granted(&bench.end(first)).len(), 1, "its turn has come");
}

#[test]
fn a_rate_lets_a_second_through_at_once_and_then_one_by_one() {
    let (mut bench, pool, _) = Bench::serving(host(&[(Bound::Starts, 2)]));
    let at_once: usize = (0..3).map(|_| granted(&bench.lease(S, pool).1).len()).sum();
    assert_eq!(at_once, 2);
    assert!(granted(&bench.wait(ms(499))).is_empty());
    assert_eq!(granted(&bench.wait(ms(2))).len(), 1);
    bench.wait(ms(5000));
    let later: usize = (0..3).map(|_| granted(&bench.lease(S, pool).1).len()).sum();
    assert_eq!(later, 2, "no more than a second's worth is saved up");
}

#[test]
fn a_queue_that_is_full_says_so() {
    let (mut bench, pool, _) = Bench::serving(host(&[(Bound::Workers, 1), (Bound::Queue, 1)]));
    bench.lease(S, pool);
    bench.lease(S, pool);
    let (_, actions) = bench.lease(S, pool);
    let refusal = refused(&actions).remove(0).1;
    assert!(matches!(refusal, Refusal::LimitReached { limit, .. } if limit == "queue"));
}

#[test]
fn a_client_may_tighten_only() {
    let (mut bench, pool, _) = Bench::serving(host(&[(Bound::WallTime, 500)]));
    let lease = |bench: &mut Bench, value| {
        let mut bounds = Bounds::default();
        bounds.set(Bound::WallTime, value);
        let wait = ms(10);
        bench.ask(S, Ask::LeaseWith { pool, wait, bounds, task: None, trace: None }).1
    };
    let refusal = refused(&lease(&mut bench, 501)).remove(0).1;
    assert!(matches!(refusal, Refusal::LimitLoosened { limit, .. } if limit == "wall_time"));
    assert_eq!(granted(&lease(&mut bench, 100)).len(), 1);
    assert!(asked_to_end(&bench.wait(ms(99))).is_empty());
    assert_eq!(asked_to_end(&bench.wait(ms(2))), [15]);
}

#[test]
fn who_is_out_of_time_is_asked_then_killed_with_all_its_descendants() {
    let (mut bench, worker) = one_worker(host(&[(Bound::WallTime, 100)]));
    assert_eq!(asked_to_end(&bench.wait(ms(100))), [15]);
    assert_eq!(killed(&bench.wait(ms(49))), 0);
    assert_eq!(killed(&bench.wait(ms(2))), 1);
    assert_eq!(killed(&bench.wait(ms(300))), 2, "again, while it is still there");
    let actions = bench.end_with(worker, -9);
    let all = Action::Unlimit { worker, kill: true };
    assert!(actions.contains(&all), "{actions:?}");
    let deaths = bench.core.deaths_by_cause().collect::<Vec<_>>();
    assert_eq!(deaths, [(Cause::Limit(LimitKind::WallTime).key(), 1)]);
}

#[test]
fn time_on_the_cpu_is_looked_at_as_late_as_possible() {
    let (mut bench, worker) = one_worker(host(&[(Bound::CpuTime, 100)]));
    assert_eq!(measured(&bench.wait(ms(99))), None, "one CPU cannot have used it up");
    let looks = measured(&bench.wait(ms(2))).expect("now it may");
    assert_eq!(looks, Measure { memory_above: None, tasks: false });
    let used = |cpu| Some(Sample { cpu: ms(cpu), ..Sample::default() });
    bench.tell(Event::Measured { worker, sample: used(40) });
    assert_eq!(measured(&bench.wait(ms(59))), None);
    assert!(measured(&bench.wait(ms(2))).is_some());
    let actions = bench.tell(Event::Measured { worker, sample: used(100) });
    assert_eq!(asked_to_end(&actions), [24]);
    assert_eq!(killed(&bench.wait(ms(51))), 1);
}

#[test]
fn memory_is_sampled_where_the_kernel_does_not_hold_it() {
    let (mut bench, worker) = one_worker(host(&[(Bound::Memory, 1 << 20)]));
    let looks = measured(&bench.wait(ms(101))).expect("sampled");
    assert_eq!(looks.memory_above, Some(1 << 20));
    assert_eq!(measured(&bench.wait(ms(500))), None, "one at a time");
    let sample = |private| Some(Sample { private, took: ms(20), ..Sample::default() });
    bench.tell(Event::Measured { worker, sample: sample(Some(1 << 20)) });
    assert_eq!(measured(&bench.wait(ms(399))), None, "a twentieth of the time at most");
    assert!(measured(&bench.wait(ms(2))).is_some());
    let actions = bench.tell(Event::Measured { worker, sample: sample(Some((1 << 20) + 1)) });
    assert_eq!((killed(&actions), asked_to_end(&actions).len()), (1, 0), "nobody is asked");
}

#[test]
fn what_the_kernel_holds_is_told_to_it_when_a_spare_is_born() {
    let core = Core::new(Time::default(), "1", 7, "/s", 100);
    let held = Held { groups: true, memory: true, pids: true, cpu: true, cpus: 2 };
    let core = core.with_uid(1000).with_held(held);
    let mut bench = Bench { core, now: Duration::ZERO, last_request: 0, last_pid: 0 };
    let settings = host(&[(Bound::Memory, 1 << 20), (Bound::Fds, 64)]);
    let preload = vec![warn("p")];
    let actions = bench.tell(Event::Configured { origin: None, settings, preload });
    bench.connect(S);
    let birth = actions.iter().find_map(|action| match action {
        Action::Build { birth, .. } => Some(*birth),
        _ => None,
    });
    assert_eq!(birth.and_then(|birth| birth.fds), Some(64));
    let actions = bench.ready(built(&actions)[0]);
    let limited = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::Limit { .. })).count()
    };
    assert_eq!(limited(&bench.come_up(&actions)), 8);
    let pool = bench.open(warn("p"));
    let (_, actions) = bench.lease(S, pool);
    assert_eq!((granted(&actions).len(), limited(&actions)), (1, 0), "it was limited before");
    let worker = granted(&actions)[0].1.worker;
    assert_eq!(measured(&bench.wait(ms(1000))), None);
    bench.tell(Event::NotHeld { worker });
    assert!(measured(&bench.wait(ms(101))).is_some(), "then it is measured");
}
