//! A worker that ends at any point: what was answered, what had begun, what had not.

use super::*;
use crate::pool::channel::Begun;

/// What is known after a death: items answered, the frame that ran, frames that come back.
fn after_death(office: &mut Office) -> (u32, Option<Begun>, Vec<u32>) {
    let mut answered = 0;
    while office.channel.pop(&mut office.answer).expect("sound") {
        answered += office.answer.count;
    }
    let (begun, back) = office.channel.recall_dead().expect("sound");
    (answered, begun, back.iter().map(|frame| frame.frame).collect())
}

/// Three frames of three items; the second one ran when the worker died at that step.
fn die_at(step: u32) -> (u32, Option<(u32, u32, u32)>, usize) {
    let (mut office, end) = Office::open();
    let mut played = play(end);
    let body = chunk(&[args(&(1u64,)), args(&(2u64,)), args(&(3u64,))]);
    let frames = [(); 3].map(|()| office.push(Number::Square, 3, &body, &[]));
    office.channel.publish();
    let mut steps = 0..step;
    let mut live = || steps.next().is_some();
    'life: {
        for _ in 0..2 {
            if !live() {
                break 'life;
            }
            let head = played.begin().expect("sent");
            for item in 0..3 {
                if !live() {
                    break 'life;
                }
                played.memory.state.item.store(item, std::sync::atomic::Ordering::Relaxed);
                if !live() {
                    break 'life;
                }
                if item != 1 {
                    // The second item is shown with the third.
                    let first = item.saturating_sub(1);
                    played.answer(head, first, item + 1 - first);
                }
            }
            if !live() {
                break 'life;
            }
            played.inbox.finish();
        }
    }
    drop(played);
    let (answered, begun, back) = after_death(&mut office);
    assert_eq!(back[..], frames[3 - back.len()..]);
    if let Some(begun) = &begun {
        assert_eq!((begun.count, begun.frame), (3, frames[2 - back.len()]));
        assert_eq!(begun.body, body);
    }
    (answered, begun.map(|b| (b.frame - frames[0], b.answered, b.begun)), back.len())
}

#[test]
fn everything_is_told_wherever_it_dies() {
    let told = (0..17).map(die_at).collect::<Vec<_>>();
    let of = |number: u32, before: u32, left: usize| {
        let ran = |answered, begun| Some((number, answered, begun));
        [
            (before, ran(0, 1), left),     // begun
            (before, ran(0, 1), left),     // about to run item 0
            (before + 1, ran(1, 1), left), // answered
            (before + 1, ran(1, 2), left), // about to run item 1
            (before + 1, ran(1, 2), left), // done, not answered
            (before + 1, ran(1, 3), left), // about to run item 2
            (before + 3, None, left),      // all answered
        ]
    };
    let mut expected = vec![(0, None, 3)];
    expected.extend(of(0, 0, 2));
    expected.push((3, None, 2));
    expected.extend(of(1, 3, 1));
    expected.push((6, None, 1));
    assert_eq!(told, expected);
}

#[test]
fn what_was_not_shown_was_never_there() {
    let (mut office, end) = Office::open();
    let mut played = play(end);
    office.push(Number::Square, 1, &args(&(1u64,)), &[]);
    assert!(played.begin().is_none());
    drop(played);
    let (answered, begun, back) = after_death(&mut office);
    assert_eq!((answered, begun, back.len()), (0, None, 1));
}

/// A worker that says it begins, and stops before it looks whether that was taken back.
#[test]
fn a_word_from_before_a_recall_is_void() {
    let (mut office, end) = Office::open();
    let mut played = play(end);
    let first = office.send(Number::Square, 1);
    office.send(Number::Square, 2);
    let head = played.begin().expect("sent");
    // The definition is item 0 of the log, the frames 1 and 2.
    assert_eq!(office.channel.recall(0).expect("sound").len(), 1);
    let stopped = played.memory.claim();
    assert!(!stopped.begin(0, 2));
    crate::sync::raw::atomics::publish(stopped.begun, 3);
    let other = office.send(Number::Square, 3);
    assert_eq!(office.channel.progress().frame, first);
    played.answer(head, 0, 1);
    let (answered, begun, back) = after_death(&mut office);
    assert_eq!((answered, begun, back), (1, None, vec![other]));
}
