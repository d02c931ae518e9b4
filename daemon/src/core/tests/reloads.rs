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
    assert!(bench.ready(templates[0]).is_empty());
    let (_, actions) = bench.lease(S, pool);
    let grant = granted(&actions)[0].1;
    assert_eq!((grant.template, grant.generation), (old, 1), "the old one serves meanwhile");
    let actions = bench.ready(templates[1]);
    assert!(actions.contains(&Action::Retire { template: old }));
    assert_eq!(released(&actions).len(), 1);
    let Some(Reply::Reloaded(reloaded)) = replies(&actions).pop() else { panic!() };
    assert_eq!(reloaded.generation, 2);
    assert_eq!(reloaded.templates, ["p", "new"]);
    assert_eq!(bench.core.settings.workers_max, 77);
    bench.come_up(&actions);
    let grant = granted(&bench.lease(S, pool).1)[0].1;
    assert_eq!((grant.template, grant.generation), (templates[0], 2));
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
    let actions = bench.ready(built(&actions)[0]);
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
    let actions = bench.ready(new);
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
    let actions = bench.ready(new);
    assert!(actions.contains(&Action::Retire { template: old }));
}
