//! What is left when sessions end: nothing.

use crate::until;
use mpserverd_tests::suite::{end, value};
use std::time::Duration;

#[mp::task]
fn make_and_die(manager: mp::Address, die: bool) -> Result<u64, mp::TaskError> {
    let manager = mp::Manager::builder().address(manager).connect()?;
    let list = manager.list([manager.value(&1)?, manager.value(&2)?])?;
    let dict = manager.dict([(1, list)])?;
    let iterator = dict.iter()?;
    let objects = manager.stats()?.objects;
    if die {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
    }
    drop(iterator);
    Ok(objects)
}

fn objects_go_with_the_last_who_refers_to_them(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let kept = manager.list([1]).unwrap();
    for die in [false, true] {
        let process =
            ctx.process::<make_and_die>((manager.address().clone(), die)).start().unwrap();
        if die {
            assert_eq!(end(&process), -9);
        } else {
            assert_eq!(process.result().unwrap().unwrap(), 6, "five of its own");
        }
        until("only ours are left", || manager.stats().unwrap().objects == 1);
        until("so are sessions", || manager.stats().unwrap().sessions == 1);
    }
    drop(kept);
    until("nothing is left", || manager.stats().unwrap().objects == 0);
}

mpserverd_tests::suite![objects_go_with_the_last_who_refers_to_them];

#[mp::task]
fn touch(list: mp::ListProxy<u8>) -> Result<usize, mp::TaskError> {
    Ok(list.len()?)
}

#[test]
fn a_lease_ends() {
    mpserverd_tests::suite::in_time(Duration::from_millis(200), is_on_its_way_for);
}

/// `None` if the machine was so slow that the lease was over before it was looked at.
fn is_on_its_way_for(lease: Duration) -> Option<()> {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let manager = spawn.manager_builder().lease(lease).start().unwrap();
    let list = manager.list([1]).unwrap();
    assert_eq!(value(spawn.process::<touch>((list.clone(),))).unwrap(), 1);
    let bytes = serde_json::to_vec(&list).unwrap();
    drop(list);
    if manager.stats().unwrap().objects == 0 {
        return None;
    }
    until("whoever it was sent to has not come", || manager.stats().unwrap().objects == 0);
    assert_eq!(manager.stats().unwrap().leases, 0);
    let late: mp::ListProxy<u8> = serde_json::from_slice(&bytes).unwrap();
    assert!(matches!(late.len(), Err(mp::ManagerError::NoObject { .. })));
    Some(())
}

#[test]
fn references_in_answers_are_given_back() {
    let manager = crate::spawned();
    let rows = manager.list([]).unwrap();
    for number in 0..10 {
        rows.append(&manager.list([number]).unwrap()).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(rows.copy().unwrap().len(), 10);
        drop((rows.get(3).unwrap(), rows.slice(1..4).unwrap()));
        rows.sort_by_key(|row| std::cmp::Reverse(row.len().unwrap())).unwrap();
    }
    // What does not decode had references too.
    let bytes = serde_json::to_vec(&rows).unwrap();
    let numbers: mp::ListProxy<u64> = serde_json::from_slice(&bytes).unwrap();
    assert!(numbers.copy().is_err() && numbers.get(0).is_err());
    assert_eq!(manager.stats().unwrap().objects, 11);
    rows.clear().unwrap();
    until("the rows are gone", || manager.stats().unwrap().objects == 1);
}

#[test]
fn a_long_chain_is_no_deep_stack() {
    let manager = crate::spawned();
    let mut last: mp::ListProxy<Option<mp::ListProxy<()>>> = manager.list([None]).unwrap();
    for _ in 0..5_000 {
        let bytes = serde_json::to_vec(&last).unwrap();
        let inner: mp::ListProxy<()> = serde_json::from_slice(&bytes).unwrap();
        last = manager.list([Some(inner)]).unwrap();
    }
    assert!(manager.stats().unwrap().objects >= 5_000);
    drop(last);
    assert_eq!(manager.list([1]).unwrap().len().unwrap(), 1);
}

#[test]
fn no_descriptor_is_left() {
    let manager = crate::spawned();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let round = || {
        let address = manager.address();
        let connected = mp::Manager::builder().address(address).connect().unwrap();
        let list = connected.list([1]).unwrap();
        assert_eq!(list.len().unwrap(), 1);
    };
    round();
    let before = mpserverd_tests::proc::fd_count(manager.pid());
    (0..30).for_each(|_| round());
    until("the server has as many as before", || {
        mpserverd_tests::proc::fd_count(manager.pid()) <= before
    });
    assert!(open() < 1000);
}
