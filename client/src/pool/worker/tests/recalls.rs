//! Taking frames back.

use super::*;
use crate::pool::channel::Recalled;

fn numbers(recalled: &[Recalled]) -> Vec<u64> {
    recalled.iter().map(|frame| value::<(u64,)>(&frame.body).0).collect()
}

#[test]
fn what_has_not_begun_comes_back() {
    let (mut office, end) = Office::open();
    let mut played = play(end);
    let frames = (0..10).map(|x| office.send(Number::Square, x)).collect::<Vec<_>>();
    let head = played.begin().expect("sent");
    assert_eq!(head.frame, frames[0]);
    let back = office.channel.recall(4).expect("sound");
    assert_eq!(numbers(&back), [5, 6, 7, 8, 9]);
    assert_eq!(back.iter().map(|b| b.frame).collect::<Vec<_>>(), frames[5..]);
    assert!(back.iter().all(|b| (b.count, b.first, b.fds) == (1, 0, 0)));
    assert!(office.channel.recall(4).expect("sound").is_empty());
    assert_eq!(numbers(&office.channel.recall(3).expect("sound")), [4]);
    // Others take their place.
    let other = office.send(Number::Square, 77);
    played.answer(head, 0, 1);
    played.inbox.finish();
    office.outcomes(frames[0], 1);
    for frame in [frames[1], frames[2], frames[3], other] {
        let head = played.begin().expect("kept");
        assert_eq!(head.frame, frame);
        played.answer(head, 0, 1);
        played.inbox.finish();
        office.outcomes(frame, 1);
    }
    assert!(played.begin().is_none());
    assert!(office.channel.recall(0).expect("sound").is_empty());
}

#[test]
fn definitions_are_sent_again() {
    let (mut office, end) = Office::open();
    let back = {
        let body = args(&("text",));
        office.push(Number::Echo, 1, &body, &[]);
        office.channel.recall(0).expect("sound")
    };
    assert_eq!(back.len(), 1);
    let worker = start(end);
    office.ready();
    let Recalled { task, count, body, .. } = &back[0];
    let frame = Frame { task: *task, count: *count, body, fds: &[] };
    let frame = office.channel.push(&frame).expect("taken");
    office.channel.publish();
    assert_eq!(value::<String>(&office.outcomes(frame, 1)[0].1), "text");
    office.channel.retire();
    assert!(matches!(worker.join(), Ok(Outcome::Returned)));
}

#[test]
fn large_bodies_come_back_too() {
    let (mut office, _end) = Office::open();
    let body = args(&("y".repeat(10 << 20),));
    office.push(Number::Echo, 1, &body, &[]);
    office.push(Number::Echo, 1, &args(&("small",)), &[]);
    let back = office.channel.recall(0).expect("sound");
    assert!(back.len() == 2 && back[0].body == body && back[0].fds == 0);
}

#[test]
fn descriptors_of_frames_that_came_back_are_closed() {
    let (mut office, end) = Office::open();
    let worker = start(end);
    office.ready();
    let (read, write) = crate::sys::fd::pipe().expect("pipe");
    let frame = office.send(Number::Sleeps, 50);
    let parcel = Parcel::pack(Codec::Bincode, &(SharedFd::from(write),)).expect("encodes");
    office.push(Number::Counts, 1, &parcel.bytes, &parcel.fds);
    drop(parcel);
    office.channel.publish();
    let back = office.channel.recall(0).expect("sound");
    // The worker may have been slow: then it has not begun the first one either.
    assert_eq!(back.last().map(|last| last.fds), Some(1));
    if back.len() == 1 {
        office.outcomes(frame, 1);
    }
    // The only write end was on its way.
    assert_eq!(std::fs::File::from(read).read(&mut [0]).expect("the end"), 0);
    office.channel.retire();
    assert!(worker.join().is_ok());
}

/// A worker at full speed and a pool that takes back: every frame is answered or comes back.
#[test]
fn each_frame_is_either_run_or_recalled() {
    let (mut office, end) = Office::open();
    let worker = start(end);
    office.ready();
    let mut state = 1u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut waiting = std::collections::VecDeque::new();
    let (mut answered, mut recalled) = (0, 0);
    let rounds = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    for x in 0..rounds {
        for _ in 0..random(4) {
            waiting.push_back((office.push(Number::Square, 1, &args(&(x,)), &[]), x));
        }
        office.channel.publish();
        for _ in 0..random(100) {
            std::hint::spin_loop();
        }
        if random(2) == 0 {
            let back = office.channel.recall(random(3) as usize).expect("sound");
            let rest = waiting.split_off(waiting.len() - back.len());
            for (back, (frame, x)) in back.iter().zip(rest) {
                assert_eq!((back.frame, value::<(u64,)>(&back.body).0), (frame, x));
                recalled += 1;
            }
        }
        while office.channel.pop(&mut office.answer).expect("sound") {
            let (frame, x) = waiting.pop_front().expect("was sent");
            assert_eq!(office.answer.frame, frame);
            assert_eq!(value::<u64>(office.answer.items().next().expect("one").1), x * x);
            answered += 1;
        }
    }
    while let Some((frame, _)) = waiting.pop_front() {
        office.outcomes(frame, 1);
        answered += 1;
    }
    println!("{answered} answered, {recalled} recalled");
    assert!(answered > 0 && recalled > 0);
    office.channel.retire();
    assert!(matches!(worker.join(), Ok(Outcome::Returned)));
}
