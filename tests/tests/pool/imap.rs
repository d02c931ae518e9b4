//! Results one after the other.

use super::{PATIENCE, hang, pool, square, wait_for, wait_if};
use mpserverd_tests::suite;
use std::time::Duration;

fn results_come_in_order(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let squares = pool.imap::<square>(0..1000).unwrap().map(Result::unwrap);
    assert!(squares.eq((0..1000).map(|x| x * x)));
    let chunked = pool.mapping::<square>().chunk(30).imap(0..1000).unwrap();
    assert!(chunked.map(Result::unwrap).eq((0..1000).map(|x| x * x)));
    let mut any =
        pool.imap_unordered::<square>(0..1000).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    any.sort_unstable();
    assert!(any.into_iter().eq((0..1000).map(|x| x * x)));
}

fn the_quick_ones_come_first_if_order_does_not_matter(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    super::ready(&pool, 2);
    let go = mp::Event::new().unwrap();
    let slow_first = [Some(go.clone()), None, None, None];
    let mut results = pool.imap_unordered::<wait_if>(slow_first).unwrap();
    assert!(!results.next().unwrap().unwrap());
    go.set();
    assert_eq!(results.map(Result::unwrap).filter(|slow| *slow).count(), 1);
}

fn the_next_one_may_be_waited_for_with_a_timeout(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    super::ready(&pool, 1);
    let go = mp::Event::new().unwrap();
    let mut results = pool.imap::<wait_for>([go.clone()]).unwrap();
    let error = results.next_timeout(Duration::from_millis(20)).unwrap().unwrap_err();
    assert!(error.is_timeout(), "{error}");
    go.set();
    results.next_timeout(PATIENCE).unwrap().unwrap();
    assert!(results.next_timeout(PATIENCE).is_none());
    assert!(results.next().is_none(), "the end is the end");
}

fn dropping_it_cancels_what_is_left(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    drop(pool.imap::<nap_long>(0u64..).unwrap());
    // Its workers are free again, or replaced.
    assert_eq!(pool.apply::<square>((3,)).unwrap(), 9);
    let mut endless = pool.imap::<square>(0u64..).unwrap();
    assert_eq!(endless.nth(100).unwrap().unwrap(), 10_000);
    drop(endless);
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
}

#[mp::task]
fn nap_long(_x: u64) {
    hang();
}

fn a_closed_pool_ends_it(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let mut results = pool.imap::<square>(0u64..).unwrap();
    assert_eq!(results.next().unwrap().unwrap(), 0);
    pool.close();
    // In the same thread, with half of it not taken.
    pool.join_timeout(PATIENCE).unwrap();
    let mut last = None;
    for (at, result) in (1u64..).zip(&mut results) {
        match result {
            Ok(square) => assert_eq!(square, at * at),
            Err(error) => last = Some(error),
        }
    }
    let last = last.expect("it does not end by itself");
    assert!(matches!(last, mp::TaskFailure::Pool(mp::PoolError::Closed)), "{last}");
    assert!(pool.imap::<square>(0..3).is_err());
}

fn a_terminated_pool_ends_it(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let mut results = pool.imap::<nap_long>(0u64..).unwrap();
    pool.terminate();
    let error = results.next_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(matches!(error, mp::TaskFailure::Pool(mp::PoolError::Terminated)), "{error}");
    assert!(results.next().is_none());
}

suite![
    results_come_in_order,
    the_quick_ones_come_first_if_order_does_not_matter,
    the_next_one_may_be_waited_for_with_a_timeout,
    dropping_it_cancels_what_is_left,
    a_closed_pool_ends_it,
    a_terminated_pool_ends_it,
];
