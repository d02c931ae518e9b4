//! The condition: a notification reaches somebody who lives, and none is used up by one that gave
//! up before.

use crate::raw::atomics::{
    AtomicU32, Deadline, Model, Ordering, Zeroed, process, shared_struct, tick, victim,
};
use crate::raw::condition::{RawCondition, Waiter};
use crate::raw::lock::{RawLock, Taken};

shared_struct! {
    struct Inner {
        lock: RawLock,
        condition: RawCondition,
        items: AtomicU32,
        put: AtomicU32,
        first: Waiter,
        second: Waiter,
    }
}

struct State {
    lock: RawLock,
    condition: RawCondition,
    /// What they wait for; under the lock.
    items: AtomicU32,
    /// How many items came; under the lock.
    put: AtomicU32,
    waiters: [Waiter; 2],
}

fn state() -> State {
    let Inner { lock, condition, items, put, first, second } = Inner::zeroed();
    State { lock, condition, items, put, waiters: [first, second] }
}

impl State {
    fn enter(&self) {
        if self.lock.lock(Deadline::NEVER) == Ok(Taken::OwnerDied) {
            self.lock.make_consistent();
        }
    }

    /// Waits for an item and takes it; `false` if the deadline passed.
    fn take(&self, deadline: Deadline) -> bool {
        self.enter();
        let taken = loop {
            let items = self.items.load(Ordering::Relaxed);
            if items > 0 {
                self.items.store(items - 1, Ordering::Relaxed);
                break true;
            }
            let waited = self.condition.wait(&self.waiters, &self.lock, deadline).unwrap();
            if waited.lock == Taken::OwnerDied {
                self.lock.make_consistent();
            } else if !waited.notified {
                break false;
            }
        };
        self.lock.unlock().unwrap();
        taken
    }

    fn put(&self) {
        self.enter();
        let items = self.items.load(Ordering::Relaxed);
        self.items.store(items + 1, Ordering::Relaxed);
        self.put.fetch_add(1, Ordering::Relaxed);
        self.condition.notify(&self.waiters, 1);
        self.lock.unlock().unwrap();
    }
}

/// Two wait, one of which may die, and two items come.
static DEATH: Model<State> = Model {
    state,
    processes: |state| {
        let takes = || {
            let state = state.clone();
            move || assert!(state.take(Deadline::NEVER))
        };
        let puts = state.clone();
        let puts = move || {
            puts.put();
            puts.put();
        };
        vec![victim(takes()), process(takes()), process(puts)]
    },
    end: |state, died| assert!(state.items.load(Ordering::Relaxed) <= u32::from(died)),
};

/// The notifier may die: the waiter learns it, or has its item.
static NOTIFIER: Model<State> = Model {
    state,
    processes: |state| {
        let [takes, puts, again] = [(); 3].map(|()| state.clone());
        vec![
            process(move || assert!(takes.take(Deadline::NEVER))),
            victim(move || puts.put()),
            process(move || again.put()),
        ]
    },
    end: |_, _| (),
};

/// One item comes. The victim waits for it, takes nothing and hands the notification on: while it
/// has the lock, so if it dies with it the other one learns that.
static HANDED: Model<State> = Model {
    state,
    processes: |state| {
        let [hands_on, takes, puts] = [(); 3].map(|()| state.clone());
        vec![
            victim(move || {
                hands_on.enter();
                while hands_on.put.load(Ordering::Relaxed) == 0 {
                    let waiters = &hands_on.waiters;
                    let waited =
                        hands_on.condition.wait(waiters, &hands_on.lock, Deadline::NEVER).unwrap();
                    if waited.notified {
                        break;
                    }
                }
                hands_on.condition.notify(&hands_on.waiters, 1);
                hands_on.lock.unlock().unwrap();
            }),
            process(move || {
                assert!(takes.take(Deadline::NEVER));
                // The victim may have come later, or be behind.
                takes.enter();
                takes.condition.notify(&takes.waiters, 1);
                takes.lock.unlock().unwrap();
            }),
            process(move || puts.put()),
        ]
    },
    end: |state, _| assert_eq!(state.items.load(Ordering::Relaxed), 0),
};

/// One waits until a tick only, and hands on what it got in time.
static TIMEOUT: Model<State> = Model {
    state,
    processes: |state| {
        let [gives_up, stays, puts] = [(); 3].map(|()| state.clone());
        vec![
            process(move || {
                if gives_up.take(Deadline::at_tick(1)) {
                    gives_up.put();
                }
            }),
            process(move || assert!(stays.take(Deadline::NEVER))),
            process(move || {
                puts.put();
                tick();
            }),
        ]
    },
    end: |state, _| assert_eq!(state.items.load(Ordering::Relaxed), 0),
};

/// One waits as a task does, whose future is dropped at any time: without the lock. One item comes,
/// for the other one.
static DROPPED: Model<State> = Model {
    state,
    processes: |state| {
        let [drops, stays, puts] = [(); 3].map(|()| state.clone());
        vec![
            victim(move || {
                drops.enter();
                let at = drops.condition.enter(&drops.waiters).unwrap();
                drops.lock.unlock().unwrap();
                drops.condition.abandon(&drops.waiters, &drops.waiters[at]);
            }),
            process(move || assert!(stays.take(Deadline::NEVER))),
            process(move || puts.put()),
        ]
    },
    end: |state, died| {
        assert_eq!(state.items.load(Ordering::Relaxed), 0);
        // A dead one's place is freed by whoever needs it.
        assert!(state.condition.waiting(&state.waiters) <= usize::from(died));
    },
};

#[test]
fn a_dropped_future_hands_its_notification_on() {
    DROPPED.check(2);
    DROPPED.check_deaths(1);
}

#[test]
fn each_waiter_gets_its_notification() {
    DEATH.check(2);
    NOTIFIER.check(2);
    HANDED.check(1);
}

#[test]
fn a_dead_waiter_takes_none_along() {
    DEATH.check_deaths(1);
    HANDED.check_deaths(1);
}

#[test]
fn a_dead_notifier_leaves_nobody_asleep() {
    NOTIFIER.check_deaths(1);
}

#[test]
fn one_that_gave_up_uses_none() {
    TIMEOUT.check(2);
}
