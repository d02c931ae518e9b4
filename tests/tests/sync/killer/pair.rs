//! `Lock` and `RLock`: two numbers that are equal whenever nobody is inside, and who is inside.

use super::{Member, OWN, kill, timed};
use mp::Acquired;
use mpserverd_tests::words::Words;
use std::time::Duration;

const INSIDE: usize = OWN;
const FIRST: usize = OWN + 1;
const SECOND: usize = OWN + 2;
/// How often somebody was told of a death.
const TOLD: usize = OWN + 3;
/// How often somebody was told, and something was half-done.
const MENDED: usize = OWN + 4;

/// What is done inside, and what is looked at before.
fn inside(member: &Member, taken: Acquired, make_good: impl FnOnce()) {
    let words = &member.words;
    let (who, first, second) = (words.get(INSIDE), words.get(FIRST), words.get(SECOND));
    match taken {
        Acquired::Yes => {
            assert_eq!(who, 0, "{who} is inside");
            assert_eq!(first, second, "half-done, and nobody said so");
        }
        Acquired::OwnerDied => {
            words.add(TOLD, 1);
            words.add(MENDED, u64::from(first != second));
            words.set(SECOND, first);
            make_good();
        }
        Acquired::No => panic!("not taken"),
    }
    words.set(INSIDE, u64::from(std::process::id()));
    words.set(FIRST, first + 1);
    words.set(SECOND, first + 1);
    assert_eq!(words.get(INSIDE), u64::from(std::process::id()), "somebody else came in");
    words.set(INSIDE, 0);
}

#[mp::task]
fn use_lock(lock: mp::Lock, member: Member) {
    member.work(|moments| {
        let timeout = (moments.below(4) == 0).then_some(super::PATIENCE);
        let (taken, waited) = timed(|| lock.acquire(true, timeout));
        inside(&member, taken, || lock.make_consistent().unwrap());
        lock.release().unwrap();
        waited
    });
}

#[mp::task]
fn use_rlock(lock: mp::RLock, member: Member) {
    member.work(|moments| {
        let (taken, waited) = timed(|| lock.acquire(true, None));
        let deeper = moments.below(3);
        (0..deeper).for_each(|_| assert_eq!(lock.acquire(true, None), taken));
        inside(&member, taken, || lock.make_consistent().unwrap());
        (0..=deeper).for_each(|_| lock.release().unwrap());
        assert!(lock.release().is_err());
        waited
    });
}

fn report(words: &Words, free: impl FnOnce() -> bool) {
    println!(
        "{} passes, {} deaths told, {} of them half-done",
        words.get(FIRST),
        words.get(TOLD),
        { words.get(MENDED) }
    );
    assert!(free(), "the last owner died, or nobody has it");
}

pub(super) fn lock(rounds: u64, ctx: &mp::Context) {
    let (lock, words) = (mp::Lock::new().unwrap(), Words::new(OWN + 5));
    let start = |ctx: &mp::Context, member| ctx.process::<use_lock>((lock.clone(), member));
    kill(rounds, ctx, &words, start, |_, _| ());
    report(&words, || lock.acquire(true, Some(Duration::ZERO)) == Acquired::Yes);
}

pub(super) fn rlock(rounds: u64, ctx: &mp::Context) {
    let (lock, words) = (mp::RLock::new().unwrap(), Words::new(OWN + 5));
    let start = |ctx: &mp::Context, member| ctx.process::<use_rlock>((lock.clone(), member));
    kill(rounds, ctx, &words, start, |_, _| ());
    report(&words, || lock.acquire(true, Some(Duration::ZERO)) == Acquired::Yes);
}
