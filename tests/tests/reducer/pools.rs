//! Tasks of pools.

use super::{DRAFT, MSGPACK, binary};
use mp::{JobError, Reducer, TaskFailure};
use mpserverd_tests::build::artifacts;
use mpserverd_tests::suite;
use std::sync::OnceLock;

suite![tasks_of_every_kind, handles_in_tasks, errors_of_inputs_and_outcomes];

static OFFSET: OnceLock<u64> = OnceLock::new();

#[mp::task]
fn prepare(offset: u64, _label: String) {
    OFFSET.set(offset).unwrap();
}

#[mp::task]
fn square(x: u64) -> u64 {
    x * x + OFFSET.get().copied().unwrap_or(0)
}

#[mp::task]
fn join(words: Vec<String>, times: Option<u8>) -> Result<String, String> {
    let times = times.ok_or_else(|| words.concat())?;
    Ok(words.join(" ").repeat(times.into()))
}

#[mp::task]
fn nothing() {}

fn words() -> Vec<String> {
    vec!["a".into(), "ü".into()]
}

fn tasks_of_every_kind(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let ctx = ctx.clone().with_reducer(reducer);
        let pool = ctx.pool().processes(2).initializer::<prepare>((7, "x".into())).build().unwrap();
        assert_eq!(pool.apply::<square>((3,)).unwrap(), 16, "{reducer}");
        assert_eq!(pool.apply::<join>((words(), Some(2))).unwrap().unwrap(), "a üa ü");
        assert_eq!(pool.apply::<join>((words(), None)).unwrap().unwrap_err(), "aü");
        pool.apply::<nothing>(()).unwrap();
        let squares = pool.map::<square>(0..500u64).unwrap();
        assert_eq!(squares, (0..500).map(|x| x * x + 7).collect::<Vec<_>>(), "{reducer}");
        let joined = pool.starmap::<join>(&[(words(), Some(1)), (words(), None)]).unwrap();
        assert_eq!(joined, [Ok("a ü".to_owned()), Err("aü".to_owned())], "{reducer}");
        assert_eq!(pool.starmap::<nothing>(&[(), ()]).unwrap(), [(), ()]);
        let later = pool.map_async::<square>(&[1, 2]).unwrap();
        assert_eq!(later.get().unwrap(), [8, 11], "{reducer}");
        let lazily = pool.imap::<square>(0..3u64).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(lazily, [7, 8, 11], "{reducer}");
    }
}

#[mp::task]
fn add_to(sum: mp::Value<u64>, x: u64) -> mp::Value<u64> {
    sum.fetch_add(x);
    sum
}

fn handles_in_tasks(ctx: &mp::Context) {
    for reducer in binary() {
        let sum = mp::Value::new(0u64).unwrap();
        let pool = ctx.clone().with_reducer(reducer).pool().processes(2).build().unwrap();
        pool.apply::<add_to>((sum.clone(), 1)).unwrap().fetch_add(1);
        let inputs = (0..20).map(|x| (sum.clone(), x)).collect::<Vec<_>>();
        assert_eq!(pool.starmap::<add_to>(&inputs).unwrap().len(), 20);
        assert_eq!(sum.value(), 192, "{reducer}");
    }
    let pool = ctx.clone().with_reducer(Reducer::json()).pool().processes(1).build().unwrap();
    let sum = || mp::Value::new(0u64).unwrap();
    assert!(pool.apply_async::<add_to>((sum(), 1)).is_err());
    match pool.starmap::<add_to>(&[(sum(), 1)]).unwrap_err().error {
        TaskFailure::Unserializable(why) => assert!(why.contains("no JSON form"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Refuses what is odd.
#[derive(Debug)]
struct Even {
    field: u8,
}

impl TryFrom<u8> for Even {
    type Error = String;

    fn try_from(field: u8) -> Result<Self, String> {
        if field.is_multiple_of(2) { Ok(Self { field }) } else { Err(format!("{field} is odd")) }
    }
}

mp::reduce! {
    /// Its field is all there is.
    Bare: Even as u8, |even| even.field, Even::try_from
}

#[mp::task]
fn half(even: mp::Reduced<Bare>) -> mp::Reduced<Bare> {
    mp::Reduced(Even { field: even.field / 2 })
}

fn errors_of_inputs_and_outcomes(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let pool = ctx.clone().with_reducer(reducer).pool().processes(1).build().unwrap();
        let input = |field| mp::Reduced::<Bare>(Even { field });
        assert_eq!(pool.apply::<half>((input(8),)).unwrap().field, 4);
        match pool.apply::<half>((input(7),)) {
            Err(TaskFailure::Rejected(JobError::BadArguments { reason, .. })) => {
                assert!(reason.contains("pools::Even`"), "{reducer}: {reason}");
                assert!(reason.contains("7 is odd"), "{reducer}: {reason}");
            }
            other => panic!("{reducer}: {other:?}"),
        }
        match pool.apply::<half>((input(6),)) {
            Err(TaskFailure::Undecodable { source: mp::CodecError::Rebuild(refusal), bytes }) => {
                assert_eq!(refusal.reason, "3 is odd", "{reducer}");
                assert_eq!(reducer.decode::<u8>(&bytes).unwrap(), 3);
            }
            other => panic!("{reducer}: {other:?}"),
        }
    }
}

#[test]
fn a_worker_without_the_reducer_says_so() {
    let module = artifacts().misbehave.to_str().unwrap();
    let ctx = mp::get_context(mp::StartMethod::Spawn).with_modules([module]);
    for (reducer, fits) in [(MSGPACK, true), (DRAFT, false)] {
        let pool = ctx.clone().with_reducer(reducer).pool().processes(1).build().unwrap();
        let sums = pool.starmap::<super::modules::AddUp>(&[(1, Some(2)), (3, Some(4))]);
        match sums {
            Ok(sums) if fits => assert_eq!(sums, [Ok(3), Ok(7)]),
            Err(error) if !fits => match error.error {
                TaskFailure::Rejected(JobError::UnknownReducer { name, known }) => {
                    assert_eq!(name, "draft/2");
                    assert!(known.contains(&"draft/1".to_owned()), "{known:?}");
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{reducer}: {other:?}"),
        }
    }
}
