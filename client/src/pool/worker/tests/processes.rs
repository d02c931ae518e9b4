//! Workers that are processes: the job, and what a real death leaves.

use super::super::{Initializer, WORKER};
use super::*;
use crate::{OnParentDeath, Process, StartMethod, get_context};
use std::collections::VecDeque;

// This test program is its own worker: a fork of it might inherit a lock that another test holds.
crate::enable_in_tests!();

/// Starts the job in a process.
pub(super) fn process(end: &WorkerEnd, initializer: Option<&Initializer>) -> Process<()> {
    let context = get_context(StartMethod::Spawn);
    let builder = context.builtin::<()>(WORKER, &(end, initializer));
    let builder = builder.on_parent_death(OnParentDeath::Kill);
    builder.start().expect("starts")
}

fn initializer(name: &str, args: Vec<u8>) -> Initializer {
    let name = name.to_owned();
    Initializer { name, schema: UNCHECKED, codec: Codec::Bincode, args, fds: Vec::new() }
}

#[test]
fn a_process_serves_and_retires() {
    let (mut office, end) = Office::open();
    let worker = process(&end, Some(&initializer("Square", args(&(1u64,)))));
    office.ready();
    for x in 0..1000u64 {
        let frame = office.send(Number::Square, x);
        assert_eq!(value::<u64>(&office.outcomes(frame, 1)[0].1), x * x);
    }
    office.channel.retire();
    assert_eq!(worker.join(), 0);
}

#[test]
fn an_initializer_that_fails_says_why() {
    let failures = [
        (initializer("Checked", args(&(-1i64,))), "-1 is negative"),
        (initializer("Panics", args(&(13u64,))), "unlucky 13"),
        (initializer("Panics", vec![1]), "Panics"),
        (initializer("nothing", vec![]), "nothing"),
    ];
    for (initializer, reason) in failures {
        let (mut office, end) = Office::open();
        let worker = process(&end, Some(&initializer));
        let outcomes = office.outcomes(0, 1);
        assert_eq!(outcomes[0].0, Tag::InitFailed);
        let text = String::from_utf8(outcomes[0].1.clone()).expect("a text");
        assert!(text.contains(reason), "{text}");
        assert_eq!(worker.join(), 1);
    }
}

#[test]
fn a_running_task_learns_that_it_is_not_wanted() {
    let (mut office, end) = Office::open();
    let worker = process(&end, None);
    office.ready();
    let frame = office.send(Number::Stubborn, 1);
    while !office.channel.progress().running {
        std::thread::yield_now();
    }
    office.channel.ask_to_stop(frame);
    assert_eq!(value::<u64>(&office.outcomes(frame, 1)[0].1), 1);
    office.channel.retire();
    assert_eq!(worker.join(), 0);
}

/// One life: a worker is killed while it has frames of several items; every item is answered, lost
/// or left, and what is left is whole.
fn life(random: &mut impl FnMut(u64) -> u64) -> [u32; 3] {
    let (mut office, end) = Office::open();
    let worker = process(&end, None);
    drop(end);
    office.ready();
    let mut waiting = VecDeque::<(u32, u32, Vec<u8>, u32)>::new();
    let (mut answered, mut next) = (0, 0u64);
    let begun = Instant::now();
    let dies_after = Duration::from_micros(random(3000));
    let mut collect = |office: &mut Office, waiting: &mut VecDeque<(u32, u32, Vec<u8>, u32)>| {
        while office.channel.pop(&mut office.answer).expect("sound") {
            let (frame, count, _, done) = waiting.front_mut().expect("was sent");
            assert_eq!((office.answer.frame, office.answer.first), (*frame, *done));
            *done += office.answer.count;
            answered += office.answer.count;
            if done == count {
                waiting.pop_front();
            }
        }
    };
    while begun.elapsed() < dies_after {
        for _ in 0..random(3) {
            let count = 1 + random(4) as u32;
            let items = (0..count).map(|_| {
                next += 1;
                args(&(next,))
            });
            let items = items.collect::<Vec<_>>();
            let body = if count == 1 { items[0].clone() } else { chunk(&items) };
            let frame = office.push(Number::Square, count, &body, &[]);
            waiting.push_back((frame, count, body, 0));
        }
        office.channel.publish();
        if random(4) == 0 {
            let back = office.channel.recall(random(2) as usize).expect("sound");
            for back in back.iter().rev() {
                let (frame, count, body, done) = waiting.pop_back().expect("was sent");
                assert_eq!((back.frame, back.count, &back.body, done), (frame, count, &body, 0));
            }
        }
        collect(&mut office, &mut waiting);
    }
    worker.kill().expect("lives");
    assert_eq!(worker.join(), -9);
    collect(&mut office, &mut waiting);
    let (begun, back) = office.channel.recall_dead().expect("sound");
    let mut lost = 0;
    if let Some(begun) = begun {
        let (frame, count, body, done) = waiting.pop_front().expect("was sent");
        assert_eq!((begun.frame, begun.count, begun.answered), (frame, count, done));
        assert!(begun.body == body && begun.begun <= count);
        lost = begun.begun - begun.answered;
    }
    let left = back.len() as u32;
    for back in back {
        let (frame, count, body, done) = waiting.pop_front().expect("was sent");
        assert_eq!((back.frame, back.count, back.body, done), (frame, count, body, 0));
    }
    assert!(waiting.is_empty(), "neither answered nor lost nor left");
    [answered, lost, left]
}

fn lives(count: u32) {
    let mut state = 4u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut sums = [0; 3];
    // A worker that keeps up has nothing left when it is killed: then it takes some more lives.
    for lived in 0..50 * count {
        if lived >= count && sums[0] > 0 && sums[2] > 0 {
            break;
        }
        let told = life(&mut random);
        sums.iter_mut().zip(told).for_each(|(sum, told)| *sum += told);
    }
    println!("{} answered, {} lost, {} left", sums[0], sums[1], sums[2]);
    assert!(sums[0] > 0 && sums[2] > 0, "{sums:?}");
}

#[test]
fn a_killed_process_leaves_no_doubt() {
    lives(20);
}

#[test]
#[ignore = "long: 10 000 processes are killed"]
fn ten_thousand_killed_processes_leave_no_doubt() {
    lives(10_000);
}
