//! `RawArray` and `Array` between processes.

use super::{Wide, die};
use mp::{Array, Lock, OwnerDied, RawArray, ShareError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, outcome, value};

#[mp::task]
fn square(array: RawArray<i64>) {
    for cell in array.cells() {
        cell.set(cell.get() * cell.get());
    }
}

#[mp::task]
fn reverse(array: Array<Wide>) -> Vec<u32> {
    let guard = array.lock().unwrap();
    let mut all = guard.slice(..).unwrap();
    all.reverse();
    guard.copy_from(0, &all).unwrap();
    guard.iter().map(|wide| wide.number()).collect()
}

/// Copies a slice from one end to the other, in place.
#[mp::task]
fn copy_in_place(array: RawArray<u32>) {
    #[allow(unsafe_code, reason = "that is what is tested")]
    // SAFETY: nobody else has the array while this process runs.
    let slice = unsafe { array.as_mut_slice() };
    slice.copy_within(0..1000, 100_000);
}

#[mp::task]
fn increment(array: Array<u32>, times: u32) {
    for _ in 0..times {
        for index in 0..array.len() {
            array.fetch_add(index, 1).unwrap();
        }
        array.get_obj().fetch_add(0, 0).unwrap();
    }
}

#[mp::task]
fn die_half_way(array: Array<u64>) {
    let guard = array.lock().unwrap();
    guard.set(0, 1).unwrap();
    die()
}

#[mp::task]
fn die_looking(array: Array<u64>) {
    let guard = array.lock().unwrap();
    assert_eq!(guard.get(0).unwrap(), 0);
    die()
}

suite![
    what_a_child_writes_is_seen,
    large_arrays_are_written_in_place,
    additions_are_not_lost,
    a_death_while_writing_shows_until_it_is_made_good,
    a_death_while_reading_does_no_harm,
];

fn what_a_child_writes_is_seen(ctx: &mp::Context) {
    let raw = RawArray::from_slice(&[1, -2, 3, -40]).unwrap();
    value(ctx.process::<square>((raw.clone(),)));
    assert_eq!(raw.to_vec(), [1, 4, 9, 1600]);
    let wide = Array::with_lock(&[1, 2, 3].map(Wide::of), Lock::new().unwrap()).unwrap();
    let there = value(ctx.process::<reverse>((wide.clone(),)));
    let here = wide.iter().unwrap().map(|wide| wide.number()).collect::<Vec<_>>();
    assert_eq!((here, there), (vec![3, 2, 1], vec![3, 2, 1]));
}

fn large_arrays_are_written_in_place(ctx: &mp::Context) {
    let numbers = (0..250_000).collect::<Vec<u32>>();
    let array = RawArray::from_slice(&numbers).unwrap();
    value(ctx.process::<copy_in_place>((array.clone(),)));
    assert_eq!(array.slice(100_000..101_000).unwrap(), numbers[..1000]);
    assert_eq!(array.slice(101_000..).unwrap(), numbers[101_000..]);
    let copy = array.copy().unwrap();
    array.set(0, 5).unwrap();
    assert_eq!((copy.get(0).unwrap(), copy.len()), (0, 250_000));
}

fn additions_are_not_lost(ctx: &mp::Context) {
    let array = Array::zeroed(5).unwrap();
    let start = |_| ctx.process::<increment>((array.clone(), 300)).start().unwrap();
    let processes = (0..3).map(start).collect::<Vec<_>>();
    processes.iter().for_each(|process| outcome(process).unwrap());
    assert_eq!(array.to_vec().unwrap(), [900; 5]);
}

fn a_death_while_writing_shows_until_it_is_made_good(ctx: &mp::Context) {
    let array = Array::zeroed(2).unwrap();
    let process = ctx.process::<die_half_way>((array.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    for _ in 0..2 {
        let died = |error| matches!(error, ShareError::OwnerDied { .. });
        assert!(array.get(0).is_err_and(died) && array.set(1, 1).is_err_and(died));
        assert!(array.to_vec().is_err_and(died) && array.copy_from(0, &[]).is_err_and(died));
    }
    let OwnerDied(guard) = array.lock().unwrap_err();
    assert_eq!(guard.slice(..).unwrap(), [1, 0]);
    guard.copy_from(0, &[7, 7]).unwrap();
    guard.make_consistent();
    drop(guard);
    assert_eq!(array.to_vec().unwrap(), [7, 7]);
}

fn a_death_while_reading_does_no_harm(ctx: &mp::Context) {
    let array = Array::zeroed(2).unwrap();
    let process = ctx.process::<die_looking>((array.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    array.set(0, 3).unwrap();
    assert_eq!(array.to_vec().unwrap(), [3, 0]);
    assert!(array.lock().is_err(), "who takes the lock is told");
}
