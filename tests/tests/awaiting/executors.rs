//! No runtime is assumed: the same program under three executors.

use crate::{block_on, in_tokio, soon};
use mp::{Consumer, Event, Lock, Producer, Queue};
use mpserverd_tests::suite;

suite![the_smallest_executor, a_runtime_of_one_thread, a_runtime_of_many];

#[mp::task]
fn serve(lock: Lock, ready: Event, jobs: Consumer<u32>, results: Producer<u32>) -> u32 {
    // This side has the smallest executor, whoever has what on the other.
    block_on(async {
        ready.set();
        let mut count = 0;
        while let Ok(job) = jobs.get_async().await {
            drop(lock.lock_async().await.unwrap());
            results.put_async(&(job * 2)).await.unwrap();
            count += 1;
        }
        count
    })
}

/// Awaits a process, a queue, a lock and an event, all at once.
async fn program(ctx: mp::Context) {
    let (jobs, theirs) = Queue::<u32>::bounded(4).unwrap().split();
    let (results, ours) = Queue::<u32>::bounded(4).unwrap().split();
    let (lock, ready) = (Lock::new().unwrap(), Event::new().unwrap());
    let arguments = (lock.clone(), ready.clone(), theirs, results);
    let process = ctx.process::<serve>(arguments).start().unwrap();
    let puts = async move {
        ready.wait_async().await;
        for number in 0..100 {
            jobs.put_async(&number).await.unwrap();
        }
    };
    let takes = async move {
        for number in 0..100 {
            let guard = lock.lock_async().await.unwrap();
            drop(guard);
            assert_eq!(ours.get_async().await.unwrap(), 2 * number);
        }
    };
    let ends = async { process.result_async().await.unwrap() };
    let all = async { tokio::join!(puts, takes, ends) };
    assert_eq!(soon("all is done", all).await.2, 100);
    assert_eq!(soon("its end", process.join_async()).await, 0);
}

fn the_smallest_executor(ctx: &mp::Context) {
    block_on(program(ctx.clone()));
}

fn a_runtime_of_one_thread(ctx: &mp::Context) {
    in_tokio(program(ctx.clone()));
}

fn a_runtime_of_many(ctx: &mp::Context) {
    // Its threads exist when the program starts, which forks must be told.
    if ctx.method() == mp::StartMethod::Fork {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let tasks = (0..3).map(|_| runtime.spawn(program(ctx.clone()))).collect::<Vec<_>>();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
}
