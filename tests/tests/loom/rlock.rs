//! The recursive lock: a dead owner's thread and depth mean nothing to the next one.

use crate::raw::atomics::{
    AtomicU32, Deadline, Model, Ordering, Zeroed, process, shared_struct, victim,
};
use crate::raw::lock::Taken;
use crate::raw::rlock::RawRLock;
use loom::sync::Arc;

shared_struct! {
    struct State {
        lock: RawRLock,
        inside: AtomicU32,
    }
}

impl State {
    fn pass(&self) {
        if self.lock.lock(Deadline::NEVER) == Ok(Taken::OwnerDied) {
            self.inside.store(0, Ordering::Relaxed);
            self.lock.word().make_consistent();
        }
        assert_eq!(self.inside.load(Ordering::Relaxed), 0);
        assert_eq!(self.lock.try_lock(), Some(Taken::Clean));
        self.inside.store(1, Ordering::Relaxed);
        self.lock.unlock().unwrap();
        self.inside.store(0, Ordering::Relaxed);
        self.lock.unlock().unwrap();
        assert!(self.lock.unlock().is_err());
    }
}

fn passes(state: &Arc<State>) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || state.pass()
}

static TWO: Model<State> = Model {
    state: State::zeroed,
    processes: |state| vec![victim(passes(state)), process(passes(state))],
    end: |state, died| assert!(died || !state.lock.word().is_locked()),
};

#[test]
fn a_thread_passes_twice_at_once_and_alone() {
    TWO.check(3);
    TWO.check_deaths(2);
}
