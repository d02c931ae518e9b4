//! Two processes take turns, one that awaits and one that waits, and two that await.

use crate::{block_on, in_tokio, soon};
use mp::{Condition, Connection, Consumer, Producer, Queue, Semaphore};
use mpserverd_tests::suite;
use mpserverd_tests::suite::end;
use std::time::Instant;

suite![by_queues, by_semaphores, by_a_condition, by_a_connection];

const TURNS: u32 = 300;

#[mp::task]
fn bounce(from: Consumer<u32>, to: Producer<u32>, awaits: bool) {
    for _ in 0..TURNS {
        let number = if awaits { block_on(from.get_async()) } else { from.get() };
        let number = number.unwrap() + 1;
        match awaits {
            true => block_on(to.put_async(&number)).unwrap(),
            false => to.put(&number).unwrap(),
        }
    }
}

/// Prints what a turn took, and that it was not a nap each time.
async fn turns<F: Future>(what: &str, future: F) {
    let begun = Instant::now();
    soon(what, future).await;
    println!("{what}: {:?} a turn", begun.elapsed() / TURNS);
}

fn by_queues(ctx: &mp::Context) {
    for awaits in [true, false] {
        let (there, theirs) = Queue::bounded(1).unwrap().split();
        let (back, ours) = Queue::bounded(1).unwrap().split();
        let process = ctx.process::<bounce>((theirs, back, awaits)).start().unwrap();
        in_tokio(turns("queues", async {
            for number in 0..TURNS {
                there.put_async(&number).await.unwrap();
                assert_eq!(ours.get_async().await.unwrap(), number + 1);
            }
        }));
        assert_eq!(end(&process), 0);
    }
}

#[mp::task]
fn answer(ping: Semaphore, pong: Semaphore, awaits: bool) {
    for _ in 0..TURNS {
        match awaits {
            true => block_on(ping.acquire_async()).unwrap(),
            false => assert!(ping.acquire(true, None).unwrap()),
        }
        pong.release().unwrap();
    }
}

fn by_semaphores(ctx: &mp::Context) {
    for awaits in [true, false] {
        let (ping, pong) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
        let arguments = (ping.clone(), pong.clone(), awaits);
        let process = ctx.process::<answer>(arguments).start().unwrap();
        in_tokio(turns("semaphores", async {
            for _ in 0..TURNS {
                ping.release().unwrap();
                pong.acquire_async().await.unwrap();
            }
        }));
        assert_eq!(end(&process), 0);
    }
}

async fn count(condition: &Condition, number: &mp::RawValue<u32>, odd: u32) {
    for _ in 0..TURNS {
        let guard = condition.lock_async().await.unwrap();
        let (guard, waited) = guard.wait_for_async(|| number.get() % 2 == odd).await;
        waited.unwrap();
        number.set(number.get() + 1);
        guard.notify_all();
    }
}

#[mp::task]
fn count_odd(condition: Condition, number: mp::RawValue<u32>) {
    block_on(count(&condition, &number, 1));
}

fn by_a_condition(ctx: &mp::Context) {
    let (condition, number) = (Condition::new().unwrap(), mp::RawValue::new(0u32).unwrap());
    let arguments = (condition.clone(), number.clone());
    let process = ctx.process::<count_odd>(arguments).start().unwrap();
    in_tokio(turns("a condition", count(&condition, &number, 0)));
    assert_eq!(end(&process), 0);
    assert_eq!(number.get(), 2 * TURNS);
}

#[mp::task]
fn echo(connection: Connection, awaits: bool) {
    for _ in 0..TURNS {
        match awaits {
            true => block_on(async {
                let number = connection.recv_async::<u32>().await.unwrap();
                connection.send_async(&(number + 1)).await.unwrap();
            }),
            false => connection.send(&(connection.recv::<u32>().unwrap() + 1)).unwrap(),
        }
    }
}

fn by_a_connection(ctx: &mp::Context) {
    for awaits in [true, false] {
        let (ours, theirs) = mp::pipe(true).unwrap();
        let process = ctx.process::<echo>((theirs, awaits)).start().unwrap();
        in_tokio(turns("a connection", async {
            for number in 0..TURNS {
                ours.send_async(&number).await.unwrap();
                assert_eq!(ours.recv_async::<u32>().await.unwrap(), number + 1);
            }
        }));
        assert_eq!(end(&process), 0);
    }
}
