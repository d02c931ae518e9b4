//! A server that is stopped is alive: calls with a time end, and nothing is taken by those that
//! did.

use crate::SHORT;
use mp::{Acquired, Proxy};
use mpserverd_tests::suite::PATIENCE;
use std::time::Duration;

pub(crate) fn signal(manager: &mp::Manager, number: i32) {
    manager.process().signal(number).unwrap();
    if number == libc::SIGSTOP {
        // A thread that runs stops a little later.
        crate::until("all its threads have stopped", || all_stopped(manager.pid()));
    }
}

fn all_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stopped = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat"));
        stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    };
    threads.into_iter().all(stopped)
}

#[test]
fn calls_with_a_time_end() {
    let manager = crate::spawned();
    let (lock, queue) = (manager.lock().unwrap(), manager.queue(0).unwrap());
    let (semaphore, list) = (manager.semaphore(1).unwrap(), manager.list([1]).unwrap());
    let event = manager.event().unwrap();
    queue.put(&5).unwrap();
    signal(&manager, libc::SIGSTOP);
    assert_eq!(lock.acquire(true, Some(SHORT)).unwrap(), Acquired::No);
    assert!(!semaphore.acquire(true, Some(SHORT)).unwrap());
    assert!(queue.get_timeout(SHORT).unwrap_err().is_timeout());
    assert!(!event.wait(Some(SHORT)).unwrap());
    assert!(list.with_timeout(SHORT).len().unwrap_err().is_timeout());
    signal(&manager, libc::SIGCONT);
    // The server did what it was asked for when it went on, and took it back.
    crate::until("the lock is free", || !lock.locked().unwrap());
    crate::until("the permit is back", || semaphore.get_value().unwrap() == 1);
    assert_eq!(queue.get_timeout(PATIENCE).unwrap(), 5);
    assert_eq!(list.len().unwrap(), 1);
}

#[test]
fn calls_without_one_wait_until_it_goes_on() {
    let manager = crate::spawned();
    let list = manager.list([1]).unwrap();
    signal(&manager, libc::SIGSTOP);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| list.append(&2));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!call.is_finished());
        signal(&manager, libc::SIGCONT);
        call.join().unwrap().unwrap();
    });
    assert_eq!(list.len().unwrap(), 2);
}

#[test]
fn what_does_not_fit_the_socket_ends_too() {
    let manager = crate::spawned();
    let list = manager.list([vec![1u8; 8]]).unwrap();
    signal(&manager, libc::SIGSTOP);
    let hasty = list.with_timeout(SHORT);
    for _ in 0..3 {
        assert!(hasty.append(&vec![7; 4 << 20]).unwrap_err().is_timeout());
    }
    let dropped = list.clone();
    drop((dropped, hasty));
    signal(&manager, libc::SIGCONT);
    // What was sent in part is sent to its end, so the stream stays whole.
    let length = list.len().unwrap();
    assert!((1..=4).contains(&length), "{length}");
    assert_eq!(list.get(0).unwrap(), [1; 8]);
}
