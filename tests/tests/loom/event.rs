//! The event: who waits sees a set, also one that is cleared at once.

use crate::raw::atomics::{
    AtomicU32, Deadline, Model, Ordering, Zeroed, asleep, process, shared_struct, victim,
};
use crate::raw::event::RawEvent;

shared_struct! {
    struct State {
        event: RawEvent,
        /// Written before the set: who saw the set sees it.
        written: AtomicU32,
    }
}

static SET: Model<State> = Model {
    state: State::zeroed,
    processes: |state| {
        let waits = || {
            let state = state.clone();
            move || {
                assert!(state.event.wait(Deadline::NEVER));
                assert_eq!(state.written.load(Ordering::Relaxed), 1);
            }
        };
        let setter = || {
            let state = state.clone();
            move || {
                state.written.store(1, Ordering::Relaxed);
                state.event.set();
            }
        };
        vec![victim(setter()), process(waits()), process(setter())]
    },
    end: |state, _| assert!(state.event.is_set()),
};

/// A setter that clears at once: a waiter that was asleep returns all the same. It sets once more
/// only for one that was not there yet.
static PULSE: Model<State> = Model {
    state: State::zeroed,
    processes: |state| {
        let (waits, pulses) = (state.clone(), state.clone());
        vec![
            process(move || assert!(waits.event.wait(Deadline::NEVER))),
            process(move || {
                let there = asleep() == 1;
                pulses.event.set();
                pulses.event.clear();
                if !there {
                    pulses.event.set();
                }
            }),
        ]
    },
    end: |_, _| (),
};

#[test]
fn nobody_sleeps_through_a_set() {
    SET.check(2);
    SET.check_deaths(1);
}

#[test]
fn nobody_sleeps_through_a_set_and_a_clear() {
    PULSE.check(4);
}
