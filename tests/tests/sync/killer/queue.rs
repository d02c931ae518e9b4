//! `Condition`: items that two put and two take, each waiting for the others' notifications and for
//! no time to pass.

use super::{Member, OWN, kill, timed};
use mp::SyncError;
use mpserverd_tests::words::Words;
use std::time::Duration;

/// Items that are there.
const ITEMS: usize = OWN;
/// Items that were put, and taken, in all.
const PUT: usize = OWN + 1;
const TAKEN: usize = OWN + 2;
/// How often somebody was told of a death.
const TOLD: usize = OWN + 3;
/// Most items that may be there.
const ROOM: u64 = 3;

/// Two conditions of one lock: there are items; there is room.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Queue {
    items: mp::Condition,
    room: mp::Condition,
}

impl Queue {
    /// Waits until it holds; gives how long the waits took in which nothing was to be had.
    fn wait(&self, on: &mp::Condition, words: &Words, mut holds: impl FnMut() -> bool) {
        loop {
            match on.wait_for(&mut holds, None) {
                Ok(true) => return,
                Ok(false) => panic!("a wait without a timeout timed out"),
                Err(SyncError::OwnerDied { .. }) => self.mend(words),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The dead one may have changed something and notified nobody.
    fn mend(&self, words: &Words) {
        words.add(TOLD, 1);
        self.items.make_consistent().unwrap();
        self.items.notify_all().unwrap();
        self.room.notify_all().unwrap();
    }

    fn enter(&self, words: &Words) -> Duration {
        let (taken, waited) = timed(|| self.items.acquire(true, None));
        if taken == mp::Acquired::OwnerDied {
            self.mend(words);
        }
        waited
    }
}

#[mp::task]
fn use_queue(queue: Queue, member: Member) {
    let words = &member.words;
    member.work(|_| {
        let waited = queue.enter(words);
        // One more or less is one write, so whatever a dead one left is whole.
        if member.place.is_multiple_of(2) {
            queue
                .wait(&queue.room, words, || words.get(ITEMS) < ROOM || words.get(super::STOP) > 0);
            words.add(ITEMS, 1);
            words.add(PUT, 1);
            queue.items.notify(1).unwrap();
        } else {
            queue.wait(&queue.items, words, || words.get(ITEMS) > 0 || words.get(super::STOP) > 0);
            words.set(ITEMS, words.get(ITEMS).saturating_sub(1));
            words.add(TAKEN, 1);
            queue.room.notify(1).unwrap();
        }
        assert!(words.get(ITEMS) <= ROOM + 4, "{} items", words.get(ITEMS));
        queue.room.release().unwrap();
        waited
    });
    // Nobody may wait for one that has stopped.
    queue.enter(words);
    queue.items.notify_all().unwrap();
    queue.room.notify_all().unwrap();
    queue.items.release().unwrap();
}

pub(super) fn condition(rounds: u64, ctx: &mp::Context) {
    let lock = mp::RLock::new().unwrap();
    let condition = || mp::Condition::with_lock(lock.clone()).unwrap();
    let queue = Queue { items: condition(), room: condition() };
    let words = Words::new(OWN + 4);
    let start = |ctx: &mp::Context, member| ctx.process::<use_queue>((queue.clone(), member));
    kill(rounds, ctx, &words, start, |_, _| ());
    let [put, taken, told] = [PUT, TAKEN, TOLD].map(|index| words.get(index));
    println!("{put} put, {taken} taken, {told} deaths told");
    assert!(queue.items.acquire(true, Some(Duration::ZERO)).is_held());
    assert_eq!((queue.items.waiters(), queue.room.waiters()), (0, 0));
}
