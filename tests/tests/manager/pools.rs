//! Pools in a server.

use mp::ManagerError;
use mpserverd_tests::suite::{PATIENCE, value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static FACTOR: AtomicU64 = AtomicU64::new(1);

#[mp::task]
fn set_factor(factor: u64) {
    FACTOR.store(factor, Ordering::SeqCst);
}

#[mp::task]
fn times(x: u64) -> u64 {
    x * FACTOR.load(Ordering::SeqCst)
}

#[mp::task]
fn add(list: mp::ListProxy<u64>, x: u64) -> Result<(), mp::TaskError> {
    Ok(list.append(&x)?)
}

#[mp::task]
fn divide(x: u64, by: u64) -> Result<u64, String> {
    x.checked_div(by).ok_or_else(|| "by nothing".to_owned())
}

#[mp::task]
fn fail() {
    panic!("no luck");
}

#[mp::task]
fn die() {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[mp::task]
fn sleep(time: Duration) -> u64 {
    std::thread::sleep(time);
    7
}

#[mp::task]
fn wait_for(go: mp::EventProxy) -> Result<u64, mp::TaskError> {
    assert!(go.wait(Some(PATIENCE))?, "nobody lets it go");
    Ok(7)
}

#[mp::task]
fn use_it(pool: mp::PoolProxy) -> Result<Vec<u64>, mp::TaskError> {
    Ok(pool.map::<times>([4, 5])?)
}

fn tasks(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let pool = manager.pool_with_initializer::<set_factor>(2, (10,)).unwrap();
    assert_eq!(pool.apply::<times>((3,)).unwrap(), 30);
    assert_eq!(pool.map::<times>(0..50).unwrap(), (0..50).map(|x| x * 10).collect::<Vec<_>>());
    assert!(pool.map::<times>([]).unwrap().is_empty());
    let divided = pool.starmap::<divide>([(6, 2), (1, 0)]).unwrap();
    assert_eq!(divided, [Ok(3), Err("by nothing".to_owned())]);
    let lazy = pool.imap::<times>(0..).take(100).map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(lazy, (0..100).map(|x| x * 10).collect::<Vec<_>>());
    let list = manager.list([]).unwrap();
    pool.starmap::<add>((0..5).map(|x| (list.clone(), x))).unwrap();
    list.sort().unwrap();
    assert_eq!(list.copy().unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(value(ctx.process::<use_it>((pool.clone(),))).unwrap(), [40, 50]);

    let kind = |result: Result<(), ManagerError>| match result {
        Err(ManagerError::Remote(error)) => (error.kind, error.message),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(pool.apply::<fail>(())), ("panic".to_owned(), "no luck".to_owned()));
    assert_eq!(kind(pool.apply::<die>(())).0, "WorkerLost");
    let go = manager.event().unwrap();
    let slow = pool.apply_async::<wait_for>((go.clone(),)).unwrap();
    assert!(slow.get_timeout(crate::SHORT).unwrap_err().is_timeout() && !slow.ready().unwrap());
    go.set().unwrap();
    assert_eq!(slow.get_timeout(PATIENCE).unwrap(), Ok(7));
    assert_eq!(slow.get().unwrap(), Ok(7));
    assert!(pool.join(Some(crate::SHORT)).is_err(), "it is open");
    let last = pool.map_async::<times>([1, 2]).unwrap();
    pool.close().unwrap();
    assert_eq!(last.get_all().unwrap(), [10, 20]);
    assert!(pool.apply::<times>((1,)).is_err());
    assert!(pool.join(Some(PATIENCE)).unwrap());
}

fn ends(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let pool = manager.pool(2).unwrap();
    let endless = pool.apply_async::<sleep>((PATIENCE * 100,)).unwrap();
    pool.terminate().unwrap();
    assert!(matches!(endless.get(), Err(ManagerError::Remote(_))));
    assert!(pool.join(Some(PATIENCE)).unwrap());
    // One that is dropped in the middle, and one that the server ends with.
    let dropped = manager.pool(1).unwrap();
    let endless = dropped.apply_async::<sleep>((PATIENCE * 100,)).unwrap();
    drop(dropped);
    assert!(matches!(endless.get_timeout(PATIENCE), Err(ManagerError::Remote(_))));
    let pool = manager.pool(1).unwrap();
    let endless = pool.apply_async::<sleep>((PATIENCE * 100,)).unwrap();
    drop(manager);
    assert!(endless.get().unwrap_err().is_gone());
}

mpserverd_tests::suite![tasks, ends];
