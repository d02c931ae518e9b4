//! Queues: items, room, the end, and work that is done.

use crate::{SHORT, in_tokio, in_vain, poll_once, soon};
use mp::{Consumer, GetError, JoinError, JoinableQueue, Producer, PutError, Queue, SimpleQueue};
use mpserverd_tests::suite;
use mpserverd_tests::suite::end;
use std::pin::pin;

suite![items_of_others, room_of_others, work_of_others, large_items_and_handles];

#[mp::task]
fn put_all(queue: Producer<u32>, count: u32) {
    for number in 0..count {
        if number % 50 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        queue.put(&number).unwrap();
    }
}

fn items_of_others(ctx: &mp::Context) {
    let (producer, consumer) = Queue::<u32>::new().unwrap().split();
    in_tokio(async {
        in_vain("nobody puts", consumer.get_async()).await;
        let process = ctx.process::<put_all>((producer.clone(), 500)).start().unwrap();
        for number in 0..400 {
            assert_eq!(soon("an item", consumer.get_async()).await.unwrap(), number);
        }
        let mut rest = Vec::new();
        while rest.len() < 100 {
            rest.extend(soon("items", consumer.get_many_async(64)).await.unwrap());
        }
        assert!(rest.into_iter().eq(400..500));
        assert_eq!(soon("its end", process.join_async()).await, 0);
        in_vain("we could put", consumer.get_async()).await;
        drop(producer);
        let error = soon("nobody could put", consumer.get_async()).await.unwrap_err();
        assert!(matches!(error, GetError::ProducersGone { .. }), "{error}");
    });
}

#[mp::task]
fn take_slowly(queue: Consumer<u64>) -> u64 {
    std::thread::sleep(SHORT);
    queue.iter().map(Result::unwrap).sum()
}

fn room_of_others(ctx: &mp::Context) {
    let queue = Queue::<u64>::bounded(2).unwrap();
    let (producer, consumer) = queue.split();
    let process = in_tokio(async {
        soon("room", producer.put_async(&0)).await.unwrap();
        soon("room", producer.put_async(&1)).await.unwrap();
        in_vain("no room", producer.put_async(&1000)).await;
        let process = ctx.process::<take_slowly>((consumer.clone(),)).start().unwrap();
        for number in 2..100 {
            soon("room", producer.put_async(&number)).await.unwrap();
        }
        process
    });
    drop(producer);
    assert_eq!(suite::outcome(&process).unwrap(), 99 * 100 / 2);
    let (producer, consumer) = Queue::<u64>::bounded(1).unwrap().split();
    in_tokio(async {
        producer.put_async(&1).await.unwrap();
        let mut puts = pin!(producer.put_async(&2));
        assert!(poll_once(puts.as_mut()).is_pending());
        drop(consumer);
        let error = soon("nobody could take", puts).await.unwrap_err();
        assert!(matches!(error, PutError::ConsumersGone { .. }), "{error}");
    });
}

#[mp::task]
fn do_all(queue: JoinableQueue<u32>) {
    for _ in 0..10 {
        let _item = queue.get().unwrap();
        std::thread::sleep(SHORT / 10);
        queue.task_done().unwrap();
    }
}

fn work_of_others(ctx: &mp::Context) {
    let queue = JoinableQueue::<u32>::new().unwrap();
    in_tokio(async {
        soon("nothing is to be done", queue.join_async()).await.unwrap();
        for number in 0..10 {
            queue.put_async(&number).await.unwrap();
        }
        in_vain("nobody does it", queue.join_async()).await;
        let process = ctx.process::<do_all>((queue.clone(),)).start().unwrap();
        soon("all is done", queue.join_async()).await.unwrap();
        assert_eq!(queue.unfinished(), 0);
        assert_eq!(soon("its end", process.join_async()).await, 0);
    });
}

#[mp::task]
fn take_and_die(queue: JoinableQueue<u32>) {
    let _item = queue.get().unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn lost_work_is_told() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let queue = JoinableQueue::<u32>::new().unwrap();
    in_tokio(async {
        queue.put_async(&1).await.unwrap();
        let process = ctx.process::<take_and_die>((queue.clone(),)).start().unwrap();
        let error = soon("it is lost", queue.join_async()).await.unwrap_err();
        assert!(matches!(error, JoinError::ItemsLost { items: 1, .. }), "{error}");
        assert_eq!(soon("its end", process.join_async()).await, -9);
    });
}

type Parcel = (Vec<u64>, Option<mp::SharedFd>);

#[mp::task]
fn send_back(from: Consumer<Parcel>, to: Producer<Parcel>) {
    for parcel in from.iter() {
        to.put(&parcel.unwrap()).unwrap();
    }
}

fn large_items_and_handles(ctx: &mp::Context) {
    let options = mp::QueueOptions::new().max_bytes(4096);
    let (there, theirs) = Queue::<Parcel>::with_options(options).unwrap().split();
    let (back, ours) = Queue::<Parcel>::with_options(options).unwrap().split();
    let process = ctx.process::<send_back>((theirs, back)).start().unwrap();
    in_tokio(async {
        let null = mp::SharedFd::from(std::fs::File::open("/dev/null").unwrap());
        let sends = async {
            for number in 0..40u64 {
                let length = if number % 4 == 0 { 10_000 } else { 30 };
                let fd = (number % 3 == 0).then(|| null.clone());
                there.put_async(&(vec![number; length], fd)).await.unwrap();
            }
        };
        let receives = async {
            for number in 0..40u64 {
                let (numbers, fd) = ours.get_async().await.unwrap();
                assert!(numbers.iter().all(|other| *other == number));
                assert_eq!(fd.is_some(), number % 3 == 0);
            }
        };
        soon("all come back", async { tokio::join!(sends, receives) }).await;
    });
    drop(there);
    assert_eq!(end(&process), 0);
}

#[test]
fn a_simple_queue_and_one_that_is_closed() {
    let simple = SimpleQueue::<String>::new().unwrap();
    let queue = Queue::<u32>::new().unwrap();
    in_tokio(async {
        simple.put_async(&"one".to_owned()).await.unwrap();
        assert_eq!(simple.get_async().await.unwrap(), "one");
        let other = queue.clone();
        let gets = queue.get_async();
        let closes = async {
            tokio::time::sleep(SHORT).await;
            other.close();
        };
        let (got, ()) = soon("it is told", async { tokio::join!(gets, closes) }).await;
        assert!(matches!(got, Err(GetError::Closed { .. })));
        assert!(matches!(queue.put_async(&1).await, Err(PutError::Closed { .. })));
    });
}

#[test]
fn the_future_of_a_put_does_not_borrow_its_item() {
    let queue = Queue::<Vec<u8>>::bounded(1).unwrap();
    let first = queue.put_async(&vec![1]);
    let second = queue.put_async(&vec![2]);
    in_tokio(async {
        // The second was made later and is put first.
        second.await.unwrap();
        let (put, got) = tokio::join!(first, queue.get_async());
        put.unwrap();
        assert_eq!(got.unwrap(), [2]);
        assert_eq!(queue.get_async().await.unwrap(), [1]);
    });
}
