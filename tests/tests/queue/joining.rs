//! Joinable queues: what is done, what is not, and what nobody will do any more.

use mp::{JoinError, JoinableConsumer, JoinableQueue};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end, outcome};
use nix::sys::signal::{Signal, raise};
use std::time::Duration;

suite![
    test_task_done,
    who_dies_with_items_does_not_keep_others_waiting,
    a_stopped_consumer_is_no_dead_one,
];

#[mp::task]
fn work(queue: JoinableConsumer<u32>) -> u32 {
    let mut sum = 0;
    for item in queue.iter() {
        std::thread::sleep(Duration::from_micros(500));
        sum += item.unwrap();
        queue.task_done().unwrap();
    }
    sum
}

fn test_task_done(ctx: &mp::Context) {
    let queue = JoinableQueue::<u32>::new().unwrap();
    queue.join().unwrap();
    let start = |_| ctx.process::<work>((queue.consumer(),)).start().unwrap();
    let workers = (0..4).map(start).collect::<Vec<_>>();
    for number in 0..100 {
        queue.put(&number).unwrap();
    }
    queue.join_timeout(PATIENCE).unwrap();
    assert_eq!((queue.unfinished(), queue.qsize()), (0, 0));
    assert!(queue.task_done().is_err());
    queue.put(&1).unwrap();
    queue.join_timeout(PATIENCE).unwrap();
    queue.close();
    let sum = workers.iter().map(|worker| outcome(worker).unwrap()).sum::<u32>();
    assert_eq!(sum, 99 * 50 + 1);
}

#[test]
fn test_task_done_errors() {
    let queue = JoinableQueue::<u32>::new().unwrap();
    let error = queue.task_done().unwrap_err();
    assert_eq!(error.queue, "JoinableQueue");
    queue.put_many(&[1, 2, 3]).unwrap();
    let short = Duration::from_millis(60);
    let error = queue.join_timeout(short).unwrap_err();
    assert_eq!(error, JoinError::TimedOut { queue: "JoinableQueue", unfinished: 3 });
    assert!(queue.tasks_done(4).is_err());
    queue.get_many(3).unwrap();
    assert_eq!(queue.unfinished(), 3);
    queue.tasks_done(2).unwrap();
    assert!(queue.join_timeout(short).is_err());
    queue.task_done().unwrap();
    queue.join().unwrap();
}

#[mp::task]
fn take_and_die(count: usize, queue: JoinableConsumer<u32>) {
    queue.get_many(count).unwrap();
    queue.task_done().unwrap();
    raise(Signal::SIGKILL).unwrap();
}

fn who_dies_with_items_does_not_keep_others_waiting(ctx: &mp::Context) {
    let queue = JoinableQueue::<u32>::new().unwrap();
    queue.put_many(&[1, 2, 3, 4, 5]).unwrap();
    let process = ctx.process::<take_and_die>((3, queue.consumer())).start().unwrap();
    assert_eq!(end(&process), -9);
    // Two are still there: the end of the others is told when these are done.
    assert!(matches!(
        queue.join_timeout(Duration::from_millis(200)),
        Err(JoinError::TimedOut { unfinished: 2 | 4, .. })
    ));
    assert_eq!(queue.get_many(10).unwrap(), [4, 5]);
    queue.tasks_done(2).unwrap();
    let error = queue.join_timeout(PATIENCE).unwrap_err();
    assert_eq!(error, JoinError::ItemsLost { queue: "JoinableQueue", items: 2 });
    queue.join().unwrap();
    assert!(queue.task_done().is_err());
}

#[mp::task]
fn stop_with_an_item(queue: JoinableConsumer<u32>, taken: mp::Producer<()>) {
    queue.get().unwrap();
    taken.put(&()).unwrap();
    raise(Signal::SIGSTOP).unwrap();
    queue.task_done().unwrap();
}

fn a_stopped_consumer_is_no_dead_one(ctx: &mp::Context) {
    let queue = JoinableQueue::<u32>::new().unwrap();
    let (taken, is_taken) = mp::Queue::new().unwrap().split();
    queue.put(&1).unwrap();
    let process = ctx.process::<stop_with_an_item>((queue.consumer(), taken)).start().unwrap();
    is_taken.get_timeout(PATIENCE).unwrap();
    let error = queue.join_timeout(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, JoinError::TimedOut { unfinished: 1, .. }), "{error}");
    process.signal(nix::libc::SIGCONT).unwrap();
    queue.join_timeout(PATIENCE).unwrap();
    assert_eq!(end(&process), 0);
}
