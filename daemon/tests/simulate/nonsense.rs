//! Events in no sensible order, about ids that mostly exist: a peer or a bug may send anything.
//! Nothing may panic, and the book must stay right.

use crate::clients::any_query;
use crate::templates::{broken, ended, module, obituary};
use fastrand::Rng;
use mpserverd::core::{
    Action, Admission, Ask, Core, EarlyRefusal, Event, Held, Origin, Peer, PoolKey, PoolSpec,
    SessionId, Settings, Time,
};
use mpserverd_proto::client::{StopPolicy, WorkerRef};
use mpserverd_proto::death::Cause;
use mpserverd_proto::error::Stage;
use mpserverd_proto::explain::Subject;
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId, WorkerId};
use mpserverd_proto::report::ProcessFilter;
use mpserverd_proto::template::{Lessee, Memory, OnPreloadError};
use std::time::Duration;

/// Feeds a core so many events.
pub(crate) fn feed(seed: u64, events: u32) {
    let mut rng = Rng::with_seed(seed);
    let held = Held { groups: rng.bool(), ..Held::default() };
    let mut core = Core::new(Time::default(), "1", 1, "/s", 1).with_held(held);
    let mut now = Duration::ZERO;
    let mut actions: Vec<Action> = Vec::new();
    for _ in 0..events {
        let most = 1 << rng.u32(..22);
        now += Duration::from_micros(rng.u64(..most));
        let event = any_event(&mut rng, core.next_deadline().is_some_and(|Time(at)| at <= now));
        let event = match event {
            mut event @ Event::TemplateAttached { .. } if rng.bool() => {
                if let Event::TemplateAttached { template, .. } = &mut event {
                    *template = core.new_template_id();
                }
                event
            }
            other => other,
        };
        if rng.u8(..50) == 0 {
            core = crate::world::hand_over(&core);
        }
        let was = event.clone();
        core.handle(Time(now), event, &mut actions);
        actions.clear();
        if let Err(wrong) = core.audit() {
            panic!("seed {seed}: {wrong}, after {was:?}");
        }
        let past = core.next_deadline().is_some_and(|Time(at)| at <= now);
        assert!(was != Event::Tick || !past, "seed {seed}: a deadline that is past");
    }
}

fn any_origin(rng: &mut Rng) -> Origin {
    rng.bool().then(|| (any_session(rng), any_request(rng)))
}

fn any_session(rng: &mut Rng) -> SessionId {
    SessionId(rng.u64(..4))
}

fn any_request(rng: &mut Rng) -> RequestId {
    RequestId(rng.u64(..40))
}

fn any_spec(rng: &mut Rng) -> PoolSpec {
    let key = rng.u8(..5);
    let policies = [OnPreloadError::Ignore, OnPreloadError::Warn, OnPreloadError::Fail];
    PoolSpec {
        key: PoolKey(vec![key]),
        name: ["alpha", "p", "q"][usize::from(key) % 3].into(),
        modules: vec!["alpha".into(), "beta".into()],
        on_error: rng.choice(policies).unwrap_or_default(),
        uid: (key > 2).then_some(2000),
    }
}

fn any_processes() -> Ask {
    Ask::Processes { after: None, limit: u32::MAX, filter: ProcessFilter::default() }
}

fn any_ask(rng: &mut Rng) -> Ask {
    let (pool, wait) = (PoolId(rng.u64(..9)), Duration::from_millis(rng.u64(..500)));
    match rng.u8(..13) {
        0..3 => Ask::Open(any_spec(rng)),
        3 => {
            let bounds = crate::limits::any_bounds(rng);
            Ask::LeaseWith { pool, wait, bounds, task: None, trace: None }
        }
        4..7 => Ask::Lease { pool, wait, task: None, trace: None },
        7 => Ask::Cancel(any_request(rng)),
        8 => Ask::PoolModules { pool, wait: Duration::MAX },
        9 if rng.bool() => Ask::Deaths { query: any_query(rng), all: rng.bool() },
        9 => rng.choice([Ask::Status, any_processes(), Ask::Modules]).unwrap_or(Ask::Status),
        10 => Ask::Kill { worker: WorkerRef::Pid(rng.u32(..50)), signal: rng.i32(..) },
        11 => Ask::Explain(Subject::Pid(rng.u32(..50))),
        _ => Ask::Kill { worker: WorkerRef::Id(WorkerId(rng.u64(..50))), signal: 9 },
    }
}

fn any_settings(rng: &mut Rng) -> Settings {
    let mut extreme = || {
        let all = [Duration::ZERO, Duration::from_millis(20), Duration::from_secs(1)];
        rng.choice(all).unwrap_or_default()
    };
    let mut settings = Settings {
        admission: Admission {
            early_refusal: Some(EarlyRefusal { begin: 0, rate: 999, full: 3 }),
            penalty: extreme(),
            penalty_min: extreme(),
            penalty_max: extreme(),
            good_conduct: extreme(),
            penalised_max: 2,
            exempt: [2000].into(),
        },
        preload_timeout: extreme(),
        handshake_timeout: extreme(),
        idle_timeout: extreme(),
        backoff_min: extreme(),
        backoff_max: extreme(),
        backoff_reset: extreme(),
        refill_delay: extreme(),
        decay_after: extreme(),
        kill_after: extreme(),
        ..Settings::default()
    };
    settings.spares_min = rng.u32(..5);
    settings.spares_max = rng.choice([0, 1, 8, u32::MAX]).unwrap_or(0);
    settings.workers_max = rng.choice([0, 1, 9, u64::MAX]).unwrap_or(0);
    settings.templates_max = rng.usize(..6);
    settings.limits = crate::limits::any_limits(rng);
    settings
}

/// What comes from above, and seldom.
fn any_change(rng: &mut Rng) -> Event {
    let error = rng.bool().then(|| "no".to_owned());
    match rng.u8(..5) {
        0 => Event::UpgradeBegan { origin: any_origin(rng) },
        1 => Event::UpgradeEnded { pause: Duration::MAX, error },
        2 => Event::ReloadRefused { why: "ä".repeat(2000) },
        3 => Event::TemplateOutdated { template: TemplateId(rng.u64(..40)) },
        _ => Event::ProbeDue,
    }
}

fn any_attached(rng: &mut Rng, template: TemplateId, pid: u32) -> Event {
    let (pool, modules, memory) = (any_spec(rng), vec![module("alpha")], Memory::default());
    let (generation, retiring) = (rng.u32(..), rng.bool());
    Event::TemplateAttached { template, pool, generation, pid, modules, memory, retiring }
}

fn any_event(rng: &mut Rng, due: bool) -> Event {
    if due && rng.bool() {
        return Event::Tick;
    }
    if rng.u8(..50) == 0 {
        return any_change(rng);
    }
    let session = any_session(rng);
    let template = TemplateId(rng.u64(..40));
    let worker = WorkerId(rng.u64(..200));
    let (pid, memory, code) = (rng.u32(..50), Memory::default(), rng.i32(-20..3));
    let name = String::from(["alpha", "beta", "p", "?"][rng.usize(..4)]);
    match rng.u32(..1000) {
        0..60 => {
            let peer = Peer { pid, uid: 1000 + 1000 * (pid % 2), gid: 1000 };
            Event::SessionOpened { session, peer }
        }
        60..70 => Event::SessionClosed { session },
        70..400 => Event::Asked { session, id: any_request(rng), ask: any_ask(rng) },
        400..420 => {
            let preload = (0..rng.usize(..3)).map(|_| any_spec(rng)).collect();
            Event::Configured {
                origin: any_origin(rng),
                settings: Box::new(any_settings(rng)),
                preload,
            }
        }
        420 if rng.u8(..3) == 0 => {
            let policy = rng.choice([StopPolicy::Wait, StopPolicy::Term, StopPolicy::Kill]);
            let (policy, grace) = (policy.unwrap_or_default(), Duration::MAX);
            Event::StopAsked { origin: any_origin(rng), policy, grace }
        }
        420..450 => Event::TemplateStarted { template, pid },
        450..460 => Event::TemplateNotStarted { template, error: broken(&name, Stage::Exec) },
        460..500 => Event::TemplateHello { template },
        500..530 => Event::TemplateLoading { template, module: name, stage: Stage::Load },
        530..670 => {
            let mut modules = vec![module("alpha"), module("beta")];
            modules[1].error = rng.bool().then(|| broken("beta", Stage::Init));
            Event::TemplateReady { template, modules, memory }
        }
        670..690 => Event::TemplateFailed { template, error: broken(&name, Stage::Init) },
        690..695 => Event::TemplateMemory { template, memory },
        695..730 => Event::TemplateGone { template, code: rng.bool().then_some(code) },
        730..740 => any_attached(rng, template, pid),
        740..747 => Event::WorkerAdopted { template, worker, pid },
        747..750 => {
            let lessees = vec![Lessee { worker, pid, client_pid: 1, client_uid: 1 }];
            Event::LesseesKnown { template, lessees }
        }
        750..850 => {
            let spares = (0..rng.u64(..9)).map(|n| (WorkerId(worker.0 + n), pid)).collect();
            Event::Spares { template, spares }
        }
        850..855 => Event::Misbehaved { uid: 1000 * rng.u32(..9), why: name },
        855..870 => Event::ForkFailed { template, missing: rng.u16(..40), message: name },
        870..930 => ended(worker, code),
        930..940 => Event::NotSlow { worker, again: Duration::from_millis(rng.u64(..99)) },
        940..945 => Event::NotHeld { worker },
        945..960 => Event::Measured { worker, sample: crate::limits::any_sample(rng) },
        960..965 => Event::Blamed { worker, cause: Cause::Oom },
        965..968 => Event::Peaked { worker, kib: rng.u64(..) },
        968..975 => any_missed(rng, template, worker, code),
        _ => Event::Tick,
    }
}

fn any_missed(rng: &mut Rng, template: TemplateId, first: WorkerId, code: i32) -> Event {
    let deaths = (0..rng.u64(..40)).map(|n| obituary(WorkerId(first.0 + n), code));
    Event::Missed { template, deaths: deaths.collect(), forgotten: rng.u64(..) }
}
