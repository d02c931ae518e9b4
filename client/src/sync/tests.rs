//! What others may leave in memory: owners whose pid somebody else has now, and nonsense. The
//! algorithms themselves have models, and tests between processes.

use super::raw::atomics::{AtomicU64, Deadline, Ordering, own_identity};
use super::raw::barrier::{Place, RawBarrier, Verdict};
use super::raw::condition::{RawCondition, Waiter};
use super::raw::event::RawEvent;
use super::raw::ledger::{Account, Ledger};
use super::raw::lock::{RawLock, Taken};
use super::raw::rlock::RawRLock;
use super::raw::semaphore::RawSemaphore;
use crate::sys::mapping::{Mapping, Region, Shared, View, sealed_memory};
use std::sync::Arc;
use std::time::Duration;

const BRIEF: Duration = Duration::from_millis(20);

/// An object at the beginning of some memory, and a table in the second half.
struct Memory(Arc<Mapping>);

impl Memory {
    const HALF: usize = 4096;

    fn new() -> Self {
        let fd = sealed_memory(2 * Self::HALF).expect("memory");
        Self(Arc::new(Mapping::of(&fd).expect("a mapping")))
    }

    fn object<T: Shared>(&self) -> View<T> {
        View::new(&self.0, 0).expect("inside")
    }

    fn table<T: Shared>(&self, count: usize) -> Region {
        Region::new(&self.0, Self::HALF, count * size_of::<T>(), 8).expect("inside")
    }

    fn scribble(&self, offset: usize, value: u64) {
        View::<AtomicU64>::new(&self.0, offset).expect("inside").store(value, Ordering::Relaxed);
    }

    fn fill(&self, value: u64) {
        (0..2 * Self::HALF).step_by(8).for_each(|offset| self.scribble(offset, value));
    }
}

/// A process that had the pid of this one before it.
fn recycled() -> u64 {
    own_identity() ^ 1 << 34
}

#[test]
fn an_owner_whose_pid_was_recycled_is_dead() {
    let memory = Memory::new();
    let lock = memory.object::<RawLock>();
    memory.scribble(0, recycled());
    assert!(lock.is_locked() && !lock.is_own());
    assert_eq!(lock.lock(Deadline::NEVER), Ok(Taken::OwnerDied));
    assert!(lock.is_own());
    assert_eq!(lock.unlock(), Ok(()));
    assert_eq!(lock.try_lock(), Some(Taken::OwnerDied), "nobody has made it good");
    lock.make_consistent();
    assert_eq!(lock.taken(), Taken::Clean);
    memory.scribble(0, own_identity());
    assert!(lock.lock(Deadline::within(BRIEF)).is_err(), "this one is alive");
}

#[test]
fn depth_and_thread_of_a_dead_owner_mean_nothing() {
    let memory = Memory::new();
    memory.fill(u64::MAX);
    memory.scribble(0, recycled());
    let lock = memory.object::<RawRLock>();
    assert!(!lock.is_own() && lock.unlock().is_err());
    assert_eq!(lock.lock(Deadline::NEVER), Ok(Taken::OwnerDied));
    lock.word().make_consistent();
    assert_eq!(lock.suspend(), Ok(1));
    assert_eq!(lock.resume(3, Deadline::NEVER), Ok(Taken::Clean));
    assert_eq!([(); 4].map(|()| lock.unlock().is_ok()), [true, true, true, false]);
    assert!(!lock.word().is_locked());
}

#[test]
fn a_holder_whose_pid_was_recycled_gives_its_permits_back() {
    let memory = Memory::new();
    let semaphore = memory.object::<RawSemaphore>();
    let accounts = memory.table::<Account>(4);
    let ledger = Ledger(accounts.entries());
    semaphore.init(2, 2);
    assert!((0..2).all(|_| semaphore.acquire(ledger, Deadline::NEVER) == Ok(true)));
    (0..4).for_each(|account| {
        let who = Memory::HALF + account * size_of::<Account>();
        memory.scribble(who, recycled());
    });
    assert_eq!(semaphore.value(), 0);
    assert_eq!(semaphore.acquire(ledger, Deadline::within(BRIEF)), Ok(true));
    assert_eq!((semaphore.value(), ledger.sum()), (1, 1));
    // An owner that died in the middle: what is free is added up again.
    memory.scribble(0, recycled());
    memory.scribble(8, 7 << 32);
    assert_eq!(semaphore.release(ledger, 1), Ok(()));
    assert_eq!((semaphore.value(), ledger.sum()), (2, 0));
    assert!(semaphore.release(ledger, 1).is_err());
}

#[test]
fn a_ledger_keeps_accounts_apart() {
    let memory = Memory::new();
    let accounts = memory.table::<Account>(3);
    let ledger = Ledger(accounts.entries());
    assert_eq!(ledger.limit(), 3);
    assert!(ledger.deposit(5));
    assert_eq!(ledger.withdraw(2), 2);
    assert_eq!((ledger.sum(), ledger.withdraw(9), ledger.sum()), (3, 3, 0));
    (0..3).for_each(|index| {
        memory.scribble(Memory::HALF + 16 * index, recycled());
        memory.scribble(Memory::HALF + 16 * index + 8, 10 + index as u64);
    });
    assert!(!ledger.deposit(1), "no room");
    assert_eq!(ledger.withdraw(1), 0, "not ours");
    assert_eq!(ledger.withdraw_anywhere(15), 15);
    assert_eq!(ledger.sum(), 18);
    for account in accounts.entries() {
        assert_eq!(ledger.close(account, own_identity()), 0);
        let Some(dead) = account.dead() else { continue };
        assert!(ledger.close(account, dead) > 0);
    }
    assert_eq!(ledger.sum(), 0);
    assert_eq!(Ledger(&[]).withdraw(1), 0);
    assert!(!Ledger(&[]).deposit(1));
}

#[test]
fn a_waiter_whose_pid_was_recycled_takes_no_notification() {
    let memory = Memory::new();
    let condition = memory.object::<RawCondition>();
    let waiters = memory.table::<Waiter>(2);
    memory.scribble(0, 9);
    memory.scribble(Memory::HALF, recycled() | 1 << 28);
    memory.scribble(Memory::HALF + 24, own_identity() | 1 << 28);
    memory.scribble(Memory::HALF + 24 + 8, 5);
    let waiters = waiters.entries::<Waiter>();
    assert_eq!(condition.waiting(waiters), 2);
    assert_eq!(condition.notify(waiters, 1), 1);
    assert_eq!(condition.waiting(waiters), 0, "the dead one's place was freed");
    assert_eq!(condition.notify(waiters, usize::MAX), 0);
}

#[test]
fn a_participant_whose_pid_was_recycled_breaks_the_barrier() {
    let memory = Memory::new();
    let barrier = memory.object::<RawBarrier>();
    let places = memory.table::<Place>(4);
    memory.scribble(Memory::HALF, recycled());
    let places = places.entries();
    let arrived = barrier.arrive(places, 3, Deadline::NEVER).expect("it is not broken yet");
    assert_eq!((arrived.index, arrived.last), (1, false));
    let died = Verdict::Died { pid: std::process::id() };
    assert_eq!(barrier.attend(places, &arrived, Deadline::NEVER), died);
    assert_eq!(barrier.broken(), Some(died));
    assert_eq!(barrier.waiting(places), 0);
}

#[test]
fn nonsense_hangs_nobody_for_longer_than_asked() {
    let soon = || Deadline::within(BRIEF);
    for value in [u64::MAX, 0x5555_5555_5555_5555, 1 << 63, own_identity() | 1 << 28, 1] {
        let memory = Memory::new();
        memory.fill(value);
        let _ = memory.object::<RawLock>().lock(soon());
        memory.fill(value);
        let _ = memory.object::<RawRLock>().lock(soon());
        memory.fill(value);
        memory.object::<RawEvent>().wait(soon());
        memory.object::<RawEvent>().set();
        memory.object::<RawEvent>().clear();
        memory.fill(value);
        let accounts = memory.table::<Account>(8);
        let _ = memory.object::<RawSemaphore>().acquire(Ledger(accounts.entries()), soon());
        memory.fill(value);
        let waiters = memory.table::<Waiter>(8);
        memory.object::<RawCondition>().notify(waiters.entries(), 3);
        memory.fill(value);
        memory.scribble(0, 0);
        let places = memory.table::<Place>(8);
        let barrier = memory.object::<RawBarrier>();
        if let Ok(arrived) = barrier.arrive(places.entries(), 3, soon()) {
            barrier.attend(places.entries(), &arrived, soon());
        }
        barrier.waiting(places.entries());
    }
}
