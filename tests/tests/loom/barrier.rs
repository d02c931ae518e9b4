//! The barrier: all pass or all learn that they do not.

use crate::raw::atomics::{
    AtomicU32, Deadline, Model, Ordering, Zeroed, process, shared_struct, victim,
};
use crate::raw::barrier::{Place, RawBarrier, Verdict};
use loom::sync::Arc;

shared_struct! {
    struct Inner {
        barrier: RawBarrier,
        passed: AtomicU32,
        indices: AtomicU32,
        first: Place,
        second: Place,
        third: Place,
        fourth: Place,
    }
}

struct State {
    barrier: RawBarrier,
    passed: AtomicU32,
    indices: AtomicU32,
    places: [Place; 4],
}

fn state() -> State {
    let Inner { barrier, passed, indices, first, second, third, fourth } = Inner::zeroed();
    State { barrier, passed, indices, places: [first, second, third, fourth] }
}

impl State {
    fn meet(&self) -> Verdict {
        let (raw, places) = (&self.barrier, &self.places);
        let arrived = match raw.arrive(places, 2, Deadline::NEVER) {
            Ok(arrived) => arrived,
            Err(verdict) => return verdict,
        };
        let verdict = if arrived.last {
            raw.conclude(places, &arrived, Verdict::Passed)
        } else {
            raw.attend(places, &arrived, Deadline::NEVER)
        };
        if verdict == Verdict::Passed {
            self.passed.fetch_add(1, Ordering::Relaxed);
            self.indices.fetch_add(1 << (4 * arrived.index), Ordering::Relaxed);
        }
        verdict
    }
}

fn meets(state: &Arc<State>) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || assert_eq!(state.meet(), Verdict::Passed)
}

static TWO: Model<State> = Model {
    state,
    processes: |state| vec![process(meets(state)), process(meets(state))],
    end: |state, _| {
        assert_eq!(state.passed.load(Ordering::Relaxed), 2);
        assert_eq!(state.indices.load(Ordering::Relaxed), 0x11, "each index once");
        assert_eq!(state.barrier.waiting(&state.places), 0);
    },
};

/// One may die; a third process breaks the barrier for good, so that nobody waits for one that
/// never came.
static DEATH: Model<State> = Model {
    state,
    processes: |state| {
        let [meets, dies, aborts] = [(); 3].map(|()| state.clone());
        vec![
            process(move || {
                let verdict = meets.meet();
                let dead = Verdict::Died { pid: 2 };
                assert!(
                    [Verdict::Passed, Verdict::Aborted, dead].contains(&verdict),
                    "{verdict:?}"
                );
            }),
            victim(move || {
                dies.meet();
            }),
            process(move || aborts.barrier.abort(&aborts.places)),
        ]
    },
    end: |state, died| {
        let passed = state.passed.load(Ordering::Relaxed);
        assert!(died || passed != 1, "one passed alone");
        assert!(state.barrier.broken().is_some());
        assert_eq!(state.barrier.waiting(&state.places), 0);
    },
};

#[test]
fn two_meet() {
    TWO.check(3);
}

#[test]
fn all_pass_or_learn_that_they_do_not() {
    DEATH.check(2);
    DEATH.check_deaths(1);
}
