//! Going down.

use super::*;
use mpserverd_proto::client::StopPolicy;

fn stop(bench: &mut Bench, policy: StopPolicy) -> Vec<Action> {
    let origin = Some((S, RequestId(8000)));
    bench.tell(Event::StopAsked { origin, policy, grace: ms(1000) })
}

/// A core with one worker out, and the end of its spares reported.
fn with_worker() -> (Bench, PoolId, TemplateId, WorkerId) {
    let settings = Settings { spares_min: 1, ..Settings::default() };
    let (mut bench, pool, template) = Bench::serving(settings);
    let worker = granted(&bench.lease(S, pool).1)[0].1.worker;
    (bench, pool, template, worker)
}

#[test]
fn a_stop_waits_for_workers_then_for_templates() {
    let (mut bench, pool, template, worker) = with_worker();
    let actions = stop(&mut bench, StopPolicy::Wait);
    assert!(actions.contains(&Action::StopListening));
    assert!(actions.contains(&Action::Retire { template }));
    assert_eq!(replies(&actions), [Reply::Done]);
    let (_, actions) = bench.lease(S, pool);
    assert!(matches!(refused(&actions)[..], [(_, Refusal::ShuttingDown)]));
    assert_eq!(bench.end(worker), [Action::StopTemplate { template }]);
    let actions = bench.tell(Event::TemplateGone { template, code: Some(0) });
    assert_eq!(actions, [Action::Finished]);
    assert!(bench.core.is_drained());
    assert_eq!(bench.core.next_deadline(), None);
}

#[test]
fn who_does_not_end_is_asked_then_killed_then_given_up() {
    let (mut bench, _, template, _) = with_worker();
    let actions = stop(&mut bench, StopPolicy::Wait);
    assert!(signals(&actions).is_empty());
    assert!(signals(&bench.wait(ms(999))).is_empty());
    assert_eq!(signals(&bench.wait(ms(1))), [15]);
    assert_eq!(signals(&bench.wait(ms(2000))), [9]);
    let actions = bench.wait(ms(5000));
    assert_eq!(actions, [Action::StopTemplate { template }]);
    assert_eq!(bench.wait(ms(2000)), [Action::KillTemplate { template }]);
    assert_eq!(bench.wait(ms(5000)), [Action::Finished]);
}

#[test]
fn policies_differ_in_when_they_signal() {
    let (mut bench, ..) = with_worker();
    assert_eq!(signals(&stop(&mut bench, StopPolicy::Term)), [15]);
    assert_eq!(signals(&bench.wait(ms(1000))), [9]);
    let (mut bench, ..) = with_worker();
    assert_eq!(signals(&stop(&mut bench, StopPolicy::Kill)), [9]);
}

#[test]
fn a_second_stop_kills() {
    let (mut bench, ..) = with_worker();
    stop(&mut bench, StopPolicy::Wait);
    let actions = stop(&mut bench, StopPolicy::Wait);
    assert_eq!(signals(&actions), [9]);
    assert_eq!(replies(&actions), [Reply::Done]);
}

#[test]
fn requests_that_wait_are_refused_and_what_loads_is_stopped() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let template = built(&actions)[0];
    let pool = bench.open(warn("p"));
    let (first, _) = bench.lease(S, pool);
    let (second, _) = bench.ask(S, Ask::PoolModules { pool, wait: ms(100) });
    let actions = stop(&mut bench, StopPolicy::Wait);
    let shutting = |id| (id, Refusal::ShuttingDown);
    assert_eq!(refused(&actions), [shutting(first), shutting(second)]);
    assert!(actions.contains(&Action::StopTemplate { template }));
    assert_eq!(bench.wait(ms(2000)), [Action::KillTemplate { template }]);
}

#[test]
fn a_pending_reload_ends_with_the_stop() {
    let (mut bench, ..) = with_worker();
    let origin = Some((S, RequestId(7000)));
    let (settings, preload) = (Settings::default(), vec![warn("p")]);
    let actions = bench.tell(Event::Configured { origin, settings: Box::new(settings), preload });
    let candidate = built(&actions)[0];
    let actions = stop(&mut bench, StopPolicy::Wait);
    assert!(actions.contains(&Action::StopTemplate { template: candidate }));
    assert_eq!(refused(&actions), [(RequestId(7000), Refusal::ShuttingDown)]);
}

#[test]
fn an_empty_daemon_finishes_at_once() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let actions = stop(&mut bench, StopPolicy::Wait);
    assert_eq!(actions.last(), Some(&Action::Finished));
}

#[test]
fn a_released_spare_that_does_not_end_is_killed() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let actions = stop(&mut bench, StopPolicy::Wait);
    assert_eq!(released(&actions).len(), 2);
    assert!(signals(&bench.wait(ms(1999))).is_empty());
    assert_eq!(signals(&bench.wait(ms(1)))[..2], [9, 9]);
}
