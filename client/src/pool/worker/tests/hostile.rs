//! Memory that somebody scribbles over: errors, never a panic or a wait.

use super::*;
use crate::pool::channel::{ChannelState, Damaged};
use crate::sync::raw::counters::End;
use crate::sys::mapping::{Mapping, Region};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn answers_to_nothing_are_refused() {
    type Forge = fn(FrameHead) -> ((u32, u32), u32);
    let forged: [Forge; 7] = [
        |head| ((head.frame + 1, 0), 1),
        |head| ((head.frame, 1), 1),
        |head| ((head.frame, 0), 4),
        |head| ((head.frame, 0), 0),
        |head| ((head.frame, u32::MAX), 2),
        |_| ((0, 1), 1),
        |_| ((0, 0), 2),
    ];
    for forge in forged {
        let (mut office, end) = Office::open();
        let mut played = play(end);
        let body = chunk(&[args(&(1u64,)), args(&(2u64,)), args(&(3u64,))]);
        office.push(Number::Square, 3, &body, &[]);
        office.channel.publish();
        let head = played.begin().expect("sent");
        let (place, count) = forge(head);
        let mut outcomes = Outcomes::default();
        (0..count).for_each(|_| outcomes.push(Tag::Returned, b""));
        played.outbox.send(place, &mut outcomes).expect("sound");
        assert_eq!(office.channel.pop(&mut office.answer), Err(Damaged), "{place:?} {count}");
    }
}

#[test]
fn a_worker_is_ready_once() {
    let (mut office, end) = Office::open();
    let mut played = play(end);
    played.outbox.send_own(Tag::InitFailed, "no model").expect("sound");
    assert_eq!(office.outcomes(0, 1), [(Tag::InitFailed, b"no model".to_vec())]);
    played.outbox.send_own(Tag::Ready, "").expect("sound");
    assert_eq!(office.channel.pop(&mut office.answer), Err(Damaged));
}

/// Numbers that lead somewhere else.
const NUMBERS: [u64; 9] =
    [0, 1, 7, u32::MAX as u64, 1 << 32, 1 << 33 | 12, u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef];

/// Where the words of a channel begin in its memory.
const STATE: usize = 64 + 16;
const STATE_BYTES: usize = size_of::<ChannelState>();

/// The memory of a channel, for scribbling.
fn memory_of(end: &WorkerEnd) -> Region {
    let parcel = Parcel::pack(Codec::Bincode, end).expect("travels");
    let mapping = Arc::new(Mapping::of(&parcel.fds[0]).expect("maps"));
    Region::new(&mapping, 0, mapping.len(), 8).expect("all of it")
}

/// A channel in use, with frames that wait, one that runs and one answer.
fn in_use() -> (Office, Played, Region) {
    let (mut office, end) = Office::open();
    let region = memory_of(&end);
    let mut played = play(end);
    for x in 0..4 {
        office.send(Number::Square, x);
    }
    let head = played.begin().expect("sent");
    played.answer(head, 0, 1);
    played.inbox.finish();
    played.begin().expect("sent");
    (office, played, region)
}

/// Does everything that a pool does; tells whether something was damaged.
fn use_it(office: &mut Office) -> bool {
    let body = args(&(9u64,));
    let frame = Frame { task: 0, count: 1, body: &body, fds: &[] };
    let pushed = match office.channel.push(&frame) {
        Err(PushError::Damaged) => Err(Damaged),
        _ => Ok(()),
    };
    office.channel.publish();
    let _ = office.channel.progress();
    let results = [
        pushed,
        office.channel.pop(&mut office.answer).map(drop),
        office.channel.pop(&mut office.answer).map(drop),
        office.channel.recall(1).map(drop),
        office.channel.recall_dead().map(drop),
    ];
    results.contains(&Err(Damaged))
}

#[test]
fn scribbled_words_are_damage_or_nothing() {
    let mut damaged = 0;
    for at in (STATE..STATE + STATE_BYTES).step_by(8) {
        for number in NUMBERS {
            let (mut office, _played, region) = in_use();
            region.at::<AtomicU64>(at).expect("inside").store(number, Ordering::SeqCst);
            damaged += u32::from(use_it(&mut office));
        }
    }
    println!("{damaged} were damage");
    assert!(damaged > 0);
}

/// The lists of blocks, and heads in the blocks.
#[test]
fn scribbled_blocks_are_damage_or_nothing() {
    let (_, _, region) = in_use();
    let inbox = STATE + STATE_BYTES;
    let outbox = inbox + (region.len() - inbox) / 2;
    let mut damaged = 0;
    for start in [inbox, inbox + (8 << 10), outbox, outbox + (8 << 10)] {
        for at in (start..start + 160).step_by(8) {
            for number in NUMBERS {
                let (mut office, _played, region) = in_use();
                region.at::<AtomicU64>(at).expect("inside").store(number, Ordering::SeqCst);
                damaged += u32::from(use_it(&mut office));
            }
        }
    }
    println!("{damaged} were damage");
    assert!(damaged > 0);
}

/// A worker survives what its pool writes as well.
#[test]
fn a_worker_ends_when_its_channel_is_damaged() {
    let (mut office, end) = Office::open();
    let parcel = Parcel::pack(Codec::Bincode, &end).expect("travels");
    let again = parcel.unpack::<WorkerEnd>(Codec::Bincode).expect("arrives");
    let worker = start(end);
    office.ready();
    again.open().expect("a good end").0.inbox().cut(End { items: 5, units: 77 });
    office.channel.retire();
    let outcome = worker.join().expect("no panic");
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
}
