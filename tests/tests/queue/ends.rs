//! Who is left: the end of all producers, the end of all consumers.

use mp::{Consumer, GetError, Producer, PutError, Queue};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end};
use nix::sys::signal::{Signal, raise};
use std::time::Duration;

suite![
    the_end_of_the_last_producer_is_the_end,
    a_killed_producer_is_gone,
    a_producer_on_its_way_counts,
    nobody_to_take_is_an_error_for_who_waits,
];

#[mp::task]
fn put_some(count: u32, queue: Producer<u32>) {
    for number in 0..count {
        queue.put(&number).unwrap();
    }
}

fn the_end_of_the_last_producer_is_the_end(ctx: &mp::Context) {
    let (producer, consumer) = Queue::new().unwrap().split();
    let second = producer.clone();
    let process = ctx.process::<put_some>((5, producer)).start().unwrap();
    assert_eq!(end(&process), 0);
    for number in 0..5 {
        assert_eq!(consumer.get().unwrap(), number);
    }
    // One is left, here.
    let short = Duration::from_millis(150);
    assert!(consumer.get_timeout(short).unwrap_err().is_empty());
    second.put(&7).unwrap();
    drop(second);
    assert_eq!(consumer.get().unwrap(), 7);
    assert!(consumer.get_timeout(PATIENCE).unwrap_err().is_producers_gone());
    assert!(consumer.get_nowait().unwrap_err().is_producers_gone());
    assert_eq!(consumer.iter().count(), 0);
}

#[mp::task]
fn die_as_producer(queue: Producer<u32>, ready: Producer<()>) {
    queue.put(&1).unwrap();
    ready.put(&()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let _ = raise(Signal::SIGKILL);
    drop(queue);
}

fn a_killed_producer_is_gone(ctx: &mp::Context) {
    let (producer, consumer) = Queue::new().unwrap().split();
    let (ready, is_ready) = Queue::new().unwrap().split();
    let process = ctx.process::<die_as_producer>((producer, ready)).start().unwrap();
    is_ready.get_timeout(PATIENCE).unwrap();
    assert_eq!(consumer.get().unwrap(), 1);
    let error = consumer.get_timeout(PATIENCE).unwrap_err();
    assert!(matches!(error, GetError::ProducersGone { queue: "Consumer" }), "{error}");
    assert_eq!(end(&process), -9);
}

fn a_producer_on_its_way_counts(_: &mp::Context) {
    let (producer, consumer) = Queue::<u32>::new().unwrap().split();
    let (letters, box_of_letters) = Queue::<Producer<u32>>::new().unwrap().split();
    letters.put(&producer).unwrap();
    drop((letters, producer));
    let short = Duration::from_millis(150);
    assert!(consumer.get_timeout(short).unwrap_err().is_empty());
    let producer = box_of_letters.get().unwrap();
    producer.put(&1).unwrap();
    drop(producer);
    assert_eq!(consumer.get().unwrap(), 1);
    assert!(consumer.get().unwrap_err().is_producers_gone());
    // One that nobody took out is gone with its box.
    let (producer, consumer) = Queue::<u32>::new().unwrap().split();
    let boxed = Queue::<Producer<u32>>::new().unwrap();
    boxed.put(&producer).unwrap();
    drop((producer, boxed));
    assert!(consumer.get_timeout(PATIENCE).unwrap_err().is_producers_gone());
}

#[mp::task]
fn take_one(queue: Consumer<u32>) -> u32 {
    queue.get().unwrap()
}

fn nobody_to_take_is_an_error_for_who_waits(ctx: &mp::Context) {
    let (producer, consumer) = Queue::<u32>::bounded(2).unwrap().split();
    let process = ctx.process::<take_one>((consumer,)).start().unwrap();
    producer.put(&1).unwrap();
    assert_eq!(end(&process), 0);
    producer.put(&2).unwrap();
    producer.put(&3).unwrap();
    let error = producer.put_timeout(&4, PATIENCE).unwrap_err();
    assert!(matches!(error, PutError::ConsumersGone { queue: "Producer" }), "{error}");
}

/// Both sides in one handle are never alone; closing it is letting go.
#[test]
fn a_whole_queue_is_a_producer_until_it_is_closed() {
    let queue = Queue::<u32>::new().unwrap();
    let consumer = queue.consumer();
    let short = Duration::from_millis(120);
    assert!(queue.get_timeout(short).unwrap_err().is_empty());
    assert!(consumer.get_timeout(short).unwrap_err().is_empty());
    queue.put(&1).unwrap();
    queue.close();
    assert_eq!(consumer.get().unwrap(), 1);
    assert!(consumer.get_timeout(PATIENCE).unwrap_err().is_producers_gone());
}
