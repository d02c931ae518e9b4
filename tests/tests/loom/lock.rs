//! The lock word: one owner at a time, no wake-up lost, and a dead owner followed by one who knows.

use crate::raw::atomics::{
    AtomicU32, Deadline, Model, Ordering, Process, Zeroed, process, shared_struct, victim,
};
use crate::raw::lock::{RawLock, Taken};
use loom::sync::Arc;

shared_struct! {
    struct State {
        lock: RawLock,
        /// Who is inside; nobody orders the accesses to it but the lock.
        inside: AtomicU32,
        /// How many were told of a death.
        told: AtomicU32,
        /// How many came through.
        done: AtomicU32,
    }
}

impl State {
    fn pass(&self) {
        match self.lock.lock(Deadline::NEVER).unwrap() {
            Taken::Clean => assert_eq!(self.inside.load(Ordering::Relaxed), 0),
            Taken::OwnerDied => {
                self.told.fetch_add(1, Ordering::Relaxed);
                self.inside.store(0, Ordering::Relaxed);
                self.lock.make_consistent();
            }
        }
        self.inside.store(1, Ordering::Relaxed);
        self.inside.store(0, Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::Relaxed);
        self.lock.unlock().unwrap();
    }
}

fn passes(state: &Arc<State>) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || state.pass()
}

fn end(state: &State, died: bool) {
    assert!(!state.lock.is_locked() || died);
    let told = state.told.load(Ordering::Relaxed);
    let done = state.done.load(Ordering::Relaxed);
    assert!(told <= u32::from(died), "told {told} times");
    assert!(done >= 2, "{done} came through");
}

static PATIENT: Model<State> = Model {
    state: State::zeroed,
    processes: |state| vec![victim(passes(state)), process(passes(state)), process(passes(state))],
    end,
};

static IMPATIENT: Model<State> = Model {
    state: State::zeroed,
    processes: |state| {
        let impatient = |process: Process| process.impatient();
        let all = [victim(passes(state)), process(passes(state)), process(passes(state))];
        all.map(impatient).into()
    },
    end,
};

/// The victim tries only, and the one that is left must get it.
static TRYING: Model<State> = Model {
    state: State::zeroed,
    processes: |state| {
        let tries = state.clone();
        let try_once = move || {
            if let Some(taken) = tries.lock.try_lock() {
                assert_eq!(taken, Taken::Clean);
                assert_eq!(tries.inside.load(Ordering::Relaxed), 0);
                tries.lock.unlock().unwrap();
            }
        };
        vec![victim(try_once), process(passes(state)), process(passes(state)).impatient()]
    },
    end,
};

#[test]
fn one_at_a_time_and_nobody_sleeps_for_ever() {
    PATIENT.check(2);
    IMPATIENT.check(2);
    TRYING.check(2);
}

#[test]
fn a_dead_owner_is_followed_by_one_who_knows() {
    PATIENT.check_deaths(2);
}

#[test]
fn so_it_is_when_somebody_starves() {
    IMPATIENT.check_deaths(1);
}

#[test]
fn who_tries_only_may_die_too() {
    TRYING.check_deaths(2);
}
