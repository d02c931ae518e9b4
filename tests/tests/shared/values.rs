//! `RawValue` and `Value` between processes.

use super::{Wide, die};
use mp::{Acquired, AnyLock, Lock, OwnerDied, RLock, RawValue, TryLockError, Value};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use std::time::Duration;

#[mp::task]
fn write_raw(byte: RawValue<u8>, long: RawValue<i64>, float: RawValue<f32>, wide: RawValue<Wide>) {
    byte.set(200);
    long.set(-1);
    float.fetch_add(0.5);
    wide.set(Wide::of(77));
}

#[mp::task]
fn count(total: Value<u64>, raw: RawValue<u64>, times: u32) {
    for _ in 0..times {
        total.fetch_add(1);
        total.update(|value| value + 1);
        raw.fetch_add(1);
    }
}

/// Not atomic: only right if the lock is held.
#[mp::task]
fn move_money(from: Value<i64>, to: Value<i64>, times: u32) {
    for _ in 0..times {
        let _guard = match from.get_lock() {
            AnyLock::Lock(lock) => lock.lock().unwrap(),
            AnyLock::RLock(_) => panic!("another lock"),
        };
        from.get_obj().set(from.get_obj().get() - 1);
        to.get_obj().set(to.get_obj().get() + 1);
    }
}

#[mp::task]
fn die_with_the_lock(value: Value<Wide>) {
    let guard = value.lock().unwrap();
    guard.set(Wide::of(2));
    die()
}

#[mp::task]
fn die_in_an_update(value: Value<Wide>) {
    value.update(|_| die());
}

#[mp::task]
fn hold_for_ever(value: Value<u32>, held: RawValue<u8>) {
    let _guard = value.lock().unwrap();
    held.set(1);
    std::thread::sleep(10 * PATIENCE);
}

#[mp::task]
fn make(number: u32) -> (Value<Wide>, RawValue<u32>) {
    (Value::new(Wide::of(number)).unwrap(), RawValue::new(number).unwrap())
}

/// One object in the other, ten deep.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Nested {
    value: Value<u32>,
    array: Option<mp::RawArray<u16>>,
    inner: Option<Box<Self>>,
}

impl Nested {
    fn new(depth: u32) -> Self {
        Self {
            value: Value::new(depth).unwrap(),
            array: depth.is_multiple_of(2).then(|| mp::RawArray::zeroed(3).unwrap()),
            inner: depth.checked_sub(1).map(|depth| Box::new(Self::new(depth))),
        }
    }

    fn each(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        if let Some(inner) = &self.inner {
            inner.each(visit);
        }
    }
}

#[mp::task]
fn touch(nested: Nested, same: Value<u32>) -> (Nested, bool) {
    let is_same = nested.value.is_same(&same);
    nested.each(&mut |level| {
        level.value.fetch_add(100);
        if let Some(array) = &level.array {
            array.set(2, 9).unwrap();
        }
    });
    (nested, is_same)
}

suite![
    what_a_child_writes_is_seen,
    what_a_child_makes_lives_on,
    additions_are_not_lost,
    a_lock_may_be_that_of_many,
    a_death_leaves_the_value_whole,
    a_death_in_an_update_leaves_the_old_value,
    waiting_for_the_lock_ends,
    ten_deep_they_go_there_and_back,
];

fn what_a_child_writes_is_seen(ctx: &mp::Context) {
    let (byte, long) = (RawValue::zeroed().unwrap(), RawValue::new(5).unwrap());
    let (float, wide) = (RawValue::new(1.0).unwrap(), RawValue::zeroed().unwrap());
    assert_eq!((byte.get(), wide.get()), (0, Wide::of(0)));
    let copies = (byte.clone(), long.clone(), float.clone(), wide.clone());
    value(ctx.process::<write_raw>(copies));
    assert_eq!((byte.get(), long.get(), float.get(), wide.get().number()), (200, -1, 1.5, 77));
}

fn what_a_child_makes_lives_on(ctx: &mp::Context) {
    let process = ctx.process::<make>((6,)).start().unwrap();
    let (wide, raw) = outcome(&process).unwrap();
    assert_eq!(end(&process), 0);
    assert_eq!((wide.value().number(), raw.get()), (6, 6));
    wide.set(Wide::of(7));
    assert_eq!(wide.clone().value().number(), 7);
}

fn additions_are_not_lost(ctx: &mp::Context) {
    let (total, raw) = (Value::new(0).unwrap(), RawValue::new(0).unwrap());
    let start = |_| ctx.process::<count>((total.clone(), raw.clone(), 2000)).start().unwrap();
    let processes = (0..4).map(start).collect::<Vec<_>>();
    processes.iter().for_each(|process| outcome(process).unwrap());
    assert_eq!((total.value(), raw.get()), (16_000, 8000));
}

fn a_lock_may_be_that_of_many(ctx: &mp::Context) {
    let lock = Lock::new().unwrap();
    let from = Value::with_lock(5000, &lock).unwrap();
    let to = Value::synchronized(RawValue::new(0).unwrap(), &lock);
    let start = |_| ctx.process::<move_money>((from.clone(), to.clone(), 1000)).start().unwrap();
    let processes = (0..3).map(start).collect::<Vec<_>>();
    for _ in 0..200 {
        let _guard = lock.lock().unwrap();
        assert_eq!(from.get_obj().get() + to.get_obj().get(), 5000);
    }
    processes.iter().for_each(|process| outcome(process).unwrap());
    assert_eq!((from.value(), to.value()), (2000, 3000));
}

fn a_death_leaves_the_value_whole(ctx: &mp::Context) {
    let wide = Value::new(Wide::of(1)).unwrap();
    let process = ctx.process::<die_with_the_lock>((wide.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    // Whole, whoever died; only who takes the lock itself is told.
    assert_eq!(wide.value().number(), 2);
    wide.set(Wide::of(3));
    let OwnerDied(guard) = wide.lock().unwrap_err();
    assert_eq!(guard.get().number(), 3);
    guard.make_consistent();
    drop(guard);
    assert!(wide.lock().is_ok() && !wide.get_lock().locked());
}

fn a_death_in_an_update_leaves_the_old_value(ctx: &mp::Context) {
    let wide = Value::new(Wide::of(1)).unwrap();
    let process = ctx.process::<die_in_an_update>((wide.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    assert_eq!(wide.update(|old| Wide::of(old.number() + 1)).number(), 1);
    assert_eq!(wide.acquire(true, None), Acquired::OwnerDied);
    wide.get_lock().make_consistent().unwrap();
    wide.release().unwrap();
    assert_eq!(wide.acquire(true, None), Acquired::Yes);
    wide.release().unwrap();
    assert!(wide.release().is_err());
    assert_eq!(wide.value().number(), 2);
}

fn waiting_for_the_lock_ends(ctx: &mp::Context) {
    let (number, held) = (Value::new(4).unwrap(), RawValue::zeroed().unwrap());
    let process = ctx.process::<hold_for_ever>((number.clone(), held.clone())).start().unwrap();
    assert!(mpserverd_tests::eventually(PATIENCE, || held.get() == 1));
    assert!(matches!(number.try_lock(), Err(TryLockError::WouldBlock)));
    let begun = std::time::Instant::now();
    let waited = Duration::from_millis(30);
    assert!(matches!(number.lock_timeout(waited), Err(TryLockError::WouldBlock)));
    assert!(begun.elapsed() >= waited);
    assert_eq!(number.acquire(false, None), Acquired::No);
    assert_eq!(number.get_obj().get(), 4, "without the lock");
    process.kill().unwrap();
    assert!(matches!(number.lock_timeout(PATIENCE), Err(TryLockError::OwnerDied(_))));
}

fn ten_deep_they_go_there_and_back(ctx: &mp::Context) {
    let nested = Nested::new(9);
    let mut ours = Vec::new();
    nested.each(&mut |level| ours.push((level.value.clone(), level.array.clone())));
    let same = nested.value.clone();
    let (back, was_same) = value(ctx.process::<touch>((nested, same)));
    assert!(was_same);
    let mut depth = 0;
    back.each(&mut |level| {
        let (value, array) = &ours[depth];
        assert!(level.value.is_same(value));
        assert_eq!(value.value(), 109 - depth as u32);
        match (array, &level.array) {
            (Some(ours), Some(theirs)) => {
                assert!(ours.is_same(theirs) && ours.get(2).unwrap() == 9)
            }
            (None, None) => {}
            other => panic!("{other:?}"),
        }
        depth += 1;
    });
    assert_eq!(depth, 10);
}

#[test]
fn outside_a_journey_they_do_not_serialise() {
    let number = Value::new(1u8).unwrap();
    let said = [
        serde_json::to_string(&number).unwrap_err().to_string(),
        serde_json::to_string(number.get_obj()).unwrap_err().to_string(),
        serde_json::to_string(&mp::Array::<u8>::zeroed(1).unwrap()).unwrap_err().to_string(),
        serde_json::to_string(&mp::SharedMemory::create(None, 1).unwrap()).unwrap_err().to_string(),
        serde_json::to_string(&mp::ShareableList::new([]).unwrap()).unwrap_err().to_string(),
    ];
    for said in said {
        assert!(said.contains("can only be shared with another process"), "{said}");
    }
}

#[test]
fn a_panic_in_an_update_leaves_the_old_value() {
    let wide = Value::with_lock(Wide::of(1), RLock::new().unwrap()).unwrap();
    let caught = std::panic::catch_unwind(|| wide.update(|_| panic!("on purpose")));
    assert!(caught.is_err());
    assert_eq!(wide.update(|_| Wide::of(2)).number(), 1);
    assert_eq!(wide.copy().unwrap().value().number(), 2);
}
