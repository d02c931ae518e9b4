//! Maps: what their inputs may be, what becomes of those that fail, how far they are.

use super::{PATIENCE, nap, panics, pool, square, wait_if};
use mpserverd_tests::suite;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[mp::task]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[mp::task]
fn sum(numbers: &[u32]) -> u32 {
    numbers.iter().sum()
}

#[mp::task]
fn length(path: &Path) -> usize {
    path.as_os_str().len()
}

#[mp::task]
fn odd_ones_only(x: u64) -> u64 {
    assert!(x % 2 == 1, "{x} is even");
    x
}

#[mp::task]
fn checked(x: u64) -> Result<u64, String> {
    if x % 2 == 1 { Ok(x) } else { Err(format!("{x} is even")) }
}

fn inputs_may_be_borrowed(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let words = vec!["a".to_owned(), "bc".to_owned()];
    assert_eq!(pool.map::<shout>(&words).unwrap(), ["A", "BC"]);
    assert_eq!(pool.map::<shout>(words.iter().map(String::as_str)).unwrap(), ["A", "BC"]);
    assert_eq!(pool.map::<shout>(words).unwrap(), ["A", "BC"]);
    let numbers = [1, 2, 3, 4, 5, 6];
    assert_eq!(pool.map::<sum>(numbers.chunks(2)).unwrap(), [3, 7, 11]);
    let paths = [PathBuf::from("/a"), PathBuf::from("/bcd")];
    assert_eq!(pool.map::<length>(paths.iter().map(PathBuf::as_path)).unwrap(), [2, 4]);
}

fn all_run_and_the_first_failure_is_told(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    for chunk in [1, 3, 100] {
        let error = pool.mapping::<odd_ones_only>().chunk(chunk).map((1..50).rev()).unwrap_err();
        assert_eq!(error.index, 1, "{error}");
        let mp::TaskFailure::Panicked(panic) = &error.error else { panic!("{error}") };
        assert_eq!(panic.message, "48 is even");
        assert!(panic.location.as_ref().unwrap().contains("maps.rs"));
        let each = pool.mapping::<odd_ones_only>().chunk(chunk).map_each(0..50).unwrap();
        let good = each.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!((each.len(), good), (50, 25), "one in a chunk does not hurt the others");
    }
}

fn an_error_that_a_task_returns_is_a_result(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let results = pool.map::<checked>(0..4).unwrap();
    assert_eq!(results, [Err("0 is even".to_owned()), Ok(1), Err("2 is even".to_owned()), Ok(3)]);
    let result = pool.apply_async::<checked>((2,)).unwrap();
    assert!(super::get(&result).unwrap().is_err());
    assert_eq!(result.successful(), Ok(true));
}

/// An input of which some cannot travel.
struct Fragile(u64);

impl serde::Serialize for Fragile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 3 {
            return Err(serde::ser::Error::custom("three is fragile"));
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Fragile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

#[mp::task]
fn handle_with_care(fragile: Fragile) -> u64 {
    fragile.0
}

fn an_input_that_cannot_travel_hurts_only_itself(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let each = pool.map_each::<handle_with_care>((0..6).map(Fragile)).unwrap();
    for (at, outcome) in (0..).zip(&each) {
        match outcome {
            Ok(value) => assert!(*value == at && at != 3),
            Err(mp::TaskFailure::Unserializable(why)) => {
                assert!(at == 3 && why.contains("three is fragile"), "{why}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    let error = pool.map_async::<handle_with_care>((0..6).map(Fragile)).unwrap_err();
    assert_eq!(error.index, 3);
    let error = pool.apply_async::<handle_with_care>((Fragile(3),)).unwrap_err();
    assert!(matches!(error, mp::PoolError::Unserializable(_)), "{error}");
    let last = pool.imap::<handle_with_care>((3..5).map(Fragile)).unwrap().last();
    assert_eq!(last.unwrap().unwrap(), 4);
}

fn an_iterator_that_panics_is_an_error_at_its_place(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let bad = || (0..10u64).inspect(|x| assert!(*x < 5, "no more"));
    let error = pool.map::<square>(bad()).unwrap_err();
    assert_eq!(error.index, 5);
    assert!(matches!(error.error, mp::TaskFailure::InputPanicked(_)), "{error}");
    assert_eq!(pool.map_async::<square>(bad()).unwrap_err().index, 5);
    let outcomes = pool.imap::<square>(bad()).unwrap().collect::<Vec<_>>();
    assert_eq!(outcomes.len(), 6);
    assert!(outcomes[..5].iter().all(Result::is_ok) && outcomes[5].is_err());
}

fn a_map_does_not_run_ahead_of_its_window(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let (taken, most) = (Cell::new(0u64), Cell::new(0u64));
    let given = Cell::new(0u64);
    let inputs = (0..200u64).inspect(|_| {
        taken.set(taken.get() + 1);
        most.set(most.get().max(taken.get() - given.get()));
    });
    for result in pool.mapping::<square>().window(5).imap(inputs).unwrap() {
        result.unwrap();
        given.set(given.get() + 1);
    }
    assert_eq!(taken.get(), 200);
    assert!(most.get() <= 6, "{} were taken ahead", most.get());
}

fn progress_is_told_to_the_end(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let mut told = Vec::new();
    let map = pool.mapping::<nap>().progress(|progress| told.push(progress));
    map.map([30u64; 20]).unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.done, last.failed, last.lost, last.total), (20, 0, 0, Some(20)));
    assert!(last.rate > 0.0 && last.eta == Some(Duration::ZERO));
    assert!(told.len() > 1 && told.windows(2).all(|pair| pair[0].done <= pair[1].done));
    let mut failed = 0;
    let map = pool.mapping::<panics>().progress(|progress| failed = progress.failed);
    assert!(map.map(["a"; 3]).is_err());
    assert_eq!(failed, 3);
}

fn a_long_task_does_not_hold_up_short_ones_behind_it(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    super::ready(&pool, 2);
    // Tasks of no time teach the pool to give many at a time; then one is long.
    pool.map::<wait_if>(vec![None; 2000]).unwrap();
    let go = mp::Event::new().unwrap();
    let long = |at| (at == 1000).then(|| go.clone());
    let results = (0..2000).map(|at| pool.apply_async::<wait_if>((long(at),)).unwrap());
    let results = results.collect::<Vec<_>>();
    for (at, result) in results.iter().enumerate().filter(|(at, _)| *at != 1000) {
        assert!(result.wait_timeout(PATIENCE), "{at} does not come");
    }
    assert!(!results[1000].ready(), "the others have waited for the long one");
    go.set();
    super::get(&results[1000]).unwrap();
}

fn large_inputs_and_outputs_travel(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    for size in [100_000, 1 << 20, 9 << 20] {
        let bytes = (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        let back = pool.apply::<reverse>((bytes.clone(),)).unwrap();
        assert!(back.iter().rev().eq(bytes.iter()), "{size}");
    }
    let many = pool.map::<reverse>(vec![vec![7u8; 1 << 20]; 8]).unwrap();
    assert!(many.iter().all(|bytes| bytes.len() == 1 << 20));
}

#[mp::task]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

suite![
    inputs_may_be_borrowed,
    all_run_and_the_first_failure_is_told,
    an_error_that_a_task_returns_is_a_result,
    an_input_that_cannot_travel_hurts_only_itself,
    an_iterator_that_panics_is_an_error_at_its_place,
    a_map_does_not_run_ahead_of_its_window,
    progress_is_told_to_the_end,
    a_long_task_does_not_hold_up_short_ones_behind_it,
    large_inputs_and_outputs_travel,
];
