//! How fast a channel is, beside what the machine allows: run it in release, ignored tests
//! included, with `--nocapture`.

use super::processes::process;
use super::*;
use crate::sys::futex;
use crate::sys::mapping::{Mapping, View, sealed_memory};
use crate::{Process, StartMethod, get_context};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Nanoseconds that each of so many took; the best of three goes.
fn best_of(goes: u32, each: u32, mut go: impl FnMut()) -> f64 {
    let go = |_| {
        let begun = Instant::now();
        go();
        begun.elapsed().as_nanos() as f64 / f64::from(each)
    };
    (0..goes).map(go).fold(f64::INFINITY, f64::min)
}

/// A round trip between two processes that do nothing but sleep and wake each other.
fn bare_futex(rounds: u32) -> f64 {
    let fd = sealed_memory(4096).expect("memfd");
    let mapping = Arc::new(Mapping::of(&fd).expect("maps"));
    let word = |at| View::<AtomicU32>::new(&mapping, at).expect("inside");
    let (there, back) = (word(0), word(2048));
    let turn = |wait: &AtomicU32, at: u32| {
        while wait.load(Ordering::Acquire) != at {
            futex::wait(wait, at - 1, Duration::from_secs(5));
        }
    };
    let theirs = (there.clone(), back.clone());
    let echo = move || {
        for at in 1..=3 * rounds {
            turn(&theirs.0, at);
            theirs.1.store(at, Ordering::Release);
            futex::wake(&theirs.1, 1);
        }
    };
    let context = get_context(StartMethod::Fork);
    let process = context.process_fn(echo).allow_threads(true).start().expect("starts");
    let mut at = 0;
    let best = best_of(3, rounds, || {
        for _ in 0..rounds {
            at += 1;
            there.store(at, Ordering::Release);
            futex::wake(&there, 1);
            turn(&back, at);
        }
    });
    process.join();
    best
}

fn round_trip(rounds: u32) -> f64 {
    let (mut office, end) = Office::open();
    let worker = process(&end, None);
    office.ready();
    let body = args(&(3u64,));
    let best = best_of(3, rounds, || {
        for _ in 0..rounds {
            office.push(Number::Square, 1, &body, &[]);
            office.channel.publish();
            assert_eq!(value::<u64>(office.next().items().next().expect("one").1), 9);
        }
    });
    office.channel.retire();
    worker.join();
    best
}

/// Some workers at one desk, each with so many items in its inbox.
fn throughput(workers: usize, chunk_items: u32, window: usize, items: u32) -> f64 {
    let desk = Desk::new(workers).expect("desk");
    let mut all = (0..workers).map(|number| {
        let (mut channel, end) = Channel::open(&desk, number).expect("channel");
        channel.define(0, "Square", UNCHECKED, Codec::Bincode);
        let process: Process<()> = process(&end, None);
        (channel, process, 0usize)
    });
    let mut all = all.by_ref().collect::<Vec<_>>();
    let one = args(&(3u64,));
    let body = if chunk_items == 1 {
        one.clone()
    } else {
        chunk(&vec![one.clone(); chunk_items as usize])
    };
    let mut answer = Answer::default();
    for (channel, ..) in &mut all {
        while !channel.pop(&mut answer).expect("sound") {
            std::thread::yield_now();
        }
    }
    desk.take_ready(|_| {});
    let frames = items / chunk_items;
    let best = best_of(3, items, || {
        let (mut sent, mut done) = (0, 0);
        let mut ready = (0..workers).collect::<Vec<_>>();
        while done < items {
            for number in ready.drain(..) {
                let (channel, _, has) = &mut all[number];
                while channel.pop(&mut answer).expect("sound") {
                    let sum = answer.items().map(|(_, bytes)| value::<u64>(bytes)).sum::<u64>();
                    assert_eq!(sum, 9 * u64::from(answer.count));
                    done += answer.count;
                    *has -= answer.count as usize;
                }
                while *has < window && sent < frames {
                    let frame = Frame { task: 0, count: chunk_items, body: &body, fds: &[] };
                    channel.push(&frame).expect("room");
                    *has += chunk_items as usize;
                    sent += 1;
                }
                channel.publish();
            }
            if done >= items {
                break;
            }
            let heard = desk.listen();
            desk.take_ready(|number| ready.push(number));
            if ready.is_empty() {
                desk.sleep(heard, Duration::from_secs(1));
                desk.take_ready(|number| ready.push(number));
            }
        }
    });
    for (mut channel, process, _) in all {
        channel.retire();
        process.join();
    }
    best
}

#[test]
#[ignore = "long: measures"]
fn how_fast_it_is() {
    println!("bare futex round trip        {:9.1} ns", bare_futex(100_000));
    println!("round trip of a task         {:9.1} ns", round_trip(100_000));
    for workers in [1, 2] {
        println!(
            "{workers} workers, one by one        {:9.1} ns",
            throughput(workers, 1, 200, 500_000)
        );
        println!(
            "{workers} workers, chunks of 10      {:9.1} ns",
            throughput(workers, 10, 400, 1_000_000)
        );
        println!(
            "{workers} workers, chunks of 1000    {:9.1} ns",
            throughput(workers, 1000, 4000, 4_000_000)
        );
    }
}

#[test]
#[ignore = "long: measures"]
fn how_fast_chunks_are() {
    println!("1 worker, chunks of 1000 {:9.1} ns", throughput(1, 1000, 4000, 20_000_000));
}

#[test]
#[ignore = "long: measures"]
fn how_fast_calls_are() {
    println!("round trip of a task         {:9.1} ns", round_trip(300_000));
}

#[test]
#[ignore = "long: measures"]
fn how_fast_round_trips_are() {
    for _ in 0..3 {
        println!("bare futex round trip        {:9.1} ns", bare_futex(100_000));
        println!("round trip of a task         {:9.1} ns", round_trip(100_000));
    }
}
