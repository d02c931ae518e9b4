//! What a context makes works in processes of every start method, whichever context made it.

use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome, value};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const NOW: Option<Duration> = Some(Duration::ZERO);

/// One of each.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Everything {
    lock: mp::Lock,
    rlock: mp::RLock,
    condition: mp::Condition,
    of_the_lock: mp::Condition,
    semaphore: mp::Semaphore,
    bounded: mp::BoundedSemaphore,
    event: mp::Event,
    barrier: mp::Barrier,
    queue: mp::Queue<String>,
    full: mp::Queue<u8>,
    joinable: mp::JoinableQueue<u32>,
    simple: mp::SimpleQueue<u32>,
    raw_value: mp::RawValue<u64>,
    raw_array: mp::RawArray<u16>,
    value: mp::Value<i64>,
    of_a_lock: mp::Value<f64>,
    array: mp::Array<u8>,
    of_the_same: mp::Array<u8>,
    segment: mp::SharedMemory,
    list: mp::ShareableList,
}

fn everything(ctx: &mp::Context) -> Everything {
    let lock = ctx.lock().unwrap();
    let full = ctx.queue_with(mp::QueueOptions::new().max_items(1)).unwrap();
    full.put(&0).unwrap();
    let joinable = ctx.joinable_queue_with(mp::QueueOptions::new().max_items(3)).unwrap();
    joinable.put(&1).unwrap();
    Everything {
        of_the_lock: ctx.condition_with_lock(&lock).unwrap(),
        of_a_lock: ctx.value_with_lock(1.5, &lock).unwrap(),
        of_the_same: ctx.array_with_lock(b"abc", &lock).unwrap(),
        lock,
        rlock: ctx.rlock().unwrap(),
        condition: ctx.condition().unwrap(),
        semaphore: ctx.semaphore(2).unwrap(),
        bounded: ctx.bounded_semaphore(1).unwrap(),
        event: ctx.event().unwrap(),
        barrier: ctx.barrier(2, Some(PATIENCE)).unwrap(),
        queue: ctx.queue().unwrap(),
        full,
        joinable,
        simple: ctx.simple_queue().unwrap(),
        raw_value: ctx.raw_value(7).unwrap(),
        raw_array: ctx.raw_array(&[1, 2, 3]).unwrap(),
        value: ctx.value(-7).unwrap(),
        array: ctx.array(b"xyz").unwrap(),
        segment: ctx.shared_memory(None, 64).unwrap(),
        list: ctx.shareable_list([1.into(), "two".into()]).unwrap(),
    }
}

/// Uses each, and leaves something behind for whoever started this.
#[mp::task]
fn use_all(all: Everything, connection: mp::Connection) {
    assert_eq!(all.lock.acquire(false, None), mp::Acquired::No, "the starter holds it");
    drop(all.rlock.lock().unwrap());
    all.event.set();
    all.barrier.wait(None).unwrap();
    {
        let _held = all.condition.lock().unwrap();
        assert_eq!(all.condition.notify_all().unwrap(), 0);
    }
    assert!(all.of_the_lock.locked());
    assert!(all.semaphore.acquire(true, None).unwrap());
    assert_eq!(all.bounded.get_value(), 1);
    all.bounded.release().unwrap_err();
    all.queue.put(&"from the worker".to_owned()).unwrap();
    assert!(matches!(all.full.put_nowait(&1), Err(mp::PutError::Full { .. })));
    assert_eq!(all.joinable.get().unwrap(), 1);
    all.joinable.task_done().unwrap();
    all.simple.put(&2).unwrap();
    all.raw_value.fetch_add(1);
    all.raw_array.set(1, 20).unwrap();
    all.value.fetch_add(-1);
    all.array.copy_from(1, b"-").unwrap();
    assert!(all.of_a_lock.get_lock().is_same(all.of_the_same.get_lock()));
    let same = mp::Context::default().attach_shared_memory(all.segment.name()).unwrap();
    same.write(0, b"seen").unwrap();
    all.list.set(1, "2").unwrap();
    assert_eq!(connection.recv::<String>().unwrap(), "hello");
    connection.send(&std::process::id()).unwrap();
    // Its own permit of the semaphore comes back when it ends.
}

suite![each_context_makes_for_all, listeners_and_clients_meet];

fn each_context_makes_for_all(ctx: &mp::Context) {
    let makers = mp::get_all_start_methods().iter().map(|method| mp::get_context(*method));
    for maker in makers.chain([mp::Context::default(), ctx.clone()]) {
        let all = everything(&maker);
        let (ours, theirs) = maker.pipe(true).unwrap();
        let held = all.lock.lock().unwrap();
        let process = ctx.process::<use_all>((all.clone(), theirs)).start().unwrap();
        ours.send("hello").unwrap();
        assert!(all.event.wait(Some(PATIENCE)));
        all.barrier.wait(None).unwrap();
        outcome(&process).unwrap();
        assert_eq!(end(&process), 0);
        drop(held);
        assert_eq!(ours.recv::<u32>().unwrap(), process.pid());
        assert_eq!(all.queue.get_timeout(PATIENCE).unwrap(), "from the worker");
        all.joinable.join_timeout(PATIENCE).unwrap();
        assert_eq!(all.simple.get().unwrap(), 2);
        assert_eq!((all.raw_value.get(), all.raw_array.to_vec()), (8, vec![1, 20, 3]));
        assert_eq!((all.value.value(), all.array.to_vec().unwrap()), (-8, b"x-z".to_vec()));
        let mut seen = [0; 4];
        all.segment.read(0, &mut seen).unwrap();
        assert_eq!((&seen, all.list.get(1).unwrap()), (b"seen", "2".into()));
        for _ in 0..2 {
            assert!(all.semaphore.acquire(true, Some(PATIENCE)).unwrap());
        }
        assert!(!all.semaphore.acquire(false, None).unwrap());
    }
}

#[mp::task]
fn call(address: std::path::PathBuf) -> String {
    let client = mp::Context::default().client(address).authkey(b"key").connect().unwrap();
    client.recv().unwrap()
}

fn listeners_and_clients_meet(ctx: &mp::Context) {
    let listener = ctx.listener().authkey(b"key").bind().unwrap();
    let mp::Address::Path(path) = listener.address().clone() else { panic!("{listener:?}") };
    let process = ctx.process::<call>((path,)).start().unwrap();
    listener.accept_timeout(PATIENCE).unwrap().send("found").unwrap();
    assert_eq!(outcome(&process).unwrap(), "found");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let ctx = mp::Context::default();
    for parties in [0, 1025] {
        assert!(matches!(ctx.barrier(parties, NOW), Err(mp::ShareError::Size { .. })));
    }
    assert!(matches!(ctx.semaphore(u32::MAX), Err(mp::ShareError::Size { .. })));
    let bytes = mp::QueueOptions::new().max_bytes(1);
    assert!(matches!(ctx.queue_with::<u8>(bytes), Err(mp::ShareError::Size { .. })));
    assert!(matches!(ctx.shared_memory(None, 0), Err(mp::ShareError::Size { .. })));
    assert_eq!(mp::fixed_start_method(), None, "none of this needs a start method");
}

/// The rest of what contexts of the reference can do.
#[test]
fn every_context_knows_the_process() {
    for ctx in [mp::Context::default(), mp::get_context(mp::StartMethod::Spawn)] {
        assert_eq!(ctx.cpu_count(), mp::cpu_count());
        assert_eq!(ctx.current_process().pid(), std::process::id());
        assert!(ctx.parent_process().is_none());
        ctx.allow_connection_pickling();
        ctx.freeze_support();
    }
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let process = spawn.process::<wait_for>((Duration::from_secs(60),)).start().unwrap();
    let known = spawn.active_children().iter().any(|child| child.pid() == process.pid());
    process.kill().unwrap();
    assert!(known);
    assert_eq!(value(spawn.process::<wait_for>((Duration::ZERO,))), ());
}

#[mp::task]
fn wait_for(time: Duration) {
    std::thread::sleep(time);
}
