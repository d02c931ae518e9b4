//! Reloads: all or nothing.

use super::*;

const ASKED: RequestId = RequestId(7000);

fn reload(bench: &mut Bench, preload: Vec<PoolSpec>) -> Vec<Action> {
    let settings = Settings { workers_max: 77, ..Settings::default() };
    let origin = Some((S, ASKED));
    bench.tell(Event::Configured { origin, settings, preload })
}

fn reason(actions: &[Action]) -> String {
    match &refused(actions)[..] {
        [(ASKED, Refusal::ReloadFailed(text))] => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_templates_are_built_beside_the_old_then_all_switch() {
    let (mut bench, pool, old) = Bench::serving(Settings::default());
    let actions = reload(&mut bench, vec![warn("p"), warn("new")]);
    let templates = built(&actions);
    assert_eq!(templates.len(), 2);
    assert_eq!(forks(&bench.ready_with_spares(templates[0])), 2);
    let (_, actions) = bench.lease(S, pool);
    let grant = granted(&actions)[0].1;
    assert_eq!((grant.template, grant.generation), (old, 1), "the old one serves meanwhile");
    let actions = bench.ready(templates[1]);
    assert_eq!(forked(&actions), [(templates[1], forked(&actions)[0].1, 2)], "only spares miss");
    let actions = bench.come_up(&actions);
    assert!(actions.contains(&Action::Retire { template: old }));
    assert_eq!(released(&actions).len(), 1);
    let Some(Reply::Reloaded(reloaded)) = replies(&actions).pop() else { panic!() };
    assert_eq!(reloaded.generation, 2);
    assert_eq!(reloaded.templates, ["p", "new"]);
    assert_eq!(bench.core.settings.workers_max, 77);
    assert!(forked(&actions).is_empty(), "the spares are there before the switch");
    let grant = granted(&bench.lease(S, pool).1)[0].1;
    assert_eq!((grant.template, grant.generation), (templates[0], 2));
    assert!(grant.spare_hit, "nobody waits for a fork because of a reload");
}

#[test]
fn as_many_spares_are_forked_before_the_switch_as_the_demand_wants() {
    let settings = Settings { spares_max: 16, ..Settings::default() };
    let (mut bench, pool, _) = Bench::serving(settings.clone());
    for _ in 0..3 {
        // A shortage doubles what is aimed at, once a round.
        let actions: Vec<_> = (0..20).flat_map(|_| bench.lease(S, pool).1).collect();
        bench.come_up(&actions);
    }
    let target = bench.core.pools[&pool].marks.target();
    assert!(target > 2, "{target}");
    let actions =
        bench.tell(Event::Configured { origin: None, settings, preload: vec![warn("p")] });
    let new = built(&actions)[0];
    assert_eq!(u32::from(forks(&bench.ready(new))), target);
}

#[test]
fn without_spares_there_is_nothing_to_wait_for() {
    let none = Settings { spares_min: 0, spares_max: 0, ..Settings::default() };
    let (mut bench, _, old) = Bench::serving(Settings::default());
    let origin = Some((S, ASKED));
    let preload = vec![warn("p")];
    let actions = bench.tell(Event::Configured { origin, settings: none, preload });
    let actions = bench.ready(built(&actions)[0]);
    assert!(actions.contains(&Action::Retire { template: old }));
}

#[test]
fn a_template_that_cannot_fork_is_not_switched_to() {
    let (mut bench, pool, old) = Bench::serving(Settings::default());
    let template = built(&reload(&mut bench, vec![warn("p")]))[0];
    assert_eq!(forks(&bench.ready(template)), 2);
    let message = "Resource temporarily unavailable".to_owned();
    let actions = bench.tell(Event::ForkFailed { template, missing: 2, message });
    assert!(reason(&actions).contains("cannot fork: Resource temporarily"), "{actions:?}");
    assert!(actions.contains(&Action::StopTemplate { template }));
    let grant = granted(&bench.lease(S, pool).1)[0].1;
    assert_eq!((grant.template, grant.generation, grant.spare_hit), (old, 1, true));
}

#[test]
fn a_template_that_forks_some_of_its_spares_will_do() {
    let (mut bench, _, old) = Bench::serving(Settings::default());
    let template = built(&reload(&mut bench, vec![warn("p")]))[0];
    let (_, first, _) = forked(&bench.ready(template))[0];
    assert!(bench.tell(Event::Spares { template, spares: vec![(first, 500)] }).is_empty());
    let message = String::new();
    let actions = bench.tell(Event::ForkFailed { template, missing: 1, message });
    assert!(actions.contains(&Action::Retire { template: old }));
}

#[test]
fn a_template_that_does_not_answer_a_request_to_fork_is_not_switched_to() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let template = built(&reload(&mut bench, vec![warn("p")]))[0];
    bench.ready(template);
    let actions = bench.wait(Settings::default().handshake_timeout);
    assert!(reason(&actions).contains("no answer to a request to fork"), "{actions:?}");
    assert!(actions.contains(&Action::KillTemplate { template }));
}

#[test]
fn new_templates_have_the_time_that_the_new_configuration_gives_them() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let settings = Settings { preload_timeout: ms(300_000), ..Settings::default() };
    let (origin, preload) = (Some((S, ASKED)), vec![warn("p")]);
    let actions = bench.tell(Event::Configured { origin, settings, preload });
    let template = built(&actions)[0];
    bench.tell(Event::TemplateHello { template });
    assert!(bench.wait(ms(299_000)).is_empty(), "longer than before");
    assert!(reason(&bench.wait(ms(1_000))).contains("did not finish within 300000 ms"));
}

#[test]
fn a_template_whose_spares_end_by_themselves_is_not_switched_to() {
    let (mut bench, pool, old) = Bench::serving(Settings::default());
    let templates = built(&reload(&mut bench, vec![warn("p"), warn("new")]));
    let actions = bench.ready(templates[0]);
    let (_, spare, _) = forked(&actions)[0];
    bench.come_up(&actions);
    let actions = bench.end_with(spare, -11);
    assert!(
        reason(&actions).contains("p: a spare of its new template ended unused, with code -11")
    );
    assert!(actions.contains(&Action::StopTemplate { template: templates[1] }));
    assert_eq!(granted(&bench.lease(S, pool).1)[0].1.template, old);
}

#[test]
fn a_pool_that_begins_to_serve_meanwhile_joins() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let new = built(&reload(&mut bench, vec![warn("p")]))[0];
    let (_, actions) = bench.ask(S, Ask::Open(warn("late")));
    let late = built(&actions)[0];
    bench.ready_with_spares(late);
    let actions = bench.ready_with_spares(new);
    let renewed = built(&actions)[0];
    assert!(replies(&actions).is_empty(), "it waits for the one that came late");
    let actions = bench.ready_with_spares(renewed);
    assert!(actions.contains(&Action::Retire { template: late }));
    assert!(matches!(replies(&actions)[..], [Reply::Reloaded(_)]));
    assert!(bench.core.templates.values().all(|t| t.is_leaving() || t.generation == 2));
}

#[test]
fn a_template_that_still_loads_at_the_switch_begins_again() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let new = built(&reload(&mut bench, vec![warn("p")]))[0];
    let (_, actions) = bench.ask(S, Ask::Open(warn("late")));
    let late = built(&actions)[0];
    let pool = bench.core.keys[&PoolKey(b"late".to_vec())];
    let (request, _) = bench.lease(S, pool);
    let actions = bench.ready_with_spares(new);
    assert!(actions.contains(&Action::StopTemplate { template: late }));
    let again = built(&actions)[0];
    assert_eq!(bench.core.templates[&again].generation, 2);
    let actions = bench.ready_with_spares(again);
    let Some(Action::Grant { id, grant, .. }) =
        actions.iter().find(|action| matches!(action, Action::Grant { .. }))
    else {
        panic!("{actions:?}")
    };
    assert_eq!((*id, grant.template), (request, again), "who waited goes on waiting");
}

#[test]
fn a_lease_of_the_old_generation_stays_good() {
    let (mut bench, pool, old) = Bench::serving(Settings::default());
    let grant = granted(&bench.lease(S, pool).1)[0].1;
    let new = built(&reload(&mut bench, vec![warn("p")]))[0];
    bench.ready_with_spares(new);
    assert!(bench.core.workers.contains_key(&grant.worker));
    let status = bench.core.status_report(sight::Sight::All);
    let row = status.templates.iter().find(|row| row.template == old).expect("it is shown");
    assert_eq!((row.generation, row.workers, row.spares), (1, 1, 0));
    assert_eq!(row.state, mpserverd_proto::report::TemplateState::Retiring);
    assert!(signals(&bench.end(grant.worker)).is_empty());
}

#[test]
fn a_question_that_is_refused_lets_the_next_reload_begin() {
    let none = Settings { spares_min: 0, spares_max: 0, ..Settings::default() };
    let (mut bench, pool, _) = Bench::serving(none);
    let (waiting, _) = bench.lease(S, pool);
    let (settings, preload) = (Settings::default(), Vec::new());
    let origin = Some((S, waiting));
    let actions = bench.tell(Event::Configured { origin, settings, preload });
    assert!(actions.contains(&Action::ReloadEnded { switched: false }), "{actions:?}");
    assert!(matches!(refused(&actions)[..], [(_, Refusal::BadRequest(_))]));
}

#[test]
fn a_failure_leaves_all_as_it_was() {
    let (mut bench, pool, old) = Bench::serving(Settings::default());
    let strict = spec("new", &["gamma"], OnPreloadError::Fail);
    let actions = reload(&mut bench, vec![warn("p"), strict]);
    let templates = built(&actions);
    bench.ready(templates[0]);
    let actions = bench.fail(templates[1], "gamma");
    assert!(actions.contains(&Action::StopTemplate { template: templates[0] }));
    assert_eq!(reason(&actions), "gamma: its hook failed: no (at: init)");
    assert_eq!(bench.core.pools.len(), 1, "the new one is forgotten");
    assert_eq!((bench.core.generation, bench.core.settings.workers_max), (1, 4096));
    let grant = granted(&bench.lease(S, pool).1)[0].1;
    assert_eq!((grant.template, grant.generation), (old, 1));
}

#[test]
fn a_reload_must_not_lose_a_module_that_serves() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let actions = reload(&mut bench, vec![warn("p")]);
    let actions = bench.fail(built(&actions)[0], "beta");
    assert!(reason(&actions).contains("beta"));
}

#[test]
fn a_new_module_may_be_left_out_as_the_policy_allows() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    let wider = spec("wider", &["alpha", "gamma"], OnPreloadError::Warn);
    let actions = reload(&mut bench, vec![wider]);
    let actions = bench.fail(built(&actions)[0], "gamma");
    assert_eq!(without(&actions), ["gamma"]);
    let actions = bench.ready_with_spares(built(&actions)[0]);
    let Some(Reply::Reloaded(reloaded)) = replies(&actions).pop() else { panic!() };
    assert_eq!(reloaded.warnings, ["gamma: its hook failed: no (at: init)"]);
}

#[test]
fn one_reload_at_a_time() {
    let (mut bench, _, _) = Bench::serving(Settings::default());
    reload(&mut bench, vec![warn("p")]);
    let (settings, preload) = (Settings::default(), Vec::new());
    let origin = Some((S, RequestId(7001)));
    let actions = bench.tell(Event::Configured { origin, settings, preload });
    let want = Refusal::ReloadFailed("a reload is already in progress".into());
    assert_eq!(refused(&actions), [(RequestId(7001), want)]);
}

#[test]
fn what_is_preloaded_no_more_becomes_on_demand() {
    let (mut bench, pool, _) = Bench::serving(Settings::default());
    let actions = reload(&mut bench, Vec::new());
    assert!(matches!(replies(&actions)[..], [Reply::Reloaded(_)]), "nothing to wait for");
    assert!(!bench.core.pools[&pool].preloaded);
    assert_eq!(bench.core.next_deadline(), Some(Time(ms(600_000))), "until it is idle");
}

#[test]
fn a_template_that_loads_is_replaced() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let old = built(&actions)[0];
    let new = built(&reload(&mut bench, vec![warn("p")]))[0];
    let actions = bench.ready_with_spares(new);
    assert!(actions.contains(&Action::StopTemplate { template: old }));
    assert!(actions.contains(&Action::Settled { failed: Vec::new() }));
}

#[test]
fn on_demand_templates_that_serve_are_renewed_too() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let (_, actions) = bench.ask(S, Ask::Open(warn("q")));
    let old = built(&actions)[0];
    bench.ready(old);
    let new = built(&reload(&mut bench, Vec::new()))[0];
    let actions = bench.ready_with_spares(new);
    assert!(actions.contains(&Action::Retire { template: old }));
}
