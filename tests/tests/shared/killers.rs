//! Processes in tight loops on one object, of which one after the other is killed: nobody reads a
//! half-written value, nothing is lost but what the dead one held, and nobody waits.
//!
//! `FAULT_SEED=n` repeats the moments of one run, `FAULT_ROUNDS=n` makes it longer.

use super::{Wide, is_gone, path, unique};
use mp::{
    Array, ListItem, OwnerDied, RawArray, RawValue, ShareError, ShareableList, SharedMemory, Value,
};
use mpserverd_tests::crew::Crew;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::seeds::{self, Moments};
use std::time::Duration;

/// Members at work.
const CREW: usize = 3;
/// Longest time between two kills.
const WITHIN: Duration = Duration::from_millis(3);

/// Kills members at random moments; `look` looks at the object after each, `end` lets all end.
fn rounds<R>(
    rounds: u64,
    start: impl Fn(&mp::Context, usize) -> mp::ProcessBuilder<R>,
    mut look: impl FnMut(u64),
    end: impl FnOnce(),
) -> Vec<R> {
    let mut moments = Moments::of(seeds::any());
    let daemon = Daemon::start(&[]);
    let context = daemon.context();
    let mut crew = Crew::new(CREW, |place| start(&context, place));
    for round in 0..rounds {
        let dead = crew.kill_one(&mut moments, WITHIN);
        look(round);
        crew.replace(dead);
    }
    end();
    crew.finish()
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Values {
    stop: RawValue<u8>,
    locked: Value<Wide>,
    raw: RawValue<Wide>,
    total: Value<u64>,
    /// What each member has added and lived to tell.
    done: RawArray<u64>,
}

#[mp::task]
fn work_on_values(values: Values, place: usize) -> u64 {
    let mut rounds = 0;
    while values.stop.get() == 0 {
        rounds += 1;
        values.locked.update(|wide| Wide::of(wide.number().wrapping_add(1)));
        values.raw.set(Wide::of(rounds as u32));
        values.raw.get().number();
        values.total.fetch_add(1);
        values.done.fetch_add(place, 1).unwrap();
    }
    rounds
}

fn values(count: u64) {
    let values = Values {
        stop: RawValue::zeroed().unwrap(),
        locked: Value::new(Wide::of(0)).unwrap(),
        raw: RawValue::new(Wide::of(0)).unwrap(),
        total: Value::zeroed().unwrap(),
        done: RawArray::zeroed(CREW).unwrap(),
    };
    let check = |_| {
        values.locked.value().number();
        values.raw.get().number();
        // Added before it was told: read in the other order.
        let told = values.done.iter().sum::<u64>();
        assert!(values.total.value() >= told, "an addition is lost");
    };
    let start = |ctx: &mp::Context, place| ctx.process::<work_on_values>((values.clone(), place));
    let lived = rounds(count, start, check, || values.stop.set(1));
    let (total, told) = (values.total.value(), values.done.iter().sum::<u64>());
    assert!(told <= total && total <= told + count, "{told} told, {total} added, {count} deaths");
    assert!(lived.len() == CREW && told >= lived.iter().sum());
    println!("{total} rounds, {} of them nobody lived to tell", total - told);
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Slices {
    stop: RawValue<u8>,
    array: Array<u32>,
    repairs: RawValue<u64>,
}

impl Slices {
    /// Puts it in order after a death; gives whether there was one.
    fn repair(&self) -> bool {
        let Err(OwnerDied(guard)) = self.array.lock() else { return false };
        guard.copy_from(0, &vec![0; guard.len()]).unwrap();
        guard.make_consistent();
        self.repairs.fetch_add(1);
        true
    }

    /// The number that all elements are, or `None` after a death.
    fn number(&self) -> Option<u32> {
        let all = match self.array.to_vec() {
            Ok(all) => all,
            Err(ShareError::OwnerDied { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        assert!(all.iter().all(|number| *number == all[0]), "torn: {all:?}");
        Some(all[0])
    }
}

#[mp::task]
fn work_on_slices(slices: Slices) {
    let mut number = 0;
    while slices.stop.get() == 0 {
        number += 1;
        match slices.array.lock() {
            // One after the other, so that a kill finds it half done.
            Ok(guard) => guard.cells().iter().for_each(|cell| cell.set(number)),
            Err(died) => {
                drop(died);
                slices.repair();
            }
        }
        match slices.array.copy_from(0, &vec![number; slices.array.len()]) {
            Ok(()) => {}
            Err(ShareError::OwnerDied { .. }) => drop(slices.repair()),
            Err(error) => panic!("{error}"),
        }
        let _ = slices.number();
    }
}

fn slices(count: u64) {
    let slices = Slices {
        stop: RawValue::zeroed().unwrap(),
        array: Array::zeroed(1000).unwrap(),
        repairs: RawValue::zeroed().unwrap(),
    };
    let start = |ctx: &mp::Context, _| ctx.process::<work_on_slices>((slices.clone(),));
    let look = |_| {
        if slices.number().is_none() {
            slices.repair();
        }
    };
    rounds(count, start, look, || slices.stop.set(1));
    while slices.repair() {}
    assert!(slices.number().is_some());
    println!("{} repairs after {count} deaths", slices.repairs.get());
    assert!(slices.repairs.get() <= count + 1);
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Names {
    stop: RawValue<u8>,
    anchor: String,
    names: Vec<String>,
    list: ShareableList,
}

#[mp::task]
fn work_on_names(names: Names, seed: u64) {
    let mut moments = Moments::of(seed);
    let mut held = Vec::new();
    while names.stop.get() == 0 {
        let name = &names.names[moments.below(names.names.len() as u64) as usize];
        let got = match moments.below(4) {
            0 | 1 => SharedMemory::create(Some(name), 4096),
            2 => SharedMemory::attach(name),
            _ => SharedMemory::attach(&names.anchor),
        };
        match got {
            Ok(segment) => {
                segment.write(0, &[seed]).unwrap();
                held.push(segment);
            }
            Err(ShareError::AlreadyExists { .. } | ShareError::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        if held.len() > 2 {
            held.remove(moments.below(3) as usize);
        }
        let byte = seed as u8;
        names.list.set(0, vec![byte; 1 + moments.below(99) as usize]).unwrap();
        whole(&names.list);
    }
}

fn whole(list: &ShareableList) {
    match list.get(0).unwrap() {
        ListItem::Bytes(bytes) => assert!(bytes.iter().all(|byte| *byte == bytes[0]), "{bytes:?}"),
        other => panic!("{other:?}"),
    }
}

fn names(count: u64) {
    let anchor = SharedMemory::create(Some(&unique("anchor")), 4096).unwrap();
    let names = Names {
        stop: RawValue::zeroed().unwrap(),
        anchor: anchor.name().to_owned(),
        names: (0..4).map(|_| unique("killer")).collect(),
        list: ShareableList::new([vec![0; 100].into()]).unwrap(),
    };
    let next = std::cell::Cell::new(0);
    let start = |ctx: &mp::Context, _| {
        next.set(next.get() + 1);
        ctx.process::<work_on_names>((names.clone(), next.get()))
    };
    let look = |_| {
        whole(&names.list);
        assert!(SharedMemory::attach(&names.anchor).unwrap().is_same(&anchor));
    };
    rounds(count, start, look, || names.stop.set(1));
    for name in &names.names {
        assert!(is_gone(name), "{name}");
    }
    let list = names.list.name().to_owned();
    assert!(path(&list).exists() && path(&names.anchor).exists());
    drop((names.list, anchor));
    assert!(is_gone(&list) && is_gone(&names.anchor));
}

#[test]
fn values_are_whole_whoever_is_killed() {
    values(seeds::count(200));
}

#[test]
fn arrays_say_so_whoever_is_killed() {
    slices(seeds::count(200));
}

#[test]
fn names_live_as_long_as_their_holders_whoever_is_killed() {
    names(seeds::count(200));
}

#[test]
#[ignore = "long: 10 000 deaths"]
fn values_are_whole_after_ten_thousand_deaths() {
    values(seeds::count(10_000));
}

#[test]
#[ignore = "long: 10 000 deaths"]
fn arrays_say_so_after_ten_thousand_deaths() {
    slices(seeds::count(10_000));
}

#[test]
#[ignore = "long: 10 000 deaths"]
fn names_live_as_long_as_their_holders_after_ten_thousand_deaths() {
    names(seeds::count(10_000));
}
