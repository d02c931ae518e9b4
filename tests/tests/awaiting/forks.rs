//! Forks of a process in which futures wait: they are not forbidden, the child awaits by itself,
//! and what it has of the parent's changes nothing.

use crate::{block_on, in_tokio, poll_once, soon};
use mp::{Event, Lock, Queue, Semaphore};
use mpserverd_tests::suite::{passed, value};
use std::pin::Pin;

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for all kinds of things, none of which happen yet.
struct Scene {
    lock: &'static Lock,
    semaphore: Semaphore,
    event: Event,
    queue: Queue<u32>,
    ours: mp::Connection,
    theirs: mp::Connection,
}

fn scene() -> &'static Scene {
    let (ours, theirs) = mp::pipe(true).unwrap();
    let lock: &'static Lock = Box::leak(Box::new(Lock::new().unwrap()));
    Box::leak(Box::new(Scene {
        lock,
        semaphore: Semaphore::new(0).unwrap(),
        event: Event::new().unwrap(),
        queue: Queue::new().unwrap(),
        ours,
        theirs,
    }))
}

impl Scene {
    fn waits(&'static self) -> Vec<Waiting> {
        vec![
            Box::pin(async { drop(self.lock.lock_async().await) }),
            Box::pin(async { self.semaphore.acquire_async().await.unwrap() }),
            Box::pin(self.event.wait_async()),
            Box::pin(async { assert_eq!(self.queue.get_async().await.unwrap(), 1) }),
            Box::pin(async { assert_eq!(self.ours.recv_async::<u32>().await.unwrap(), 1) }),
        ]
    }

    fn happen(&self) {
        self.semaphore.release().unwrap();
        self.event.set();
        self.queue.put(&1).unwrap();
        self.theirs.send(&1u32).unwrap();
    }
}

/// In a process without threads but the runtime's.
#[mp::task]
fn fork_while_futures_wait() {
    let ctx = mp::get_context(mp::StartMethod::Fork);
    let scene = scene();
    let guard = block_on(scene.lock.lock_async()).unwrap();
    let mut waits = scene.waits();
    for future in &mut waits {
        assert!(poll_once(future.as_mut()).is_pending());
    }
    // Those go to the child, and are polled there.
    let mut theirs = scene.waits();
    for future in &mut theirs {
        assert!(poll_once(future.as_mut()).is_pending());
    }
    let permits = Semaphore::new(1).unwrap();
    let permit = block_on(permits.permit_async()).unwrap();
    let (theirs_back, done) = (Event::new().unwrap(), Event::new().unwrap());
    let child = {
        let (theirs_back, done) = (theirs_back.clone(), done.clone());
        let own = Lock::new().unwrap();
        ctx.process_fn(move || {
            // Its own waits work, with threads of its own.
            let held = block_on(own.lock_async()).unwrap();
            let timed = mp::timeout(own.lock_async(), crate::SHORT);
            assert!(block_on(timed).is_err());
            drop(held);
            theirs_back.set();
            block_on(soon("the parent is done", done.wait_async()));
            let mut count = 0;
            for mut future in theirs {
                count += u32::from(poll_once(future.as_mut()).is_ready());
            }
            count
        })
    };
    let child = child.start().unwrap();
    block_on(soon("the child awaits", theirs_back.wait_async()));
    assert!(scene.lock.locked() && permits.locked());
    drop(guard);
    scene.happen();
    for (place, future) in waits.into_iter().enumerate() {
        block_on(soon(&format!("wait {place}"), future));
    }
    done.set();
    // The event is set; all else is taken, or not for the child to have.
    let count = child.result().unwrap();
    assert!((1..=2).contains(&count), "{count}");
    assert_eq!(child.join(), 0);
    assert!(permits.locked());
    drop(permit);
    assert_eq!(permits.get_value(), 1);
}

#[test]
fn a_fork_has_a_reactor_of_its_own() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    passed(ctx.process::<fork_while_futures_wait>(()));
}

#[mp::task]
fn fork_again_and_again(generations: u32) -> u32 {
    if generations == 0 {
        return 0;
    }
    let event = Event::new().unwrap();
    block_on(async {
        assert!(mp::timeout(event.wait_async(), crate::SHORT / 10).await.is_err());
    });
    let ctx = mp::get_context(mp::StartMethod::Fork);
    1 + value(ctx.process::<fork_again_and_again>((generations - 1,)))
}

#[test]
fn forks_of_forks() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    assert_eq!(value(ctx.process::<fork_again_and_again>((4,))), 4);
}

/// Forks while the threads of the reactor are as busy as they can be.
#[mp::task]
fn fork_in_a_storm(rounds: u32) {
    let ctx = mp::get_context(mp::StartMethod::Fork);
    let (there, theirs) = mp::pipe(true).unwrap();
    let queue = Queue::<u32>::new().unwrap();
    in_tokio(async {
        let stop = Event::new().unwrap();
        let storm = async {
            while !stop.is_set() {
                let get = async { mp::timeout(queue.get_async(), crate::SHORT / 50).await };
                let put = async {
                    tokio::task::yield_now().await;
                    queue.put(&1).unwrap();
                    there.send(&1u32).unwrap();
                    theirs.recv_async::<u32>().await.unwrap();
                };
                let _ = tokio::join!(get, put);
                tokio::task::yield_now().await;
            }
        };
        let forks = async {
            for round in 0..rounds {
                let process = ctx.process::<fork_again_and_again>((1 + round % 2,)).start();
                let result = process.unwrap().result_async().await.unwrap();
                assert_eq!(result, 1 + round % 2);
            }
            stop.set();
        };
        soon("all forks", async { tokio::join!(storm, forks) }).await;
    });
}

#[test]
fn forks_in_a_storm() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    passed(ctx.process::<fork_in_a_storm>((20,)));
}
