//! Building, failing, back-off and idleness.

use super::*;
use crate::core::workers::Owner;
use mpserverd_proto::template::Lessee;

fn failures(actions: &[Action]) -> Vec<Option<u64>> {
    let delays = refused(actions).into_iter().filter_map(|(_, refusal)| match refusal {
        Refusal::TemplateFailed { retry_after_ms, .. } => Some(retry_after_ms),
        _ => None,
    });
    delays.collect()
}

fn cause(bench: &Bench, pool: PoolId) -> PreloadError {
    bench.core.pools[&pool].failure.as_ref().expect("failed").error.clone()
}

#[test]
fn the_service_is_settled_once_when_all_have_their_verdict() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p"), warn("q")]);
    let templates = built(&actions);
    let settled = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::Settled { .. })).count()
    };
    assert_eq!(settled(&bench.ready(templates[0])), 0);
    let again = bench.fail(templates[1], "alpha");
    assert_eq!(without(&again), ["alpha"]);
    let actions = bench.ready(built(&again)[0]);
    assert!(actions.contains(&Action::Settled { failed: vec![broken("alpha")] }));
    let (_, actions) = Bench::new(Settings::default(), Vec::new());
    assert_eq!(settled(&actions), 1, "nothing to wait for");
}

#[test]
fn a_preload_that_must_not_fail_stops_the_start() {
    let strict = spec("p", &["alpha"], OnPreloadError::Fail);
    let (mut bench, actions) = Bench::new(Settings::default(), vec![strict]);
    let actions = bench.fail(built(&actions)[0], "alpha");
    assert!(actions.contains(&Action::StartFailed { error: broken("alpha") }));
    assert!(built(&actions).is_empty());
}

#[test]
fn each_module_is_left_out_at_most_once() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let actions = bench.fail(built(&actions)[0], "alpha");
    let actions = bench.fail(built(&actions)[0], "beta");
    assert_eq!(without(&actions), ["alpha", "beta"]);
    let actions = bench.fail(built(&actions)[0], "beta");
    assert!(built(&actions).is_empty());
}

#[test]
fn what_was_left_out_shows_in_the_modules() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let (_, actions) = bench.ask(S, Ask::Open(warn("q")));
    let Reply::Opened(pool) = replies(&actions)[0] else { panic!() };
    let actions = bench.fail(built(&actions)[0], "gamma");
    assert!(built(&actions).is_empty(), "not one of its modules");
    bench.wait(ms(200));
    let (id, actions) = bench.ask(S, Ask::PoolModules { pool, wait: ms(9000) });
    let actions = bench.fail(built(&actions)[0], "beta");
    let template = built(&actions)[0];
    bench.tell(Event::TemplateHello { template });
    let modules = vec![module("alpha")];
    let ready = Event::TemplateReady { template, modules, memory: Memory::default() };
    let actions = bench.tell(ready);
    let answer = actions.iter().find_map(|action| match action {
        Action::Reply { id: to, reply: Reply::Modules(report), .. } if *to == id => Some(report),
        _ => None,
    });
    let modules = &answer.expect("the modules").templates[0].modules;
    assert_eq!(modules[0], module("alpha"));
    assert_eq!(modules[1].error, Some(broken("beta")));
}

#[test]
fn back_off_doubles_and_an_on_demand_pool_waits_for_demand() {
    let (mut bench, _) = Bench::new(Settings::default(), Vec::new());
    let (_, actions) = bench.ask(S, Ask::Open(warn("q")));
    let Reply::Opened(pool) = replies(&actions)[0] else { panic!() };
    let (_, leased) = bench.lease(S, pool);
    assert!(leased.is_empty());
    assert_eq!(failures(&bench.fail(built(&actions)[0], "q")), [Some(100)]);
    bench.wait(ms(40));
    assert_eq!(failures(&bench.lease(S, pool).1), [Some(60)], "at once, with what remains");
    assert!(built(&bench.wait(ms(1000))).is_empty(), "nobody asks");
    for delay in [200, 400, 800] {
        let (_, actions) = bench.lease(S, pool);
        assert_eq!(failures(&bench.fail(built(&actions)[0], "q")), [Some(delay)]);
        bench.wait(ms(delay));
    }
}

#[test]
fn a_preloaded_pool_is_tried_again_by_itself() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    bench.fail(built(&actions)[0], "p");
    assert!(built(&bench.wait(ms(99))).is_empty());
    assert_eq!(built(&bench.wait(ms(1))).len(), 1);
}

#[test]
fn a_template_that_lived_long_is_replaced_at_once() {
    let (mut bench, pool, template) = Bench::serving(Settings::default());
    bench.wait(ms(20_000));
    for _ in 0..3 {
        bench.lease(S, pool);
    }
    let actions = bench.tell(Event::TemplateGone { template, code: Some(-9) });
    assert_eq!(built(&actions).len(), 1);
    assert!(refused(&actions).is_empty(), "who waits goes on waiting");
    let actions = bench.ready(built(&actions)[0]);
    assert_eq!(granted(&bench.come_up(&actions)).len(), 1);
}

#[test]
fn a_template_that_died_young_is_replaced_after_a_delay_that_requests_wait_for() {
    let settings = Settings { spares_min: 0, ..Settings::default() };
    let (mut bench, pool, template) = Bench::serving(settings);
    bench.lease(S, pool);
    let actions = bench.tell(Event::TemplateGone { template, code: Some(1) });
    assert!(built(&actions).is_empty() && refused(&actions).is_empty());
    assert_eq!(cause(&bench, pool).fault, Fault::Exited(1));
    let (_, actions) = bench.lease(S, pool);
    assert!(refused(&actions).is_empty());
    let actions = bench.wait(ms(100));
    let actions = bench.ready(built(&actions)[0]);
    assert_eq!(granted(&bench.come_up(&actions)).len(), 2);
}

#[test]
fn a_program_that_never_says_hello_is_killed() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let template = built(&actions)[0];
    let actions = bench.wait(ms(10_000));
    assert!(actions.contains(&Action::KillTemplate { template }));
    let pool = bench.open(warn("p"));
    let error = cause(&bench, pool);
    assert_eq!((error.stage, error.fault), (Stage::Handshake, Fault::NoFreezeSupport));
}

#[test]
fn a_module_that_loads_for_ever_is_blamed_and_left_out() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let template = built(&actions)[0];
    bench.tell(Event::TemplateHello { template });
    let (module, stage) = (String::from("beta"), Stage::Warm);
    bench.tell(Event::TemplateLoading { template, module, stage });
    let actions = bench.wait(ms(60_000));
    assert!(actions.contains(&Action::KillTemplate { template }));
    assert_eq!(without(&actions), ["beta"]);
    let error = &bench.core.pools.values().next().expect("a pool").excluded[0];
    assert_eq!((error.stage, &error.fault), (Stage::Warm, &Fault::TimedOut { limit_ms: 60_000 }));
}

#[test]
fn a_death_while_loading_is_blamed_on_what_was_loaded() {
    for (code, fault) in [(Some(3), Fault::Exited(3)), (Some(-11), Fault::Killed(11))] {
        let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
        let template = built(&actions)[0];
        let (module, stage) = (String::from("alpha"), Stage::Load);
        bench.tell(Event::TemplateLoading { template, module, stage });
        let actions = bench.tell(Event::TemplateGone { template, code });
        assert_eq!(without(&actions), ["alpha"]);
        let pool = bench.core.pools.values().next().expect("a pool");
        assert_eq!(pool.excluded[0].fault, fault);
    }
}

#[test]
fn a_program_that_ran_its_own_main_is_told_so() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    bench.tell(Event::TemplateGone { template: built(&actions)[0], code: Some(0) });
    let pool = bench.open(warn("p"));
    assert_eq!(cause(&bench, pool).fault, Fault::NoFreezeSupport);
}

#[test]
fn an_unused_on_demand_template_is_dropped_and_built_again_on_demand() {
    let settings = Settings { spares_min: 0, ..Settings::default() };
    let (mut bench, _) = Bench::new(settings, Vec::new());
    let (_, actions) = bench.ask(S, Ask::Open(warn("q")));
    let template = built(&actions)[0];
    let Reply::Opened(pool) = replies(&actions)[0] else { panic!() };
    bench.ready(template);
    assert_eq!(bench.core.next_deadline(), Some(Time(ms(600_000))), "a single far deadline");
    let actions = bench.wait(ms(600_000));
    assert_eq!(actions, [Action::Retire { template }]);
    bench.tell(Event::TemplateGone { template, code: Some(0) });
    assert_eq!(bench.core.next_deadline(), None);
    assert_eq!(built(&bench.lease(S, pool).1).len(), 1, "the session still knows it");
}

#[test]
fn a_pool_is_forgotten_when_nobody_can_ask_for_it() {
    let settings = Settings { spares_min: 0, ..Settings::default() };
    let (mut bench, _) = Bench::new(settings, Vec::new());
    let (_, actions) = bench.ask(S, Ask::Open(warn("q")));
    let template = built(&actions)[0];
    bench.ready(template);
    bench.tell(Event::SessionClosed { session: S });
    let actions = bench.wait(ms(700_000));
    assert!(actions.contains(&Action::Retire { template }));
    let actions = bench.tell(Event::TemplateGone { template, code: Some(0) });
    assert_eq!(actions, [Action::ForgetPool { key: warn("q").key }]);
    assert!(bench.core.pools.is_empty());
}

#[test]
fn room_is_made_by_dropping_who_was_idle_longest_or_refused() {
    let settings = Settings { templates_max: 2, spares_min: 0, ..Settings::default() };
    let (mut bench, _) = Bench::new(settings, Vec::new());
    let mut templates = Vec::new();
    for name in ["a", "b"] {
        let (_, actions) = bench.ask(S, Ask::Open(warn(name)));
        templates.extend(built(&actions));
        bench.ready(built(&actions)[0]);
        bench.wait(ms(10));
    }
    let (_, actions) = bench.ask(S, Ask::Open(warn("c")));
    assert!(actions.contains(&Action::Retire { template: templates[0] }));
    assert_eq!(built(&actions).len(), 1);
    let (_, actions) = bench.ask(S, Ask::Open(warn("d")));
    assert!(actions.contains(&Action::Retire { template: templates[1] }));
    let (_, actions) = bench.ask(S, Ask::Open(warn("e")));
    let [(_, refusal)] = &refused(&actions)[..] else { panic!() };
    assert!(refusal.to_string().contains("`templates_max`"), "{refusal}");
    assert!(actions.contains(&Action::ForgetPool { key: warn("e").key }));
}

#[test]
fn an_attached_template_takes_over_from_one_that_loads() {
    let (mut bench, actions) = Bench::new(Settings::default(), vec![warn("p")]);
    let loading = built(&actions)[0];
    let attach = |bench: &mut Bench, retiring: bool| {
        let template = bench.core.new_template_id();
        let (modules, memory) = (vec![module("alpha")], Memory::default());
        let pool = warn("p");
        let (generation, pid) = (7, 5);
        let event =
            Event::TemplateAttached { template, pool, generation, pid, modules, memory, retiring };
        (template, bench.tell(event))
    };
    // One that was retired comes for its workers' sake: the one that loads is still needed.
    let (retired, actions) = attach(&mut bench, true);
    assert_eq!(actions, [Action::Retire { template: retired }]);
    bench.tell(Event::WorkerAdopted { template: retired, worker: WorkerId(400), pid: 7 });
    assert_eq!(bench.core.totals.leased, 1);
    let (first, actions) = attach(&mut bench, false);
    assert!(actions.contains(&Action::StopTemplate { template: loading }));
    assert_eq!(forked(&actions)[0].0, first);
    let worker = WorkerId(500);
    bench.tell(Event::WorkerAdopted { template: first, worker, pid: 6 });
    assert_eq!(bench.core.totals.leased, 2);
    assert!(bench.core.next.worker > 500, "ids stay unique");
    assert_eq!(bench.core.generation, 7, "generations go on");
    let lessee = Lessee { worker, pid: 6, client_pid: 40, client_uid: 9 };
    let wrong = Lessee { pid: 5, client_pid: 1, ..lessee };
    bench.tell(Event::LesseesKnown { template: first, lessees: vec![wrong, lessee] });
    let late = Lessee { client_pid: 41, ..lessee };
    bench.tell(Event::LesseesKnown { template: first, lessees: vec![late] });
    let entry = &bench.core.workers[&worker];
    assert_eq!(entry.owner, Owner::Client { pid: Some(40) });
    assert_eq!(entry.client_uid, Some(9));
    let (second, actions) = attach(&mut bench, false);
    assert!(actions.contains(&Action::Retire { template: second }));
}
