//! The semaphore and its ledger: permits are neither lost nor doubled, whoever dies.

use crate::raw::atomics::{
    AtomicU32, Deadline, Model, Ordering, Process, Zeroed, process, shared_struct, victim,
};
use crate::raw::ledger::{Account, Ledger};
use crate::raw::semaphore::RawSemaphore;
use loom::sync::Arc;

shared_struct! {
    struct Inner {
        semaphore: RawSemaphore,
        inside: AtomicU32,
        first: Account,
        second: Account,
        third: Account,
    }
}

struct State {
    semaphore: RawSemaphore,
    inside: AtomicU32,
    accounts: [Account; 3],
}

fn state(permits: u32) -> State {
    let Inner { semaphore, inside, first, second, third } = Inner::zeroed();
    semaphore.init(permits, permits);
    State { semaphore, inside, accounts: [first, second, third] }
}

impl State {
    fn ledger(&self) -> Ledger<'_> {
        Ledger(&self.accounts)
    }

    fn pass(&self) {
        assert!(self.semaphore.acquire(self.ledger(), Deadline::NEVER).unwrap());
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        assert!(before < 2, "{before} inside already");
        self.inside.fetch_sub_one();
        self.semaphore.release(self.ledger(), 1).unwrap();
    }
}

impl AtomicU32 {
    fn fetch_sub_one(&self) {
        self.fetch_add(u32::MAX, Ordering::Relaxed);
    }
}

fn passes(state: &Arc<State>) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || state.pass()
}

fn three(state: &Arc<State>) -> Vec<Process> {
    vec![victim(passes(state)), process(passes(state)), process(passes(state))]
}

/// All permits can be had in the end, and not one more.
fn all_are_there(state: &State, permits: u32) {
    let at_once = Deadline::within(std::time::Duration::ZERO);
    for _ in 0..permits {
        assert_eq!(state.semaphore.acquire(state.ledger(), at_once), Ok(true));
    }
    assert_eq!(state.semaphore.acquire(state.ledger(), at_once), Ok(false));
    assert_eq!(state.ledger().sum(), u64::from(permits));
}

static ONE: Model<State> =
    Model { state: || state(1), processes: three, end: |state, _| all_are_there(state, 1) };

static ONE_IMPATIENT: Model<State> = Model {
    state: || state(1),
    processes: |state| three(state).into_iter().map(Process::impatient).collect(),
    end: |state, _| all_are_there(state, 1),
};

static TWO: Model<State> =
    Model { state: || state(2), processes: three, end: |state, _| all_are_there(state, 2) };

/// A signal: one process releases what others take. The one that dies may take its signal along.
static SIGNAL: Model<State> = Model {
    state: || {
        let state = state(0);
        state.semaphore.init(0, 2);
        state
    },
    processes: |state| {
        let takes = || {
            let state = state.clone();
            move || assert!(state.semaphore.acquire(state.ledger(), Deadline::NEVER).unwrap())
        };
        let sends = state.clone();
        let sends = move || {
            sends.semaphore.release(sends.ledger(), 1).unwrap();
            sends.semaphore.release(sends.ledger(), 1).unwrap();
        };
        vec![victim(takes()), process(takes()), process(sends)]
    },
    end: |state, died| assert!(state.semaphore.value() <= u32::from(died) + 1),
};

#[test]
fn no_wake_up_is_lost() {
    ONE.check(2);
    ONE_IMPATIENT.check(1);
    TWO.check(1);
    SIGNAL.check(1);
}

#[test]
fn permits_of_the_dead_come_back() {
    ONE.check_deaths(1);
    TWO.check_deaths(1);
}

#[test]
fn so_they_do_when_somebody_starves() {
    ONE_IMPATIENT.check_deaths(1);
}

#[test]
fn a_signal_reaches_the_living() {
    SIGNAL.check_deaths(1);
}
