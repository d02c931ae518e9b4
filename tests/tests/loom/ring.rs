//! The ring of a queue with the bells beside it: items come whole, in order and once, whoever dies
//! where; nobody sleeps while there is something for him.

use crate::raw::atomics::{
    AtomicU32, AtomicU64, Deadline, Model, Ordering, Zeroed, process, shared_struct, victim,
};
use crate::raw::bell::Bell;
use crate::raw::counters::UNIT;
use crate::raw::lock::Taken;
use crate::raw::ring::{Memory, RawRing, Refused, Ring, Shape};
use loom::sync::Arc;
use std::ops::Range;
use std::time::Duration;

/// Two items of eight bytes fill it, and every second one begins a block.
const SHAPE: Shape = Shape { block_bytes: 32, blocks: 2, items_max: 2, units_max: 4 };
const NAP: Duration = Duration::from_secs(1);

shared_struct! {
    /// Memory that nobody orders the accesses to but the ring.
    struct Cells {
        words: [AtomicU64; 8],
        list: [AtomicU32; 2],
    }
}

impl Memory for Cells {
    fn write(&self, at: usize, bytes: &[u8]) {
        let word = u64::from_le_bytes(bytes.try_into().unwrap());
        self.words[at / UNIT].store(word, Ordering::Relaxed);
    }

    fn append(&self, at: usize, length: usize, into: &mut Vec<u8>) {
        assert_eq!(length, UNIT);
        into.extend(self.word(at));
    }

    fn word(&self, at: usize) -> [u8; UNIT] {
        self.words[at / UNIT].load(Ordering::Relaxed).to_le_bytes()
    }

    fn block(&self, entry: u32) -> u32 {
        self.list[entry as usize].load(Ordering::Relaxed)
    }

    fn set_block(&self, entry: u32, block: u32) {
        self.list[entry as usize].store(block, Ordering::Relaxed);
    }

    fn forget(&self, _: Range<usize>) {
        panic!("it never has so many blocks");
    }
}

shared_struct! {
    struct State {
        raw: RawRing,
        items: Bell,
        space: Bell,
        cells: Cells,
        /// What was taken and told, a decimal digit each.
        told: AtomicU64,
    }
}

impl State {
    fn ring(&self) -> Ring<'_, Cells> {
        Ring { raw: &self.raw, shape: SHAPE, memory: &self.cells }
    }

    /// As `Queue::put`.
    fn put(&self, value: u64) {
        let ring = self.ring();
        loop {
            if self.raw.fill.lock.lock(Deadline::NEVER).unwrap() == Taken::OwnerDied {
                self.raw.fill.lock.make_consistent();
            }
            let mut writer = ring.writer();
            let pushed = writer.push(&[&value.to_le_bytes()], 7);
            let added = writer.publish();
            self.raw.fill.lock.unlock().unwrap();
            match pushed {
                Ok(()) => return self.items.ring(added),
                Err(refused) => assert_eq!(refused, Refused::Full),
            }
            let heard = self.space.listen();
            if !ring.has_room(2) {
                self.space.sleep(heard, NAP);
            }
        }
    }

    /// As `Queue::get`.
    fn get(&self) -> u64 {
        let ring = self.ring();
        let mut slept = false;
        loop {
            if ring.has_items()
                && let Some(value) = self.try_get()
            {
                self.space.ring(u32::MAX);
                if slept {
                    self.items.pass_on();
                    if ring.has_items() {
                        self.items.ring(1);
                    }
                }
                return value;
            }
            let heard = self.items.listen();
            if !ring.has_items() {
                slept = true;
                self.items.sleep(heard, NAP);
            }
        }
    }

    fn try_get(&self) -> Option<u64> {
        if self.raw.empty.lock.lock(Deadline::NEVER).unwrap() == Taken::OwnerDied {
            self.raw.empty.lock.make_consistent();
        }
        let mut reader = self.ring().reader();
        let mut bytes = Vec::new();
        let item = reader.next().unwrap();
        if let Some(item) = item {
            assert_eq!((item.length, item.kind), (UNIT, 7), "torn");
            reader.copy(&item, 0, &mut bytes).unwrap();
            reader.skip(&item);
            reader.publish();
        }
        self.raw.empty.lock.unlock().unwrap();
        item.map(|_| u64::from_le_bytes(bytes.try_into().unwrap()))
    }

    fn get_and_tell(&self) {
        let value = self.get();
        let told = self.told.load(Ordering::Relaxed);
        self.told.store(told * 10 + value, Ordering::Relaxed);
    }

    /// What was taken, then what is left.
    fn all(&self) -> Vec<u64> {
        let mut told = self.told.load(Ordering::Relaxed);
        let mut all = Vec::new();
        while told > 0 {
            all.insert(0, told % 10);
            told /= 10;
        }
        while let Some(value) = self.try_get() {
            all.push(value);
        }
        all
    }
}

fn puts(state: &Arc<State>, values: &'static [u64]) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || values.iter().for_each(|value| state.put(*value))
}

fn gets(state: &Arc<State>, count: usize) -> impl FnOnce() + use<> {
    let state = state.clone();
    move || (0..count).for_each(|_| state.get_and_tell())
}

/// More than fit at a time, over the ends of blocks: both sides sleep and wake each other.
static ONE_TO_ONE: Model<State> = Model {
    state: State::zeroed,
    processes: |state| vec![process(puts(state, &[1, 2, 3, 4])), process(gets(state, 4))],
    end: |state, _| assert_eq!(state.all(), [1, 2, 3, 4]),
};

/// A producer dies somewhere; another one goes on.
static DEAD_PRODUCER: Model<State> = Model {
    state: State::zeroed,
    processes: |state| {
        vec![victim(puts(state, &[1, 2])), process(puts(state, &[3])), process(gets(state, 1))]
    },
    end: |state, died| {
        let all = state.all();
        let own = all.iter().filter(|value| **value != 3).copied().collect::<Vec<_>>();
        assert!([1, 2].starts_with(&own), "{all:?}");
        assert_eq!(all.iter().filter(|value| **value == 3).count(), 1, "{all:?}");
        assert!(died || all.len() == 3, "{all:?}");
    },
};

/// A consumer dies somewhere; another one gets what it has not taken.
static DEAD_CONSUMER: Model<State> = Model {
    state: State::zeroed,
    processes: |state| {
        let other = state.clone();
        let takes = move || {
            other.get();
        };
        vec![process(puts(state, &[1, 2, 3])), victim(takes), process(gets(state, 1))]
    },
    end: |state, died| {
        let all = state.all();
        assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
        // What is missing is what the one that tells nobody took, if it lived so long.
        assert!(all.len() == 2 || (died && all.len() == 3), "{all:?}");
    },
};

#[test]
fn items_come_in_order_and_nobody_sleeps_for_ever() {
    ONE_TO_ONE.check(2);
    DEAD_PRODUCER.check(1);
    DEAD_CONSUMER.check(1);
}

#[test]
fn a_producer_may_die_at_any_step() {
    DEAD_PRODUCER.check_deaths(1);
}

#[test]
fn a_consumer_may_die_at_any_step() {
    DEAD_CONSUMER.check_deaths(1);
}
