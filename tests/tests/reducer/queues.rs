//! Items of queues.

use super::{DRAFT, MSGPACK, binary};
use mp::{
    CodecError, GetError, JoinableQueue, PutError, Queue, QueueOptions, Reducer, SimpleQueue,
};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, value};
use serde::{Deserialize, Serialize};
use std::fs::File;

suite![items_come_through, handles_are_items_but_for_text];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    number: u64,
    text: Option<String>,
}

fn items() -> Vec<Item> {
    let text = |number| (number % 2 == 0).then(|| "x".repeat(number as usize % 500));
    (0..1000).map(|number| Item { number, text: text(number) }).collect()
}

#[mp::task]
fn double(from: Queue<Item>, to: JoinableQueue<Item>) {
    for mut item in from.consumer().get_many_timeout(usize::MAX, PATIENCE).unwrap() {
        item.number *= 2;
        to.put(&item).unwrap();
    }
}

#[mp::task]
fn plain(numbers: Queue<u32>, bytes: Queue<Vec<u8>>, one: SimpleQueue<String>) -> String {
    let numbers = numbers.get_many(10).unwrap();
    let bytes = bytes.get().unwrap();
    format!("{numbers:?} {bytes:?} {} {}", one.get().unwrap(), one.reducer())
}

fn items_come_through(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let from = Queue::with_reducer(reducer).unwrap();
        let to = JoinableQueue::with_reducer(reducer).unwrap();
        assert_eq!((from.reducer(), to.reducer()), (reducer, reducer));
        from.put_many(&items()).unwrap();
        value(ctx.process::<double>((from.clone(), to.clone())));
        let expected = items().into_iter().map(|item| Item { number: 2 * item.number, ..item });
        assert_eq!(to.get_many(2000).unwrap(), expected.collect::<Vec<_>>(), "{reducer}");
        to.tasks_done(1000).unwrap();
        to.join_timeout(PATIENCE).unwrap();

        // What bincode has short ways for.
        let numbers = Queue::with_reducer(reducer).unwrap();
        numbers.put(&7).unwrap();
        numbers.put_many(&[8, u32::MAX]).unwrap();
        let bytes = Queue::with_reducer(reducer).unwrap();
        bytes.put(&vec![0, 255]).unwrap();
        let one = SimpleQueue::with_reducer(reducer).unwrap();
        one.put(&"one".to_owned()).unwrap();
        let seen = value(ctx.process::<plain>((numbers, bytes, one)));
        assert_eq!(seen, format!("[7, 8, {}] [0, 255] one {reducer}", u32::MAX));
    }
}

#[mp::task]
fn lock_of(queue: Queue<(u8, mp::Lock)>) {
    let (number, lock) = queue.get_timeout(PATIENCE).unwrap();
    assert_eq!(number, 7);
    std::mem::forget(lock.lock().unwrap());
}

fn handles_are_items_but_for_text(ctx: &mp::Context) {
    for reducer in binary() {
        let lock = mp::Lock::new().unwrap();
        let queue = Queue::with_reducer(reducer).unwrap();
        queue.put(&(7, lock.clone())).unwrap();
        value(ctx.process::<lock_of>((queue,)));
        // Whoever ended with it locked was the one that was meant.
        assert!(lock.lock().is_err(), "{reducer}");
    }
    let queue = Queue::<mp::Passed<File>>::with_reducer(Reducer::json()).unwrap();
    let null = || mp::Passed(File::open("/dev/null").unwrap());
    match queue.put(&null()) {
        Err(PutError::Encode { source: CodecError::Unserializable(why), .. }) => {
            assert!(why.contains("no JSON form"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(queue.put_many(&[null(), null()]).is_err() && queue.empty());
}

#[test]
fn what_is_larger_than_the_queue_goes_beside_it() {
    for reducer in Reducer::all() {
        let options = QueueOptions::new().max_bytes(4096).reducer(reducer);
        let queue = Queue::<(u8, String)>::with_options(options).unwrap();
        let large = (1, "y".repeat(100_000));
        queue.put(&large).unwrap();
        assert_eq!(queue.get_timeout(PATIENCE).unwrap(), large, "{reducer}");
        let bytes = Queue::<Vec<u8>>::with_options(options).unwrap();
        bytes.put(&vec![7; 100_000]).unwrap();
        assert_eq!(bytes.get_timeout(PATIENCE).unwrap(), vec![7; 100_000], "{reducer}");
    }
}

#[test]
fn postcard_takes_less_room() {
    let fill = |reducer: Reducer| {
        let options = QueueOptions::new().max_bytes(4096).reducer(reducer);
        let queue = Queue::<(u64, u64, u64)>::with_options(options).unwrap();
        (0..4096).take_while(|_| queue.put_nowait(&(1, 2, 3)).is_ok()).count()
    };
    let (wide, compact) = (fill(Reducer::bincode()), fill(Reducer::postcard()));
    assert!(compact >= 2 * wide, "{compact} items, {wide} by bincode");
}

#[test]
fn an_item_of_another_type_is_given_back_as_bytes() {
    for reducer in [Reducer::postcard(), Reducer::json(), MSGPACK, DRAFT] {
        let queue = Queue::<String>::with_reducer(reducer).unwrap();
        queue.put(&"word".to_owned()).unwrap();
        let (bytes, fds) = mp::handles::collect(|| mp::Reducer::bincode().encode(&queue).unwrap());
        let other = mp::handles::provide(fds, || {
            mp::Reducer::bincode().decode::<Queue<Vec<(u64, String)>>>(&bytes).unwrap()
        });
        match other.get_nowait() {
            Err(GetError::Decode { bytes, source, .. }) => {
                assert_eq!(reducer.decode::<String>(&bytes).unwrap(), "word");
                assert!(source.to_string().contains("Vec<(u64, "), "{source}");
            }
            other => panic!("{reducer}: {other:?}"),
        }
    }
}
