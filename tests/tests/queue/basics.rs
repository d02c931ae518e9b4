//! One process: every form of `put` and `get`, bounds, closing, misuse.

use mp::{GetError, PutError, Queue, QueueOptions, SimpleQueue};
use mpserverd_tests::suite::PATIENCE;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(80);

/// Runs something and tells whether it took as long as it was to wait.
fn waits<R>(time: Duration, run: impl FnOnce() -> R) -> R {
    let begun = Instant::now();
    let result = run();
    assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
    result
}

#[test]
fn test_put() {
    let queue = Queue::<u32>::bounded(6).unwrap();
    assert!(queue.empty() && !queue.full());
    queue.put(&1).unwrap();
    queue.put_with(&2, true, None).unwrap();
    queue.put_with(&3, true, Some(SOON)).unwrap();
    queue.put_with(&4, false, None).unwrap();
    queue.put_nowait(&5).unwrap();
    queue.put_timeout(&6, SOON).unwrap();
    assert!(!queue.empty() && queue.full());
    assert!(queue.put_nowait(&7).unwrap_err().is_full());
    assert!(queue.put_with(&7, false, None).unwrap_err().is_full());
    // A timeout without `block` is ignored.
    assert!(queue.put_with(&7, false, Some(10 * PATIENCE)).unwrap_err().is_full());
    assert!(waits(SOON, || queue.put_with(&7, true, Some(SOON)).unwrap_err()).is_full());
    assert!(waits(SOON, || queue.put_timeout(&7, SOON).unwrap_err()).is_full());
    let error = waits(SOON, || queue.put_many_timeout(&[7, 8], SOON).unwrap_err());
    assert_eq!((error.done, error.source.is_full()), (0, true));
    assert_eq!(queue.get_many(10).unwrap(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(queue.put_many(&[7, 8]).unwrap(), 2);
    let error = queue.put_many_timeout(&[9, 10, 11, 12, 13], Duration::ZERO).unwrap_err();
    assert_eq!((error.done, queue.qsize()), (4, 6));
}

#[test]
fn test_get() {
    let queue = Queue::<String>::new().unwrap();
    let text = |number: u32| format!("item {number}");
    for number in 1..=7 {
        queue.put(&text(number)).unwrap();
    }
    assert_eq!(queue.get_with(true, None).unwrap(), text(1));
    assert_eq!(queue.get().unwrap(), text(2));
    assert_eq!(queue.get_with(true, Some(SOON)).unwrap(), text(3));
    assert_eq!(queue.get_with(false, None).unwrap(), text(4));
    assert_eq!(queue.get_nowait().unwrap(), text(5));
    assert_eq!(queue.get_timeout(SOON).unwrap(), text(6));
    assert_eq!(queue.get_many_timeout(3, SOON).unwrap(), [text(7)]);
    assert!(queue.empty());
    assert!(queue.get_nowait().unwrap_err().is_empty());
    assert!(queue.get_with(false, Some(10 * PATIENCE)).unwrap_err().is_empty());
    assert!(waits(SOON, || queue.get_with(true, Some(SOON)).unwrap_err()).is_empty());
    assert!(waits(SOON, || queue.get_timeout(SOON).unwrap_err()).is_empty());
    assert!(queue.get_many_timeout(3, Duration::ZERO).unwrap_err().source.is_empty());
    assert_eq!(queue.get_many(0).unwrap(), [""; 0]);
}

#[test]
fn test_qsize() {
    let queue = Queue::<u8>::new().unwrap();
    let sizes = |queue: &Queue<u8>| (queue.qsize(), queue.empty());
    assert_eq!(sizes(&queue), (0, true));
    queue.put(&1).unwrap();
    assert_eq!(sizes(&queue), (1, false));
    queue.put_many(&[2; 100]).unwrap();
    assert_eq!(sizes(&queue), (101, false));
    queue.get().unwrap();
    queue.get_many(60).unwrap();
    assert_eq!(sizes(&queue), (40, false));
    queue.get_many(60).unwrap();
    assert_eq!(sizes(&queue), (0, true));
}

/// Cannot be serialised when it says so.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
struct Fussy(bool);

impl serde::Serialize for Fussy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(serde::ser::Error::custom("not this one"));
        }
        serializer.serialize_bool(self.0)
    }
}

#[test]
fn test_queue_feeder_donot_stop_onexc() {
    let queue = Queue::<Fussy>::bounded(1).unwrap();
    let error = queue.put(&Fussy(true)).unwrap_err();
    assert!(matches!(&error, PutError::Encode { queue: "Queue", .. }), "{error}");
    assert!(error.to_string().contains("not this one"), "{error}");
    // It took no slot.
    queue.put_nowait(&Fussy(false)).unwrap();
    assert_eq!(queue.get().unwrap(), Fussy(false));
    let queue = Queue::<Fussy>::new().unwrap();
    let error = queue.put_many(&[Fussy(false), Fussy(false), Fussy(true)]).unwrap_err();
    assert!(matches!((error.done, error.source), (2, PutError::Encode { .. })));
    assert_eq!(queue.qsize(), 2);
}

#[test]
fn test_closed_queue_put_get_exceptions() {
    let queue = Queue::<u32>::new().unwrap();
    let same = queue.clone();
    queue.put(&1).unwrap();
    queue.close();
    queue.close();
    assert!(queue.closed() && same.closed());
    for queue in [queue, same] {
        let error = queue.put(&2).unwrap_err();
        assert!(matches!(error, PutError::Closed { queue: "Queue" }), "{error}");
        assert!(matches!(queue.put_nowait(&2), Err(PutError::Closed { .. })));
        assert!(matches!(queue.put_many(&[2]).unwrap_err().source, PutError::Closed { .. }));
        let error = queue.get().unwrap_err();
        assert!(matches!(error, GetError::Closed { queue: "Queue" }), "{error}");
        assert!(matches!(queue.get_nowait(), Err(GetError::Closed { .. })));
        assert!(matches!(queue.get_many(2).unwrap_err().source, GetError::Closed { .. }));
        assert_eq!(queue.iter().count(), 0);
    }
}

/// `TestSimpleQueue`.
#[test]
fn test_empty() {
    let queue = SimpleQueue::<bool>::new().unwrap();
    assert!(queue.empty().unwrap());
    queue.put(&true).unwrap();
    assert!(!queue.empty().unwrap());
    assert!(queue.get().unwrap());
    assert!(queue.empty().unwrap());
}

/// `TestSimpleQueue`.
#[test]
fn test_close() {
    let queue = SimpleQueue::<u32>::new().unwrap();
    queue.close();
    queue.close();
    let error = queue.empty().unwrap_err();
    assert!(matches!(error, GetError::Closed { queue: "SimpleQueue" }), "{error}");
    assert!(matches!(queue.put(&1), Err(PutError::Closed { .. })));
    assert!(matches!(queue.get(), Err(GetError::Closed { .. })));
}

#[test]
fn what_was_put_is_there_when_put_returns() {
    let queue = Queue::<u64>::new().unwrap();
    for number in 0..10_000 {
        queue.put(&number).unwrap();
        assert!(!queue.empty());
        assert_eq!(queue.get_nowait().unwrap(), number);
        assert!(queue.empty());
    }
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    let with = |options| Queue::<u8>::with_options(options).map(drop);
    let refused = [
        QueueOptions::new().max_bytes(0),
        QueueOptions::new().max_bytes(63),
        QueueOptions::new().max_bytes(u64::MAX),
        QueueOptions::new().max_items(usize::MAX),
    ];
    for options in refused {
        let error = with(options).unwrap_err();
        assert!(matches!(error, mp::ShareError::Size { object: "Queue", .. }), "{error}");
    }
    with(QueueOptions::new().max_bytes(64).max_items(1)).unwrap();
    with(QueueOptions::new().max_bytes(8 << 30).max_items(1 << 30)).unwrap();
}

#[test]
fn a_limit_of_bytes_holds() {
    let queue = Queue::<Vec<u8>>::with_options(QueueOptions::new().max_bytes(4096)).unwrap();
    let mut put = 0;
    while queue.put_nowait(&vec![1; 100]).is_ok() {
        put += 1;
    }
    // 8 bytes for the item, 8 for its length, 104 for its bytes.
    assert_eq!(put, 4096 / 120);
    assert!(queue.put_nowait(&vec![2; 200]).unwrap_err().is_full());
    // One that is larger than all waits until it is alone.
    assert!(queue.put_nowait(&vec![3; 10_000]).unwrap_err().is_full());
    assert_eq!(queue.get_many(1000).unwrap().len(), put);
    queue.put_nowait(&vec![3; 10_000]).unwrap();
    assert!(queue.put_nowait(&vec![3; 10_000]).unwrap_err().is_full());
    queue.put_nowait(&vec![4; 10]).unwrap();
    assert_eq!(queue.get().unwrap(), [3; 10_000]);
    assert_eq!(queue.get().unwrap(), [4; 10]);
}

#[test]
fn byte_strings_are_the_same_by_every_way() {
    let queue = Queue::<Vec<u8>>::with_options(QueueOptions::new().max_bytes(1 << 16)).unwrap();
    for length in [0, 1, 7, 8, 9, 4000, 65_000, 65_520, 65_536, 70_000, 1 << 20] {
        let item = (0..length).map(|at| at as u8).collect::<Vec<u8>>();
        queue.put(&item).unwrap();
        assert_eq!(queue.get().unwrap(), item);
        queue.put_many([&item]).unwrap();
        assert_eq!(queue.get().unwrap(), item);
        queue.put(&item).unwrap();
        assert_eq!(queue.get_many(1).unwrap(), [item]);
    }
}

#[test]
fn items_beyond_a_gigabyte_in_all_go_through_and_leave_no_memory() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssShmem:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let before = resident();
    for _ in 0..6 {
        for _ in 0..200 {
            queue.put(&vec![7; 1 << 20]).unwrap();
        }
        assert_eq!(queue.get_many(usize::MAX).unwrap().len(), 200);
    }
    // What is left is given back when the next item begins a block.
    queue.put(&vec![7; 1 << 20]).unwrap();
    // Other tests of this process have memory too, for a while.
    let left = || resident() < before + 20_000;
    assert!(mpserverd_tests::eventually(PATIENCE, left), "{} and {before} KiB", resident());
}

#[test]
fn an_item_of_another_type_is_an_error_with_its_bytes() {
    let numbers = Queue::<u16>::new().unwrap();
    numbers.put_many(&[1, 2, 3]).unwrap();
    // The same queue under another type, as a program of another version would have it.
    let (bytes, fds) = mp::handles::collect(|| serde_json::to_vec(&numbers));
    let texts =
        mp::handles::provide(fds, || serde_json::from_slice::<Queue<String>>(&bytes.unwrap()));
    let texts = texts.unwrap();
    match texts.get().unwrap_err() {
        GetError::Decode { bytes, .. } => assert_eq!(bytes, [1, 0]),
        other => panic!("{other}"),
    }
    texts.put(&"4".to_owned()).unwrap();
    let error = texts.get_many(10).unwrap_err();
    assert!(matches!(error.source, GetError::Decode { .. }));
    assert_eq!(error.items, ["4"]);
    assert_eq!(texts.qsize(), 0);
}
