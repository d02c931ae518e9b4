//! Shared objects and descriptors as inputs and results of tasks.

use super::{get, pool};
use mpserverd_tests::{eventually, suite};
use std::io::{Read, Write};

#[mp::task]
fn count(value: mp::Value<u64>, by: u64) -> u64 {
    value.fetch_add(by);
    by
}

#[mp::task]
fn write_into(pipe: mp::Passed<std::io::PipeWriter>) {
    (&pipe.0).write_all(b"x").unwrap();
}

#[mp::task]
fn make_queue(first: u64) -> mp::SimpleQueue<u64> {
    let queue = mp::SimpleQueue::new().unwrap();
    queue.put(&first).unwrap();
    queue
}

fn shared_objects_are_inputs(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let value = mp::Value::new(0u64).unwrap();
    let sum = pool.starmap::<count>((1..=100).map(|by| (value.clone(), by))).unwrap();
    assert_eq!((sum.len(), value.value()), (100, 5050));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let writers = (0..10).map(|_| mp::Passed(writer.try_clone().unwrap()));
    pool.map::<write_into>(writers).unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x".repeat(10), "and no copy is left open anywhere");
}

fn shared_objects_are_results(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let queues = pool.mapping::<make_queue>().chunk(5).map(0..20).unwrap();
    for (at, queue) in (0..).zip(&queues) {
        assert_eq!(queue.get().unwrap(), at);
    }
    let result = pool.apply_async::<make_queue>((7,)).unwrap();
    let (one, same) = (get(&result).unwrap(), get(&result).unwrap());
    assert_eq!(one.get().unwrap(), 7);
    same.put(&8).unwrap();
    assert_eq!(one.get().unwrap(), 8, "read twice it is one queue");
}

fn handles_survive_a_lost_worker(ctx: &mp::Context) {
    let pool = ctx.pool().processes(1).retries(1).build().unwrap();
    let value = mp::Value::new(0u64).unwrap();
    assert!(pool.apply::<count_or_die>((value.clone(),)).unwrap() >= 2);
    assert!(eventually(super::PATIENCE, || value.value() == 2));
}

/// Dies the first time.
#[mp::task]
fn count_or_die(value: mp::Value<u64>) -> u64 {
    let before = value.fetch_add(1);
    if before == 0 {
        std::process::abort();
    }
    before + 1
}

suite![shared_objects_are_inputs, shared_objects_are_results, handles_survive_a_lost_worker];
