//! Ten shared objects in one struct, by every way that values take, between processes of every
//! start method, made here or there.

use super::{Method, each_method};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ten objects, some in places where structs have them.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Ten {
    lock: mp::Lock,
    inner: Option<Inner>,
    condition: mp::Condition,
    events: Vec<mp::Event>,
    barrier: Box<mp::Barrier>,
    queue: mp::Queue<u32>,
    sink: mp::Producer<String>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Inner {
    semaphore: mp::Semaphore,
    value: mp::Value<u64>,
    array: (u8, mp::Array<i32>),
}

impl Ten {
    fn new() -> (Self, mp::Consumer<String>) {
        let (sink, said) = mp::Queue::new().unwrap().split();
        let inner = Inner {
            semaphore: mp::Semaphore::new(1).unwrap(),
            value: mp::Value::new(0).unwrap(),
            array: (3, mp::Array::zeroed(4).unwrap()),
        };
        let ten = Self {
            lock: mp::Lock::new().unwrap(),
            inner: Some(inner),
            condition: mp::Condition::new().unwrap(),
            events: vec![mp::Event::new().unwrap(), mp::Event::new().unwrap()],
            barrier: Box::new(mp::Barrier::new(2, Some(PATIENCE)).unwrap()),
            queue: mp::Queue::new().unwrap(),
            sink,
        };
        (ten, said)
    }

    /// One side of a meeting; both must use the same objects, or it never ends.
    fn meet(&self, host: bool) {
        let inner = self.inner.as_ref().unwrap();
        let (own, other) = (usize::from(host), usize::from(!host));
        self.events[own].set();
        assert!(self.events[other].wait(Some(PATIENCE)));
        for _ in 0..100 {
            let _guard = self.lock.lock().unwrap();
            inner.semaphore.acquire(true, Some(PATIENCE)).unwrap();
            inner.value.update(|value| value + 1);
            inner.array.1.update(usize::from(inner.array.0), |value| value + 1).unwrap();
            inner.semaphore.release().unwrap();
        }
        self.barrier.wait(None).unwrap();
        assert_eq!(inner.value.value(), 200);
        assert_eq!(inner.array.1.to_vec().unwrap(), [0, 0, 0, 200]);
        if host {
            // The guest waits for the item with the condition's lock, and is told of it.
            let _guard = self.condition.lock().unwrap();
            self.queue.put(&7).unwrap();
            self.condition.notify_all().unwrap();
        } else {
            let _guard = self.condition.lock().unwrap();
            let there = self.condition.wait_for(|| !self.queue.empty(), Some(PATIENCE));
            assert!(there.unwrap());
            assert_eq!(self.queue.get_nowait().unwrap(), 7);
            self.sink.put(&"met".to_owned()).unwrap();
        }
    }
}

fn host(ten: &Ten, said: &mp::Consumer<String>) {
    ten.meet(true);
    assert_eq!(said.get_timeout(PATIENCE).unwrap(), "met");
}

#[mp::task]
fn as_argument(ten: Ten) {
    ten.meet(false);
}

#[mp::task]
fn as_result() -> (Ten, mp::Consumer<String>) {
    Ten::new()
}

#[mp::task]
fn as_item(queue: mp::Consumer<Ten>) {
    queue.get().unwrap().meet(false);
}

#[mp::task]
fn as_message(connection: mp::Connection) {
    let ten: Ten = connection.recv().unwrap();
    ten.meet(false);
    connection.send(&ten).unwrap();
}

suite![ten_objects_take_every_way];

fn ten_objects_take_every_way(ctx: &mp::Context) {
    let (ten, said) = Ten::new();
    let process = ctx.process::<as_argument>((ten.clone(),)).start().unwrap();
    host(&ten, &said);
    assert_eq!(end(&process), 0);

    // Made by a process that is gone by now.
    let (ten, said) = value(ctx.process::<as_result>(()));
    let process = ctx.process::<as_argument>((ten.clone(),)).start().unwrap();
    host(&ten, &said);
    assert_eq!(end(&process), 0);

    let (ten, said) = Ten::new();
    let (letters, letterbox) = mp::Queue::new().unwrap().split();
    letters.put(&ten).unwrap();
    let process = ctx.process::<as_item>((letterbox,)).start().unwrap();
    host(&ten, &said);
    assert_eq!(end(&process), 0);

    let (ten, said) = Ten::new();
    let (ours, theirs) = mp::pipe(true).unwrap();
    let process = ctx.process::<as_message>((theirs,)).start().unwrap();
    ours.send(&ten).unwrap();
    host(&ten, &said);
    let back: Ten = ours.recv_timeout(PATIENCE).unwrap();
    assert!(back.lock.is_same(&ten.lock) && back.queue.is_same(&ten.queue));
    assert_eq!(end(&process), 0);
}

/// Makes objects and gives them to a process of another method.
#[mp::task]
fn make_and_pass_on(method: Method) {
    let (ten, said) = Ten::new();
    let process = method.context().process::<as_argument>((ten.clone(),)).start().unwrap();
    host(&ten, &said);
    assert_eq!(end(&process), 0);
}

/// `test_mixed_startmethod`: the reference refuses what was made under `fork`; here all mix.
#[test]
fn test_mixed_startmethod() {
    let mixed = AtomicU32::new(0);
    each_method(|maker| {
        each_method(|user| {
            // In a worker, which has no threads that a fork could miss.
            let process = mp::get_context(mp::StartMethod::Spawn)
                .process::<make_under>((maker.clone(), user))
                .start()
                .unwrap();
            outcome(&process).unwrap();
            mixed.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(mixed.into_inner(), 9);
}

#[mp::task]
fn make_under(maker: Method, user: Method) {
    let process = maker.context().process::<make_and_pass_on>((user,)).start().unwrap();
    outcome(&process).unwrap();
}
