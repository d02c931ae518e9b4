//! What users see and reach, and that they stand in nobody's way.

use super::*;
use mpserverd_proto::client::WorkerRef;
use mpserverd_proto::report::ProcessFilter;

const ANNE: SessionId = SessionId(11);
const BERT: SessionId = SessionId(12);

fn of(uid: u32, name: &str) -> PoolSpec {
    PoolSpec { uid: Some(uid), ..warn(name) }
}

impl Bench {
    fn connect_as(&mut self, session: SessionId, uid: u32) {
        self.tell(Event::SessionOpened { session, peer: Peer { pid: uid, uid, gid: uid } });
    }

    fn open_as(&mut self, session: SessionId, spec: PoolSpec) -> (PoolId, Vec<Action>) {
        let (_, actions) = self.ask(session, Ask::Open(spec));
        let pool = replies(&actions).into_iter().find_map(|reply| match reply {
            Reply::Opened(pool) => Some(pool),
            _ => None,
        });
        (pool.expect("opened"), actions)
    }

    /// Workers and templates that a session is told of.
    fn told(&mut self, session: SessionId) -> (usize, usize, usize) {
        let (mut templates, mut modules) = (0, 0);
        let filter = ProcessFilter { spares: true, ..ProcessFilter::default() };
        let processes = Ask::Processes { after: None, limit: u32::MAX, filter };
        let (_, mut actions) = self.ask(session, processes);
        let Some(Action::Processes { report, .. }) = actions.pop() else { panic!("no rows") };
        for ask in [Ask::Status, Ask::Modules] {
            let (_, actions) = self.ask(session, ask);
            match replies(&actions).pop() {
                Some(Reply::Status(status)) => templates = status.templates.len(),
                Some(Reply::Modules(all)) => modules = all.templates.len(),
                other => panic!("{other:?}"),
            }
        }
        (report.rows.len(), templates, modules)
    }
}

/// A pool of everybody's and one of Anne's, who has a worker of each.
fn shared_host() -> (Bench, Vec<WorkerId>) {
    let (mut bench, shared, _) = Bench::serving(Settings::default());
    bench.connect_as(ANNE, 1);
    bench.connect_as(BERT, 2);
    assert_eq!(bench.open_as(ANNE, warn("p")).0, shared);
    let (own, actions) = bench.open_as(ANNE, of(1, "anne's"));
    let actions = bench.ready(built(&actions)[0]);
    bench.come_up(&actions);
    let workers = [shared, own].map(|pool| granted(&bench.lease(ANNE, pool).1)[0].1.worker);
    (bench, workers.to_vec())
}

#[test]
fn users_see_their_own_and_operators_everything() {
    let (mut bench, _) = shared_host();
    let (all, templates, modules) = bench.told(S);
    assert!(all >= 4 && (templates, modules) == (2, 2), "{all} {templates} {modules}");
    // Anne: two workers, and a spare of the pool that is hers alone.
    assert_eq!(bench.told(ANNE), (3, 2, 2));
    assert_eq!(bench.told(BERT), (0, 1, 1));
}

#[test]
fn users_signal_their_own_and_nobody_elses() {
    let (mut bench, workers) = shared_host();
    for worker in workers {
        let ask = |worker| Ask::Kill { worker: WorkerRef::Id(worker), signal: 15 };
        let (_, actions) = bench.ask(BERT, ask(worker));
        assert!(signals(&actions).is_empty());
        assert!(matches!(refused(&actions)[0].1, Refusal::NoSuchWorker(_)));
        for session in [ANNE, S] {
            let (_, actions) = bench.ask(session, ask(worker));
            assert_eq!(signals(&actions), [15], "{session:?}");
        }
    }
}

#[test]
fn a_reload_waits_for_no_users_template() {
    let (mut bench, _) = shared_host();
    let origin = Some((S, RequestId(900)));
    let settings = Settings { operators: vec![1000], ..Settings::default() };
    let actions = bench.tell(Event::Configured { origin, settings, preload: vec![warn("p")] });
    let [candidate] = built(&actions)[..] else { panic!("one candidate: {actions:?}") };
    let actions = bench.ready_with_spares(candidate);
    assert!(actions.iter().any(|a| matches!(a, Action::ReloadEnded { switched: true })));
    // Anne's is built anew then; that it fails is her own affair.
    let [renewed] = built(&actions)[..] else { panic!("one more: {actions:?}") };
    bench.fail(renewed, "alpha");
}

#[test]
fn a_watchdog_looks_at_no_users_template() {
    let (mut bench, _) = shared_host();
    let actions = bench.wait(ms(50));
    bench.come_up(&actions);
    let hers = bench.told(ANNE).0;
    let mut proofs = 0;
    for _ in 0..4 {
        let actions = bench.tell(Event::ProbeDue);
        let mut actions = actions.clone();
        if let [spare] = released(&actions)[..] {
            actions.extend(bench.end(spare));
        }
        actions.extend(bench.come_up(&actions.clone()));
        proofs += actions.iter().filter(|action| **action == Action::Proven).count();
        assert_eq!(bench.told(ANNE).0, hers, "her spare was let go");
        let actions = bench.wait(ms(50));
        bench.come_up(&actions);
    }
    assert!(proofs >= 3, "{proofs}");
}
