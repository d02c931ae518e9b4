//! What those who await learn when others die: the same as those who wait.

use crate::{in_tokio, soon};
use mp::{BrokenBarrier, Condition, Event, GetError, JoinError, Lock, PutError, Queue, SyncError};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, end};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

suite![
    a_lock_of_the_dead,
    permits_of_the_dead,
    a_barrier_with_somebody_dead,
    a_condition_whose_lock_died,
    queues_that_nobody_is_left_at,
    a_stopped_holder_is_alive,
];

const WAITERS: usize = 20;

#[mp::task]
fn hold_for_ever(lock: Lock, recursive: mp::RLock, held: Event) {
    let _both = (lock.lock().unwrap(), recursive.lock().unwrap());
    held.set();
    loop {
        std::thread::sleep(PATIENCE);
    }
}

fn a_lock_of_the_dead(ctx: &mp::Context) {
    let (lock, recursive) = (Lock::new().unwrap(), mp::RLock::new().unwrap());
    let held = Event::new().unwrap();
    let arguments = (lock.clone(), recursive.clone(), held.clone());
    let process = ctx.process::<hold_for_ever>(arguments).start().unwrap();
    in_tokio(async {
        soon("it holds them", held.wait_async()).await;
        let tasks = (0..WAITERS).map(|_| {
            let (lock, recursive) = (lock.clone(), recursive.clone());
            tokio::spawn(async move {
                let first = match lock.lock_async().await {
                    Ok(_guard) => false,
                    Err(died) => {
                        died.into_inner().make_consistent();
                        true
                    }
                };
                let second = match recursive.lock_async().await {
                    Ok(_guard) => false,
                    Err(died) => {
                        died.into_inner().make_consistent();
                        true
                    }
                };
                (first, second)
            })
        });
        let tasks = tasks.collect::<Vec<_>>();
        tokio::time::sleep(Duration::from_millis(20)).await;
        process.kill().unwrap();
        let killed = Instant::now();
        let mut told = (0, 0);
        for task in tasks {
            let (first, second) = soon("it has been told", task).await.unwrap();
            told = (told.0 + u32::from(first), told.1 + u32::from(second));
        }
        println!("all had both {:?} after the death", killed.elapsed());
        assert_eq!(told, (1, 1));
    });
    assert_eq!(end(&process), -9);
}

#[mp::task]
fn keep_permits(semaphore: mp::Semaphore, held: Event) {
    for _ in 0..3 {
        semaphore.acquire(true, None).unwrap();
    }
    held.set();
    loop {
        std::thread::sleep(PATIENCE);
    }
}

fn permits_of_the_dead(ctx: &mp::Context) {
    let (semaphore, held) = (mp::Semaphore::new(3).unwrap(), Event::new().unwrap());
    let process = ctx.process::<keep_permits>((semaphore.clone(), held.clone())).start().unwrap();
    in_tokio(async {
        soon("it holds them", held.wait_async()).await;
        let tasks = (0..WAITERS).map(|_| {
            let semaphore = semaphore.clone();
            tokio::spawn(async move { drop(semaphore.permit_async().await.unwrap()) })
        });
        let tasks = tasks.collect::<Vec<_>>();
        tokio::time::sleep(Duration::from_millis(20)).await;
        process.kill().unwrap();
        for task in tasks {
            soon("they come back", task).await.unwrap();
        }
    });
    assert_eq!((end(&process), semaphore.get_value()), (-9, 3));
}

#[mp::task]
fn attend(barrier: mp::Barrier) {
    let _ = barrier.wait(None);
}

fn a_barrier_with_somebody_dead(ctx: &mp::Context) {
    let barrier = mp::Barrier::new(4, None).unwrap();
    let process = ctx.process::<attend>((barrier.clone(),)).start().unwrap();
    in_tokio(async {
        let waits = async { tokio::join!(barrier.wait_async(), barrier.wait_async()) };
        let kills = async {
            while barrier.n_waiting() < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            process.kill().unwrap();
        };
        let (broken, ()) = soon("broken", async { tokio::join!(waits, kills) }).await;
        let died = Err(BrokenBarrier::ParticipantDied { pid: process.pid() });
        assert_eq!(broken, (died, died));
    });
    assert_eq!(end(&process), -9);
}

#[mp::task]
fn die_with_the_lock(condition: Condition) {
    let _guard = condition.lock().unwrap();
    nix::sys::signal::raise(Signal::SIGKILL).unwrap();
}

fn a_condition_whose_lock_died(ctx: &mp::Context) {
    for condition in [Condition::new(), Condition::with_lock(Lock::new().unwrap())] {
        let condition = condition.unwrap();
        in_tokio(async {
            let waits = || async {
                let (guard, waited) = condition.lock_async().await.unwrap().wait_async().await;
                let died = Err(SyncError::OwnerDied { object: "Condition" });
                assert_eq!(waited, died);
                assert!(condition.locked());
                guard
            };
            let kills = async {
                while condition.waiters() < 2 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                ctx.process::<die_with_the_lock>((condition.clone(),)).start().unwrap()
            };
            // Each ends, the second when the first has let go of the lock.
            let process = soon("both are told", async {
                let one = async { drop(waits().await) };
                let other = async { drop(waits().await) };
                tokio::join!(one, other, kills).2
            })
            .await;
            assert_eq!(soon("its end", process.join_async()).await, -9);
            let guard = soon("the lock", condition.lock_async()).await.unwrap_err().into_inner();
            guard.make_consistent();
            drop(guard);
            assert!(condition.lock_async().await.is_ok());
        });
    }
}

#[mp::task]
fn sit_at(_queues: (mp::Producer<u32>, mp::Consumer<u32>, mp::JoinableConsumer<u32>)) {
    let _taken = _queues.2.get().unwrap();
    loop {
        std::thread::sleep(PATIENCE);
    }
}

fn queues_that_nobody_is_left_at(ctx: &mp::Context) {
    let (producer, ours) = Queue::<u32>::new().unwrap().split();
    let (full, consumer) = Queue::<u32>::bounded(1).unwrap().split();
    let joinable = mp::JoinableQueue::<u32>::new().unwrap();
    full.put(&1).unwrap();
    joinable.put(&1).unwrap();
    let theirs = (producer, consumer, joinable.consumer());
    let process = ctx.process::<sit_at>((theirs,)).start().unwrap();
    in_tokio(async {
        let tasks = (0..WAITERS).map(|_| {
            let (ours, full) = (ours.clone(), full.clone());
            let gets = tokio::spawn(async move { ours.get_async().await.unwrap_err() });
            let puts = tokio::spawn(async move { full.put_async(&2).await.unwrap_err() });
            (gets, puts)
        });
        let tasks = tasks.collect::<Vec<_>>();
        let kills = async {
            while !joinable.empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            process.kill().unwrap();
        };
        let all = async { tokio::join!(joinable.join_async(), kills) };
        let (joined, ()) = soon("all is known", all).await;
        assert!(matches!(joined, Err(JoinError::ItemsLost { items: 1, .. })), "{joined:?}");
        for (gets, puts) in tasks {
            let error = soon("nobody puts", gets).await.unwrap();
            assert!(matches!(error, GetError::ProducersGone { .. }), "{error}");
            let error = soon("nobody takes", puts).await.unwrap();
            assert!(matches!(error, PutError::ConsumersGone { .. }), "{error}");
        }
    });
    assert_eq!(end(&process), -9);
}

fn a_stopped_holder_is_alive(ctx: &mp::Context) {
    let (lock, held) = (Lock::new().unwrap(), Event::new().unwrap());
    let arguments = (lock.clone(), mp::RLock::new().unwrap(), held.clone());
    let process = ctx.process::<hold_for_ever>(arguments).start().unwrap();
    in_tokio(async {
        soon("it holds it", held.wait_async()).await;
        kill(Pid::from_raw(process.pid() as i32), Signal::SIGSTOP).unwrap();
        let waits = mp::timeout(lock.lock_async(), Duration::from_millis(350)).await;
        assert!(waits.is_err());
        process.kill().unwrap();
        assert!(soon("it is dead", lock.lock_async()).await.is_err());
    });
    assert_eq!(end(&process), -9);
}
