//! Values, arrays, segments and lists that processes share: the scenarios of `values.py`.

use mp::bytemuck::{Pod, Zeroable};
use mp::{
    Acquired, Array, ListItem, Lock, Plain, RawArray, RawValue, ShareError, ShareableList,
    SharedMemory, Value,
};
use mpserverd_tests::eventually;
use mpserverd_tests::parity::{Difference, alone, compare};
use mpserverd_tests::suite::{PATIENCE, end, value};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

/// What happened, by what was tried.
#[derive(Default)]
struct Said(Vec<(&'static str, String)>);

impl Said {
    fn that(&mut self, name: &'static str, outcome: impl ToString) {
        self.0.push((name, outcome.to_string()));
    }
}

/// The name that the reference has for an error.
fn error_of<T>(result: Result<T, ShareError>) -> &'static str {
    match result {
        Ok(_) => "no error",
        Err(ShareError::OutOfRange { .. }) => "IndexError",
        Err(ShareError::Size { .. } | ShareError::TooLong { .. }) => "ValueError",
        Err(ShareError::AlreadyExists { .. }) => "FileExistsError",
        Err(ShareError::NotFound { .. }) => "FileNotFoundError",
        Err(ShareError::Name { .. }) => "a name with a reason",
        Err(error) => panic!("{error}"),
    }
}

/// As Python writes a bool.
fn python(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}

fn bytes(bytes: &[u8]) -> String {
    format!("b'{}'", bytes.escape_ascii())
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[bytemuck(crate = "mp::bytemuck")]
#[repr(C)]
struct Foo {
    x: i64,
    y: f64,
    z: i64,
}

/// One of each type, with a lock and without.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Numbers {
    i: (Value<i32>, RawValue<i32>),
    d: (Value<f64>, RawValue<f64>),
    h: (Value<i16>, RawValue<i16>),
    q: (Value<i64>, RawValue<i64>),
}

fn both<T: Plain>(value: T) -> (Value<T>, RawValue<T>) {
    (Value::new(value).unwrap(), RawValue::new(value).unwrap())
}

fn set_both<T: Plain>((locked, raw): &(Value<T>, RawValue<T>), value: T) {
    locked.set(value);
    raw.set(value);
}

#[mp::task]
fn set_all(numbers: Numbers) {
    set_both(&numbers.i, 24234);
    set_both(&numbers.d, -4.25);
    set_both(&numbers.h, 234);
    set_both(&numbers.q, 1 << 34);
}

fn test_value(ctx: &mp::Context, said: &mut Said) {
    let numbers = Numbers { i: both(4343), d: both(3.625), h: both(-232), q: both(1 << 33) };
    let now = |numbers: &Numbers| {
        let Numbers { i, d, h, q } = numbers;
        let text =
            |locked: &dyn ToString, raw: &dyn ToString| (locked.to_string(), raw.to_string());
        [
            text(&i.0.value(), &i.1.get()),
            text(&d.0.value(), &d.1.get()),
            text(&h.0.value(), &h.1.get()),
            text(&q.0.value(), &q.1.get()),
        ]
    };
    let before = now(&numbers);
    value(ctx.process::<set_all>((numbers.clone(),)));
    let names = [
        ("test_value.i", "test_rawvalue.i"),
        ("test_value.d", "test_rawvalue.d"),
        ("test_value.h", "test_rawvalue.h"),
        ("test_value.q", "test_rawvalue.q"),
    ];
    for ((names, before), after) in names.into_iter().zip(before).zip(now(&numbers)) {
        said.that(names.0, format!("{} {}", before.0, after.0));
        said.that(names.1, format!("{} {}", before.1, after.1));
    }
    said.that("test_value.zeroed", Value::<i32>::zeroed().unwrap().value());
    said.that("test_rawvalue.zeroed", RawValue::<i32>::zeroed().unwrap().get());
}

fn test_getobj_getlock(said: &mut Said) {
    let number = Value::new(5i32).unwrap();
    let held = number.get_lock().acquire(true, None).is_held();
    said.that("test_getobj_getlock.own", format!("{} {}", number.get_obj().get(), python(held)));
    let again = number.acquire(true, Some(Duration::from_millis(10)));
    said.that("test_getobj_getlock.again", python(again.is_held()));
    number.release().unwrap();
    number.release().unwrap();
    let over = number.release().map_or("AssertionError", |()| "no error");
    said.that("test_getobj_getlock.over", over);
    let lock = Lock::new().unwrap();
    let other = Value::with_lock(5i32, &lock).unwrap();
    let given = other.get_lock().is_same(&(&lock).into());
    said.that("test_getobj_getlock.given", python(given));
    let guard = lock.lock().unwrap();
    said.that("test_getobj_getlock.held", python(other.acquire(false, None).is_held()));
    drop(guard);
    let number = Value::new(i32::MAX).unwrap();
    number.fetch_add(1);
    said.that("wrap_around", number.value());
}

#[mp::task]
fn die_with_the_lock(number: Value<i32>) {
    let _ = number.acquire(true, None);
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
}

fn test_killed_owner(ctx: &mp::Context, said: &mut Said) {
    let number = Value::new(1).unwrap();
    let process = ctx.process::<die_with_the_lock>((number.clone(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    let outcome = match number.acquire(true, Some(PATIENCE)) {
        Acquired::OwnerDied => "held, and told",
        Acquired::Yes => "held",
        Acquired::No => "False",
    };
    said.that("killed_owner", outcome);
}

const SEQUENCE: [i32; 10] = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];

#[mp::task]
fn sum_up(array: Array<i32>, raw: RawArray<i32>) {
    for at in 1..array.len() {
        array.fetch_add(at, array.get(at - 1).unwrap()).unwrap();
        raw.fetch_add(at, raw.get(at - 1).unwrap()).unwrap();
    }
}

fn list<T: Debug>(items: &[T]) -> String {
    format!("{items:?}")
}

fn test_array(ctx: &mp::Context, said: &mut Said) {
    let array = Array::from_slice(&SEQUENCE).unwrap();
    let raw = RawArray::from_slice(&SEQUENCE).unwrap();
    said.that("test_array.length", array.len());
    said.that("test_rawarray.length", raw.len());
    said.that("test_array.slice", list(&array.slice(2..5).unwrap()));
    said.that("test_rawarray.slice", list(&raw.slice(2..5).unwrap()));
    array.copy_from(4, &[1, 2, 3, 4]).unwrap();
    raw.copy_from(4, &[1, 2, 3, 4]).unwrap();
    value(ctx.process::<sum_up>((array.clone(), raw.clone())));
    said.that("test_array.summed_up", list(&array.to_vec().unwrap()));
    said.that("test_rawarray.summed_up", list(&raw.to_vec()));
    said.that("test_array.behind", error_of(array.get(10)));
    said.that("test_rawarray.behind", error_of(raw.get(10)));
    let sized = Array::<i32>::zeroed(5).unwrap();
    said.that("test_array_from_size", list(&sized.to_vec().unwrap()));
    said.that("test_rawarray_from_size", list(&RawArray::<i32>::zeroed(5).unwrap().to_vec()));
    said.that("test_array.empty", Array::<i32>::zeroed(0).unwrap().len());
    said.that("test_rawarray.empty", RawArray::<i32>::zeroed(0).unwrap().len());
    let text = Array::<u8>::zeroed(8).unwrap();
    text.set_value(b"hello").unwrap();
    said.that("characters.value", bytes(&text.value().unwrap()));
    text.set_value(b"hi").unwrap();
    said.that("characters.raw", bytes(&text.raw().unwrap()));
    text.set_value(b"12345678").unwrap();
    said.that("characters.full", bytes(&text.value().unwrap()));
    said.that("characters.too_long", error_of(text.set_value(b"123456789")));
}

type Scalars<I, F, S> = (I, F, S);

#[mp::task]
fn double_raw(
    scalars: Scalars<RawValue<i32>, RawValue<f64>, RawValue<Foo>>,
    array: RawArray<f64>,
    text: RawArray<u8>,
) {
    let (x, y, three) = scalars;
    x.set(x.get() * 2);
    y.set(y.get() * 2.0);
    three.set(doubled(three.get()));
    array.cells().iter().for_each(|cell| cell.set(cell.get() * 2.0));
    text.set_value(&text.value().repeat(2)).unwrap();
}

#[mp::task]
fn double(
    scalars: Scalars<Value<i32>, Value<f64>, Value<Foo>>,
    array: Array<f64>,
    text: Array<u8>,
) {
    let (x, y, three) = scalars;
    x.update(|x| x * 2);
    y.update(|y| y * 2.0);
    three.update(doubled);
    (0..array.len()).for_each(|at| {
        let _ = array.update(at, |number| number * 2.0).unwrap();
    });
    text.set_value(&text.value().unwrap().repeat(2)).unwrap();
}

fn doubled(three: Foo) -> Foo {
    Foo { x: three.x * 2, y: three.y * 2.0, ..three }
}

fn raw<T: Plain>(value: T) -> RawValue<T> {
    RawValue::new(value).unwrap()
}

fn test_sharedctypes(ctx: &mp::Context, said: &mut Said) {
    let sentence = |x: i32, y: f64, three: Foo, array: Vec<f64>, text: Vec<u8>| {
        let array = array.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(" ");
        let text = String::from_utf8(text).unwrap();
        format!("{x} {y:?} {} {:?} {} {array} {text}", three.x, three.y, three.z)
    };
    let three = Foo { x: 3, y: 2.0, z: 1 };
    let numbers = [0.0, 1.0, 2.0, 3.0, 4.0];

    let scalars = (raw(7), raw(0.25), raw(three));
    let (array, text) = (RawArray::from_slice(&numbers).unwrap(), RawArray::zeroed(20).unwrap());
    text.set_value(b"hello").unwrap();
    value(ctx.process::<double_raw>((scalars.clone(), array.clone(), text.clone())));
    let (x, y, changed) = (scalars.0.get(), scalars.1.get(), scalars.2.get());
    said.that("test_sharedctypes", sentence(x, y, changed, array.to_vec(), text.value()));

    let locked = |raw| Value::synchronized(raw, mp::RLock::new().unwrap());
    let scalars = (Value::new(7).unwrap(), Value::new(0.25).unwrap(), locked(raw(three)));
    let array = Array::synchronized(RawArray::from_slice(&numbers).unwrap(), Lock::new().unwrap());
    let text = Array::zeroed(20).unwrap();
    text.set_value(b"hello").unwrap();
    value(ctx.process::<double>((scalars.clone(), array.clone(), text.clone())));
    let (x, y, changed) = (scalars.0.value(), scalars.1.value(), scalars.2.value());
    let (array, text) = (array.to_vec().unwrap(), text.value().unwrap());
    said.that("test_synchronize", sentence(x, y, changed, array, text));
}

fn test_copy(said: &mut Said) {
    let three = RawValue::new(Foo { x: 2, y: 5.0, z: 1 << 33 }).unwrap();
    let bar = three.copy().unwrap();
    three.set(Foo { x: 0, y: 0.0, z: 0 });
    let Foo { x, y, z } = bar.get();
    said.that("test_copy", format!("{x} {y:?} {z}"));
}

fn byte(segment: &SharedMemory, at: usize) -> u8 {
    segment.cells(at, 1).unwrap()[0].get()
}

#[mp::task]
fn write_at_one(name: &str) {
    SharedMemory::attach(name).unwrap().write(1, &[77u8]).unwrap();
}

fn test_shared_memory(ctx: &mp::Context, said: &mut Said) {
    let name = format!("mps-parity-ours-{}", std::process::id());
    let create = |size| SharedMemory::create(Some(&name), size);
    let segment = create(512).unwrap();
    said.that("test_shared_memory_basics.name", python(segment.name() == name));
    said.that("test_shared_memory_basics.size", segment.size());
    said.that("test_shared_memory_basics.create_again", error_of(create(512)));
    segment.write(0, &[42u8]).unwrap();
    let same = SharedMemory::attach(&name).unwrap();
    said.that("test_shared_memory_basics.attached", byte(&same, 0));
    value(ctx.process::<write_at_one>((name.clone(),)));
    said.that("test_shared_memory_across_processes", byte(&segment, 1));
    same.close();
    let (pickled, fds) = mp::handles::collect(|| serde_json::to_vec(&segment).unwrap());
    segment.unlink().unwrap();
    said.that("test_shared_memory_basics.unlink_again", error_of(segment.unlink()));
    let attached = SharedMemory::attach(&name);
    said.that("test_shared_memory_basics.attach_unlinked", error_of(attached));
    let back = mp::handles::provide(fds, || serde_json::from_slice::<SharedMemory>(&pickled));
    let outcome = back.map_or("an error", |_| "no error");
    said.that("test_shared_memory_pickle_unpickle_dead_object", outcome);
    said.that("test_shared_memory_basics.after_unlink", byte(&segment, 0));
    segment.close();
    let mut zeros = [9u8; 5];
    create(5).unwrap().read(0, &mut zeros).unwrap();
    said.that("test_shared_memory_recreate", bytes(&zeros));

    let create = |name, size| error_of(SharedMemory::create(name, size));
    said.that("test_invalid_shared_memory_creation.zero", create(None, 0));
    said.that("test_invalid_shared_memory_creation.slash", create(Some("a/b"), 1));
    let missing = SharedMemory::attach("mps-parity-missing");
    said.that("test_invalid_shared_memory_creation.missing", error_of(missing));
}

#[mp::task]
fn create_and_wait(name: &str, ready: RawValue<u8>) {
    let segment = SharedMemory::create(Some(name), 10).unwrap();
    ready.set(1);
    std::thread::sleep(2 * PATIENCE);
    drop(segment);
}

#[mp::task]
fn attach_and_close(name: &str) {
    SharedMemory::attach(name).unwrap().close();
}

fn test_lives_of_names(ctx: &mp::Context, said: &mut Said) {
    let name = format!("mps-parity-ours-term-{}", std::process::id());
    let ready = RawValue::zeroed().unwrap();
    let process = ctx.process::<create_and_wait>((name.clone(), ready.clone())).start().unwrap();
    assert!(eventually(PATIENCE, || ready.get() == 1));
    process.terminate().unwrap();
    assert_eq!(end(&process), -15);
    let exists = |name: &str| Path::new("/dev/shm").join(name).exists();
    let gone = eventually(PATIENCE, || !exists(&name));
    said.that("test_shared_memory_cleaned_after_process_termination", python(gone));

    let segment = SharedMemory::create(None, 10).unwrap();
    value(ctx.process::<attach_and_close>((segment.name().to_owned(),)));
    said.that("still_there_after_a_stranger", python(exists(segment.name())));
}

fn test_shareable_list(said: &mut Said) {
    let items: [ListItem; 7] = [
        "howdy".into(),
        b"HoWdY".into(),
        (-273.154).into(),
        100.into(),
        ListItem::None,
        true.into(),
        42.into(),
    ];
    let shareable = ShareableList::new(items.clone()).unwrap();
    let equal = shareable.to_vec().unwrap() == items;
    said.that("test_shared_memory_shareable_list_basics.items", python(equal));
    said.that("test_shared_memory_shareable_list_basics.length", shareable.len());
    said.that("test_shared_memory_shareable_list_basics.format", shareable.format().unwrap());
    let count = |number: i32| shareable.count(&number.into()).unwrap();
    let counts = format!("{} {}", count(42), count(-1));
    said.that("test_shared_memory_shareable_list_basics.count", counts);
    let index = shareable.index(&42.into()).unwrap().unwrap();
    said.that("test_shared_memory_shareable_list_basics.index", index);
    said.that("test_shared_memory_shareable_list_basics.behind", error_of(shareable.get(7)));
    shareable.set(0, 17).unwrap();
    shareable.set(6, "12345678").unwrap();
    let (ListItem::Int(first), ListItem::Str(last)) =
        (shareable.get(0).unwrap(), shareable.get(6).unwrap())
    else {
        panic!("{shareable:?}")
    };
    said.that("test_shared_memory_shareable_list_basics.changed", format!("{first} {last}"));
    let too_long = error_of(shareable.set(3, "123456789"));
    let ListItem::Int(kept) = shareable.get(3).unwrap() else { panic!("{shareable:?}") };
    said.that("test_shared_memory_shareable_list_basics.too_long", format!("{too_long} {kept}"));
    ShareableList::attach(shareable.name()).unwrap().set(3, 1.5).unwrap();
    let ListItem::Float(changed) = shareable.get(3).unwrap() else { panic!("{shareable:?}") };
    said.that("test_shared_memory_shareable_list_basics.by_name", changed);
    let zeros = ShareableList::new(["a\0\0".into(), [0].into()]).unwrap();
    let (ListItem::Str(text), ListItem::Bytes(bytes)) =
        (zeros.get(0).unwrap(), zeros.get(1).unwrap())
    else {
        panic!("{zeros:?}")
    };
    said.that("trailing_zeros", format!("{} {}", text.len(), bytes.len()));
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "killed_owner",
        theirs: "False",
        ours: "held, and told",
        why: "a lock outlives its owner (#88304)",
    },
    Difference {
        name: "test_shared_memory_pickle_unpickle_dead_object",
        theirs: "FileNotFoundError",
        ours: "no error",
        why: "a segment travels as a descriptor, which needs no name",
    },
    Difference {
        name: "test_invalid_shared_memory_creation.slash",
        theirs: "OSError",
        ours: "a name with a reason",
        why: "the error says what is wrong with the name",
    },
    Difference {
        name: "still_there_after_a_stranger",
        theirs: "False",
        ours: "True",
        why: "who only attaches takes nothing from others (#82300)",
    },
    Difference {
        name: "trailing_zeros",
        theirs: "1 0",
        ours: "3 1",
        why: "items have an explicit length (#106939)",
    },
];

#[test]
fn values_are_shared_as_in_cpython() {
    let _turn = alone();
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let mut said = Said::default();
    test_value(&ctx, &mut said);
    test_getobj_getlock(&mut said);
    test_killed_owner(&ctx, &mut said);
    test_array(&ctx, &mut said);
    test_sharedctypes(&ctx, &mut said);
    test_copy(&mut said);
    test_shared_memory(&ctx, &mut said);
    test_lives_of_names(&ctx, &mut said);
    test_shareable_list(&mut said);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/values.py");
    compare(&script, &said.0, DIFFERENCES);
}
