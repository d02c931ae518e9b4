//! A log whose reader begins items while its writer takes some back and puts others in their
//! place: each item is begun or taken back, never both or neither, wherever the reader dies.

use crate::raw::atomics::{
    AtomicU32, AtomicU64, Model, Ordering, Zeroed, look, pause, process, publish, shared_struct,
    victim,
};
use crate::raw::bell::Bell;
use crate::raw::claim::{Claim, Recaller};
use loom::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

const NAP: Duration = Duration::from_secs(1);
/// Items that are there at first; others come in the place of those that are taken back.
const FIRST: [u64; 2] = [1, 2];

shared_struct! {
    struct Log {
        begun: AtomicU64,
        recalls: AtomicU64,
        /// How many items there are.
        tail: AtomicU64,
        closed: AtomicU64,
        /// Which they are. Nobody orders the accesses but the claim.
        items: [AtomicU32; 4],
        /// What has run: a bit each.
        ran: AtomicU64,
        work: Bell,
    }
}

/// The log, and what the writer alone knows.
struct State {
    log: Log,
    recaller: Mutex<Recaller>,
    /// What was taken back: a bit each.
    recalled: Mutex<u64>,
}

impl Zeroed for State {
    fn zeroed() -> Self {
        Self { log: Log::zeroed(), recaller: Mutex::default(), recalled: Mutex::default() }
    }
}

impl State {
    fn filled() -> Self {
        let state = Self::zeroed();
        state.push(0, &FIRST);
        state
    }

    fn claim(&self) -> Claim<'_> {
        Claim { begun: &self.log.begun, recalls: &self.log.recalls }
    }

    fn push(&self, at: u32, values: &[u64]) {
        for (place, value) in (at as usize..).zip(values) {
            self.log.items[place].store(*value as u32, Ordering::Relaxed);
        }
        publish(&self.log.tail, u64::from(at) + values.len() as u64);
        self.log.work.ring(1);
    }

    /// Takes back all but so many, and puts an item in their place.
    fn recall(&self, keep: u32, other: u64) {
        let tail = look(&self.log.tail) as u32;
        let mut recaller = *self.recaller.lock().unwrap();
        let cut = recaller.recall(self.claim(), |begun| {
            assert!(begun <= tail);
            let cut = (begun + keep).min(tail);
            publish(&self.log.tail, u64::from(cut));
            cut
        });
        *self.recaller.lock().unwrap() = recaller;
        for place in cut..tail {
            let item = self.log.items[place as usize].load(Ordering::Relaxed);
            *self.recalled.lock().unwrap() |= 1 << item;
        }
        self.push(cut, &[other]);
    }

    fn close(&self) {
        publish(&self.log.closed, 1);
        self.log.work.ring(1);
    }

    /// As the inbox of a worker.
    fn read(&self) {
        let (mut next, mut recalls) = (0, 0);
        loop {
            let closed = look(&self.log.closed) != 0;
            let limit = look(&self.log.tail) as u32;
            if next == limit {
                if closed {
                    return;
                }
                let heard = self.log.work.listen();
                if look(&self.log.tail) as u32 == next && look(&self.log.closed) == 0 {
                    self.log.work.sleep(heard, NAP);
                }
                continue;
            }
            if self.claim().begin(recalls, next) {
                let item = self.log.items[next as usize].load(Ordering::Relaxed);
                let ran = self.log.ran.load(Ordering::Relaxed);
                assert!(ran & 1 << item == 0, "{item} runs twice");
                self.log.ran.store(ran | 1 << item, Ordering::Release);
                next += 1;
                continue;
            }
            recalls = loop {
                match self.claim().settle() {
                    Some(recalls) => break recalls,
                    None => pause(),
                }
            };
        }
    }

    /// What holds in the end, if these were ever in the log.
    fn check(&self, all: &[u64], died: bool) {
        let ran = look(&self.log.ran);
        let recalled = *self.recalled.lock().unwrap();
        assert_eq!(ran & recalled, 0, "run and taken back");
        let begun = self.recaller.lock().unwrap().begun(self.claim());
        let tail = look(&self.log.tail) as u32;
        assert!(begun <= tail, "{begun} of {tail}");
        let mut accounted = recalled;
        for place in 0..tail {
            let item = self.log.items[place as usize].load(Ordering::Relaxed);
            accounted |= 1 << item;
            let has_run = ran & 1 << item != 0;
            // The last one that has begun may not have got far. If it came with a recall, the
            // reader knew of that recall when it said so.
            let known = look(&self.log.begun) >> 32;
            let said = u64::from(item) <= FIRST.len() as u64 + known;
            let may_not = place >= begun || (died && place + 1 == begun && said);
            assert!(has_run || may_not, "{item} at {place} of {begun} did not run");
            assert!(!has_run || place < begun, "{item} at {place} of {begun} has run");
        }
        assert!(died || begun == tail);
        assert!(all.iter().all(|item| accounted & 1 << item != 0), "{accounted:b}");
    }
}

fn reads(state: &Arc<State>) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || state.read()
}

fn recalls(state: &Arc<State>, keeps: &'static [u32]) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || {
        for (keep, other) in keeps.iter().zip(3..) {
            state.recall(*keep, other);
        }
        state.close();
    }
}

static ONE_RECALL: Model<State> = Model {
    state: State::filled,
    processes: |state| vec![process(reads(state)), process(recalls(state, &[0]))],
    end: |state, died| state.check(&[1, 2, 3], died),
};

static TWO_RECALLS: Model<State> = Model {
    state: State::filled,
    processes: |state| vec![process(reads(state)), process(recalls(state, &[1, 0]))],
    end: |state, died| state.check(&[1, 2, 3, 4], died),
};

/// The reader dies somewhere.
static DEAD_READER: Model<State> = Model {
    state: State::filled,
    processes: |state| vec![victim(reads(state)), process(recalls(state, &[0, 0]))],
    end: |state, died| state.check(&[1, 2, 3, 4], died),
};

#[test]
fn an_item_is_begun_or_taken_back() {
    ONE_RECALL.check(4);
    TWO_RECALLS.check(3);
}

#[test]
fn the_reader_may_die_at_any_step() {
    DEAD_READER.check_deaths(2);
}
