//! `Semaphore`, `Event` and `Barrier`: permits are conserved, nobody sleeps through a set, and a
//! barrier breaks rather than hang.

use super::{LONGEST, Member, OWN, SIZE, kill, timed};
use mp::BrokenBarrier;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::words::Words;
use std::time::Duration;

const PERMITS: u32 = 2;

#[mp::task]
fn use_semaphore(semaphore: mp::BoundedSemaphore, member: Member) {
    let words = &member.words;
    let own = OWN + member.place;
    member.work(|moments| {
        let (permit, waited) = timed(|| semaphore.permit_timeout(PATIENCE).unwrap());
        let permit = permit.expect("a permit in time");
        words.set(own, 1);
        // A dead one's mark may stand a while after its permit came back.
        let inside = (0..SIZE).filter(|place| words.get(OWN + place) == 1).count();
        assert!(inside <= PERMITS as usize + 1, "{inside} have one of {PERMITS} permits");
        assert!(semaphore.get_value() < PERMITS);
        words.set(own, 0);
        if moments.below(2) == 0 {
            drop(permit);
        } else {
            std::mem::forget(permit);
            semaphore.release().unwrap();
        }
        waited
    });
}

pub(super) fn semaphore(rounds: u64, ctx: &mp::Context) {
    let semaphore = mp::BoundedSemaphore::new(PERMITS).unwrap();
    let words = Words::new(OWN + SIZE);
    let start =
        |ctx: &mp::Context, member| ctx.process::<use_semaphore>((semaphore.clone(), member));
    kill(rounds, ctx, &words, start, |dead, _| words.set(OWN + dead, 0));
    let take = || semaphore.permit_timeout(PATIENCE).unwrap().expect("they all came back");
    let all = [(); PERMITS as usize].map(|()| take());
    assert!(semaphore.try_permit().unwrap().is_none(), "and not one more");
    drop(all);
    assert!(semaphore.release().is_err());
    assert_eq!(semaphore.get_value(), PERMITS);
}

/// Two set and clear, two wait for that.
#[mp::task]
fn use_event(event: mp::Event, member: Member) {
    member.work(|moments| {
        if member.place.is_multiple_of(2) {
            event.set();
            event.clear();
            std::thread::sleep(Duration::from_micros(moments.below(300)));
            Duration::ZERO
        } else {
            let (set, waited) = timed(|| event.wait(Some(PATIENCE)));
            assert!(set, "slept through all");
            waited
        }
    });
    // Nobody may wait for one that has stopped.
    event.set();
}

pub(super) fn event(rounds: u64, ctx: &mp::Context) {
    let event = mp::Event::new().unwrap();
    let words = Words::new(OWN);
    let start = |ctx: &mp::Context, member| ctx.process::<use_event>((event.clone(), member));
    kill(rounds, ctx, &words, start, |_, _| ());
}

/// How often somebody passed with each index.
const INDICES: usize = OWN;
const BROKEN: usize = OWN + SIZE;

#[mp::task]
fn use_barrier(barrier: mp::Barrier, member: Member) {
    let words = &member.words;
    member.work(|moments| {
        let act = || std::thread::sleep(Duration::from_micros(moments.below(20)));
        let (waited, time) = timed(|| barrier.wait_with(None, act));
        match waited {
            // Nobody else has this index before all have come again.
            Ok(index) => words.add(INDICES + index, 1),
            Err(BrokenBarrier::ParticipantDied { pid }) => {
                assert_ne!(pid, std::process::id());
                words.add(BROKEN, 1);
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(BrokenBarrier::Reset | BrokenBarrier::Aborted) => (),
            Err(other) => panic!("{other}"),
        }
        time
    });
    barrier.abort();
}

pub(super) fn barrier(rounds: u64, ctx: &mp::Context) {
    let barrier = mp::Barrier::new(SIZE, None).unwrap();
    let words = Words::new(OWN + SIZE + 1);
    let start = |ctx: &mp::Context, member| ctx.process::<use_barrier>((barrier.clone(), member));
    // One that died while it waited breaks it within 100 ms. One that died before it came is missed
    // by the others, who do not know it: they are sent round again.
    let mend = |_, since| {
        if barrier.broken() || since > Duration::from_millis(150) {
            barrier.reset();
        }
    };
    kill(rounds, ctx, &words, start, mend);
    let passes = [0, 1, 2, 3].map(|index| words.get(INDICES + index));
    println!("passes by index: {passes:?}; {} were told of a death", words.get(BROKEN));
    let most = passes.iter().max().unwrap() - passes.iter().min().unwrap();
    assert!(most <= words.get(BROKEN) + rounds + SIZE as u64, "{passes:?}");
    assert_eq!(barrier.n_waiting(), 0);
    assert!(words.get(LONGEST) > 0);
}
