//! Arguments and results of processes.

use super::binary;
use mp::{JobError, ProcessError, Reducer, StartError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{outcome, value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::time::Duration;

suite![
    values_of_every_kind_come_back,
    failures_come_back,
    handles_travel_by_every_binary_reducer,
    text_refuses_handles,
    closures_return_by_the_reducer_of_their_context,
    a_default_reducer_stays_where_it_was_set,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Label { text: String, at: (i8, i16) },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    small: i8,
    large: u64,
    negative: i64,
    fraction: f32,
    letter: char,
    text: String,
    bytes: Vec<u8>,
    some: Option<Box<Everything>>,
    shapes: Vec<Shape>,
    map: BTreeMap<String, Vec<u32>>,
    unit: (),
    time: Duration,
}

impl Everything {
    fn new(depth: u32) -> Self {
        let label = Shape::Label { text: "ü".into(), at: (-1, i16::MIN) };
        Self {
            flag: true,
            small: i8::MIN,
            large: u64::MAX,
            negative: i64::MIN,
            fraction: 0.1,
            letter: '🦀',
            text: "a \"quoted\"\n\0 text".into(),
            bytes: (0..=255).collect(),
            some: depth.checked_sub(1).map(|depth| Box::new(Self::new(depth))),
            shapes: vec![Shape::Point, Shape::Circle(1e300), label],
            map: [("empty".into(), vec![]), ("one".into(), vec![1])].into(),
            unit: (),
            time: Duration::new(1, 999_999_999),
        }
    }
}

#[mp::task]
fn turn(mut everything: Everything, more: &[Shape]) -> Everything {
    everything.bytes.reverse();
    everything.shapes.extend_from_slice(more);
    everything
}

#[mp::task]
fn nothing() {}

fn values_of_every_kind_come_back(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let ctx = ctx.clone().with_reducer(reducer);
        let mut expected = Everything::new(3);
        let args = (expected.clone(), vec![Shape::Circle(-0.5)]);
        let back = value(ctx.process::<turn>(args));
        expected.bytes.reverse();
        expected.shapes.push(Shape::Circle(-0.5));
        assert_eq!(back, expected, "{reducer}");
        value(ctx.process::<nothing>(()));
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Refusal {
    code: u16,
    why: String,
}

#[mp::task]
fn refuse(code: u16) -> Result<(), Refusal> {
    if code == 0 { Ok(()) } else { Err(Refusal { code, why: "no".into() }) }
}

#[mp::task]
fn fail(kind: u8) -> io::Result<u8> {
    match kind {
        0 => Ok(7),
        1 => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "odd")),
    }
}

#[mp::task]
fn panics() {
    panic!("as asked");
}

fn failures_come_back(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let ctx = ctx.clone().with_reducer(reducer);
        assert_eq!(value(ctx.process::<refuse>((0,))), Ok(()));
        let refusal = Refusal { code: 7, why: "no".into() };
        assert_eq!(value(ctx.process::<refuse>((7,))), Err(refusal), "{reducer}");
        assert_eq!(value(ctx.process::<fail>((0,))).unwrap(), 7);
        let missing = value(ctx.process::<fail>((1,))).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT), "{reducer}");
        let odd = value(ctx.process::<fail>((2,))).unwrap_err();
        assert_eq!((odd.kind(), odd.to_string().as_str()), (io::ErrorKind::InvalidData, "odd"));
        let process = ctx.process::<panics>(()).env("RUST_BACKTRACE", "0").start().unwrap();
        assert!(matches!(outcome(&process), Err(ProcessError::Panicked(_))), "{reducer}");
    }
}

#[derive(Serialize, Deserialize)]
struct Luggage {
    file: mp::Passed<File>,
    lock: mp::Lock,
    count: mp::Value<u32>,
    queue: mp::Queue<String>,
}

#[mp::task]
fn upper(mut luggage: Luggage) -> Luggage {
    let _held = luggage.lock.lock();
    let mut text = String::new();
    luggage.file.read_to_string(&mut text).unwrap();
    luggage.count.fetch_add(text.len() as u32);
    luggage.queue.put(&text.to_uppercase()).unwrap();
    luggage.file.rewind().unwrap();
    drop(_held);
    luggage
}

fn handles_travel_by_every_binary_reducer(ctx: &mp::Context) {
    for reducer in binary() {
        let ctx = ctx.clone().with_reducer(reducer);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"shout").unwrap();
        file.rewind().unwrap();
        let (lock, count) = (mp::Lock::new().unwrap(), mp::Value::new(1).unwrap());
        let queue = mp::Queue::with_reducer(reducer).unwrap();
        let luggage = Luggage {
            file: mp::Passed(file),
            lock: lock.clone(),
            count: count.clone(),
            queue: queue.clone(),
        };
        let mut back = value(ctx.process::<upper>((luggage,)));
        assert_eq!(count.value(), 6, "{reducer}");
        assert!(back.queue.is_same(&queue));
        assert_eq!(back.queue.get_timeout(suite::PATIENCE).unwrap(), "SHOUT", "{reducer}");
        let mut text = String::new();
        back.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "shout");
        drop(back.lock.lock());
    }
}

#[mp::task]
fn null() -> mp::SharedFd {
    File::open("/dev/null").unwrap().into()
}

fn text_refuses_handles(ctx: &mp::Context) {
    let ctx = ctx.clone().with_reducer(Reducer::json());
    let null_file = || mp::Passed(File::open("/dev/null").unwrap());
    let luggage = Luggage {
        file: null_file(),
        lock: mp::Lock::new().unwrap(),
        count: mp::Value::new(1).unwrap(),
        queue: mp::Queue::new().unwrap(),
    };
    match ctx.process::<upper>((luggage,)).start() {
        Err(StartError::Unserializable(why)) => assert!(why.contains("no JSON form"), "{why}"),
        other => panic!("{other:?}"),
    }
    let process = ctx.process::<null>(()).start().unwrap();
    match outcome(&process) {
        Err(ProcessError::Rejected(JobError::Unserializable(why))) => {
            assert!(why.contains("no JSON form"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

fn closures_return_by_the_reducer_of_their_context(ctx: &mp::Context) {
    if ctx.method() != mp::StartMethod::Fork {
        return;
    }
    for reducer in Reducer::all() {
        let ctx = ctx.clone().with_reducer(reducer);
        let process = ctx.process_fn(|| Everything::new(1));
        assert_eq!(value(process), Everything::new(1), "{reducer}");
        assert_eq!(value(ctx.process_fn(|| Err::<(), _>(7))), Err(7), "{reducer}");
    }
}

/// The default of this process, and that of a process which it starts after changing its own.
#[mp::task]
fn defaults(method: String, grandchild: bool) -> (String, Option<String>) {
    let name = || mp::get_context(mp::StartMethod::Spawn).reducer().to_string();
    let before = name();
    if !grandchild {
        return (before, None);
    }
    mp::set_reducer(Reducer::postcard());
    assert_eq!(name(), "postcard");
    let ctx = mp::get_context(method.parse::<mp::StartMethod>().unwrap());
    let (there, _) = value(ctx.process::<defaults>((method, false)));
    (before, Some(there))
}

fn a_default_reducer_stays_where_it_was_set(ctx: &mp::Context) {
    let method = ctx.method().to_string();
    let ctx = ctx.clone().with_reducer(super::MSGPACK);
    let seen = value(ctx.process::<defaults>((method, true)));
    assert_eq!(seen, ("bincode".to_owned(), Some("bincode".to_owned())));
}
