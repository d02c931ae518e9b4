//! Watching a queue by its descriptor: poll, and an async runtime without a thread for it.

use mp::{GetError, Producer, Queue};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::BorrowedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

suite![
    items_of_others_wake_a_watcher,
    tokio_awaits_items_without_a_thread,
    queues_beside_connections_and_processes,
];

fn is_readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let timeout = PollTimeout::try_from(within).unwrap();
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, timeout).unwrap() > 0
}

#[test]
fn readable_while_there_are_items() {
    let queue = Queue::<u32>::new().unwrap();
    queue.put(&1).unwrap();
    let fd = queue.readiness().unwrap();
    assert!(is_readable(fd, Duration::ZERO));
    queue.put(&2).unwrap();
    assert_eq!(queue.get_nowait().unwrap(), 1);
    assert!(is_readable(fd, Duration::ZERO));
    assert_eq!(queue.get_nowait().unwrap(), 2);
    assert!(queue.get_nowait().unwrap_err().is_empty());
    // But for the timer that looks after the dead it would be so for ever.
    let quiet = (0..20).filter(|_| {
        let _ = queue.get_nowait();
        !is_readable(fd, Duration::ZERO)
    });
    assert!(quiet.count() > 0);
    for round in 0..1000 {
        queue.put(&round).unwrap();
        assert!(is_readable(fd, Duration::ZERO));
        assert_eq!(queue.get_nowait().unwrap(), round);
        let _ = queue.get_nowait();
    }
}

#[test]
fn the_last_producer_wakes_a_watcher() {
    let (producer, consumer) = Queue::<u32>::new().unwrap().split();
    let fd = consumer.readiness().unwrap();
    assert!(consumer.get_nowait().unwrap_err().is_empty());
    drop(producer);
    assert!(is_readable(fd, PATIENCE));
    assert!(consumer.get_nowait().unwrap_err().is_producers_gone());
}

#[mp::task]
fn put_slowly(count: u32, queue: Producer<u32>) {
    for number in 0..count {
        if number % 16 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        queue.put(&number).unwrap();
    }
}

fn items_of_others_wake_a_watcher(ctx: &mp::Context) {
    let (producer, consumer) = Queue::new().unwrap().split();
    let fd = consumer.readiness().unwrap();
    let process = ctx.process::<put_slowly>((200, producer)).start().unwrap();
    let mut expected = 0;
    loop {
        match consumer.get_nowait() {
            Ok(number) => {
                assert_eq!(number, expected);
                expected += 1;
            }
            Err(GetError::Empty { .. }) => assert!(is_readable(fd, PATIENCE)),
            Err(GetError::ProducersGone { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((expected, end(&process)), (200, 0));
}

/// Everything from a queue, awaited.
async fn collect(consumer: &mp::Consumer<u32>) -> Vec<u32> {
    #[allow(deprecated, reason = "its replacement is unsafe; the descriptor outlives this")]
    let watch = AsyncFd::new(consumer.readiness().unwrap()).unwrap();
    let mut items = Vec::new();
    loop {
        let mut ready = watch.readable().await.unwrap();
        loop {
            match consumer.get_nowait() {
                Ok(item) => items.push(item),
                Err(GetError::Empty { .. }) => break,
                Err(GetError::ProducersGone { .. }) => return items,
                Err(other) => panic!("{other}"),
            }
        }
        ready.clear_ready();
    }
}

fn tokio_awaits_items_without_a_thread(ctx: &mp::Context) {
    let queues = (0..4).map(|_| Queue::new().unwrap().split()).collect::<Vec<_>>();
    let (producers, consumers): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
    let start = |producer| ctx.process::<put_slowly>((100, producer)).start().unwrap();
    let processes = producers.into_iter().map(start).collect::<Vec<_>>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let expected = (0..100).collect::<Vec<_>>();
    runtime.block_on(async {
        let [one, two, three, four] = &consumers[..] else { panic!("four") };
        let all = async { tokio::join!(collect(one), collect(two), collect(three), collect(four)) };
        let all = tokio::time::timeout(PATIENCE, all).await.expect("in time");
        assert!([all.0, all.1, all.2, all.3].iter().all(|items| *items == expected));
    });
    for process in &processes {
        assert_eq!(end(process), 0);
    }
}

fn queues_beside_connections_and_processes(ctx: &mp::Context) {
    let (producer, consumer) = Queue::<u32>::new().unwrap().split();
    let other = mp::JoinableQueue::<u32>::new().unwrap();
    let (ours, theirs) = mp::pipe(true).unwrap();
    let process = ctx.process::<put_slowly>((1, producer)).start().unwrap();
    let ready = |timeout| mp::wait(&[&consumer, &ours, &other], Some(timeout));
    assert_eq!(ready(PATIENCE), [0]);
    assert_eq!(consumer.get().unwrap(), 0);
    // Its end is something to be told too.
    assert_eq!(ready(PATIENCE), [0]);
    assert!(consumer.get().unwrap_err().is_producers_gone());
    assert_eq!(mp::wait(&[&process], Some(PATIENCE)), [0]);
    let quiet = |timeout| mp::wait(&[&ours, &other], Some(timeout));
    let begun = std::time::Instant::now();
    assert!(quiet(Duration::from_millis(120)).is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(120));
    other.put(&1).unwrap();
    assert_eq!(quiet(PATIENCE), [1]);
    theirs.send(&1u8).unwrap();
    assert_eq!(quiet(PATIENCE), [0, 1]);
    assert_eq!(other.get().unwrap(), 1);
    assert_eq!(quiet(PATIENCE), [0]);
}
