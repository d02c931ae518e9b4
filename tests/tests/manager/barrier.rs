//! Barriers.

use crate::{SHORT, until};
use mp::{BrokenBarrier, ManagerError};
use mpserverd_tests::suite::{end, value};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

const ROUNDS: usize = 20;

#[mp::task]
fn pass(
    barrier: mp::BarrierProxy,
    order: mp::ListProxy<usize>,
) -> Result<Vec<usize>, mp::TaskError> {
    let mut numbers = Vec::new();
    for round in 0..ROUNDS {
        order.append(&round)?;
        numbers.push(barrier.wait(None)?);
    }
    Ok(numbers)
}

fn processes_pass_in_lockstep(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let (barrier, order) = (manager.barrier(3).unwrap(), manager.list([]).unwrap());
    let start = |_| ctx.process::<pass>((barrier.clone(), order.clone())).start().unwrap();
    let processes = (0..3).map(start).collect::<Vec<_>>();
    let numbers = processes.iter().map(|process| process.result().unwrap().unwrap());
    let numbers = numbers.collect::<Vec<_>>();
    for round in 0..ROUNDS {
        let of_round = numbers.iter().map(|numbers| numbers[round]).collect::<BTreeSet<_>>();
        assert_eq!(of_round, [0, 1, 2].into(), "each has a number of its own");
    }
    let order = order.copy().unwrap();
    assert!(order.is_sorted(), "nobody is a round ahead: {order:?}");
}

#[mp::task]
fn wait_at(barrier: mp::BarrierProxy) -> Result<usize, mp::TaskError> {
    Ok(barrier.wait(None)?)
}

fn a_death_breaks_it(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let barrier = manager.barrier(3).unwrap();
    let process = ctx.process::<wait_at>((barrier.clone(),)).daemon(true).start().unwrap();
    until("it waits", || barrier.n_waiting().unwrap() == 1);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait(None));
        until("both wait", || barrier.n_waiting().unwrap() == 2);
        process.kill().unwrap();
        assert_eq!(end(&process), -9);
        let died = waiter.join().unwrap();
        let Err(ManagerError::Barrier(BrokenBarrier::ParticipantDied { pid })) = died else {
            panic!("{died:?}")
        };
        assert_eq!(pid, process.pid());
    });
    assert!(barrier.broken().unwrap() && barrier.wait(None).is_err());
    barrier.reset().unwrap();
    assert_eq!((barrier.broken().unwrap(), barrier.parties().unwrap()), (false, 3));
}

mpserverd_tests::suite![processes_pass_in_lockstep, a_death_breaks_it];

#[test]
fn it_breaks_and_is_mended() {
    let manager = crate::spawned();
    let barrier = manager.barrier(2).unwrap();
    let cause = |result: Result<usize, ManagerError>| match result {
        Err(ManagerError::Barrier(cause)) => cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(cause(barrier.wait(Some(SHORT))), BrokenBarrier::TimedOut);
    assert_eq!(cause(barrier.wait(None)), BrokenBarrier::TimedOut);
    barrier.reset().unwrap();
    for (end, expected) in [
        (mp::BarrierProxy::abort as fn(&mp::BarrierProxy) -> _, BrokenBarrier::Aborted),
        (mp::BarrierProxy::reset, BrokenBarrier::Reset),
    ] {
        barrier.reset().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait(None));
            until("it waits", || barrier.n_waiting().unwrap() == 1);
            end(&barrier).unwrap();
            assert_eq!(cause(waiter.join().unwrap()), expected);
        });
    }
    assert!(!barrier.broken().unwrap());
    assert!(matches!(manager.barrier(0), Err(ManagerError::Limit { .. })));
    assert!(matches!(manager.barrier(usize::MAX), Err(ManagerError::Limit { .. })));
}

#[test]
fn an_action_runs_once_before_all_go_on() {
    let manager = crate::spawned();
    let barrier = manager.barrier(3).unwrap();
    let (ran, seen) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 1..=10 {
                    let act = || _ = ran.fetch_add(1, Ordering::SeqCst);
                    barrier.wait_with(None, act).unwrap();
                    seen.fetch_max(ran.load(Ordering::SeqCst).abs_diff(round), Ordering::SeqCst);
                    barrier.wait(None).unwrap();
                }
            });
        }
    });
    assert_eq!((ran.into_inner(), seen.into_inner()), (10, 0));
    let lone = manager.barrier(1).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        lone.wait_with(None, || panic!("the action"))
    }));
    assert!(caught.is_err() && lone.broken().unwrap());
    let broken = lone.wait(None);
    assert!(matches!(broken, Err(ManagerError::Barrier(BrokenBarrier::ActionFailed))));
}

#[test]
fn a_lone_party_never_waits() {
    let manager = crate::spawned();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let barrier = manager.barrier(1).unwrap();
    assert_eq!(value(spawn.process::<wait_at>((barrier,))).unwrap(), 0);
}
