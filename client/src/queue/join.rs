//! Who has taken items and not said yet that they are done.
//!
//! Two numbers and the accounts of a [`Ledger`] say it all. An item is *unfinished* from its `put`
//! on until `task_done`. One that was taken stands on the account of the process that took it. If
//! such a process dies, its account is closed: what it had taken will never be done by anybody,
//! and counts as lost. Accounts and numbers change under the lock of the emptying end of the
//! queue; numbers by one store.

use super::core::{Core, Naps, Wait};
use super::memory::Blocks;
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sync::raw::atomics::{AtomicU32, AtomicU64, Ordering, look, publish, shared_struct};
use crate::sync::raw::bell::Bell;
use crate::sync::raw::ledger::{Account, Ledger};
use crate::sync::raw::ring::Ring;
use crate::sys::mapping::Region;
use std::sync::atomic::AtomicU32 as LocalU32;

/// How many processes may have unfinished items at once.
pub(super) const ACCOUNTS: usize = 1024;

shared_struct! {
    /// What a joinable queue has beside its ring.
    pub(crate) struct JoinState {
        /// Rings when nothing is unfinished.
        pub(super) finished: Bell,
        padding: AtomicU32,
        /// Low half: how many items were done, those that were lost included. High half: how many
        /// were lost. Both wrap around.
        done: AtomicU64,
    }
}

impl Object for JoinState {
    const KIND: u32 = 33;
    const NAME: &'static str = "JoinableQueue";
}

/// Why [`task_done`](super::JoinableQueue::task_done) was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{queue}: task_done was called for more items than were put")]
pub struct TooManyTasksDone {
    /// The type of the queue.
    pub queue: &'static str,
}

/// Why [`join`](super::JoinableQueue::join) did not simply return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The time passed first.
    #[error("{queue}: {unfinished} items are not done yet")]
    TimedOut {
        /// The type of the queue.
        queue: &'static str,
        /// How many are not done.
        unfinished: usize,
    },
    /// Everything else is done, but some items were taken by processes that died before they said
    /// so. Said once to each handle that joins.
    #[error("{queue}: {items} items were taken by processes that died before they were done")]
    ItemsLost {
        /// The type of the queue.
        queue: &'static str,
        /// How many were lost, since this was last said.
        items: usize,
    },
}

#[derive(Clone, Copy)]
struct Done {
    done: u32,
    lost: u32,
}

impl Done {
    fn from_word(word: u64) -> Self {
        Self { done: word as u32, lost: (word >> 32) as u32 }
    }

    fn to_word(self) -> u64 {
        u64::from(self.lost) << 32 | u64::from(self.done)
    }
}

/// The part of a queue by which one can join it.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) state: Shareable<JoinState>,
    accounts: Region,
    /// How many lost items this handle has told of.
    told: LocalU32,
}

impl Join {
    pub(super) fn new() -> Result<Self, ShareError> {
        let bytes = ACCOUNTS * size_of::<Account>();
        Self::of(Shareable::with_tail(bytes, align_of::<Account>(), |_| ())?)
    }

    /// Checks what came from another process.
    pub(super) fn of(state: Shareable<JoinState>) -> Result<Self, ShareError> {
        let bytes = ACCOUNTS * size_of::<Account>();
        let accounts = state.tail(bytes, align_of::<Account>());
        let accounts = accounts.ok_or(ShareError::Damaged { object: JoinState::NAME })?;
        let told = LocalU32::new(Done::from_word(look(&state.done)).lost);
        Ok(Self { state, accounts, told })
    }

    /// The same, for another handle.
    pub(super) fn another(&self) -> Self {
        let told = LocalU32::new(self.told.load(Ordering::Relaxed));
        Self { state: self.state.clone(), accounts: self.accounts.clone(), told }
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger(self.accounts.entries())
    }

    /// Puts items that are about to be taken on the account of this process; `false` if there is
    /// no room for one more. For whoever holds the lock of the emptying end.
    pub(super) fn deposit(&self, items: u32) -> bool {
        self.ledger().deposit(u64::from(items))
    }

    fn done(&self) -> Done {
        Done::from_word(look(&self.state.done))
    }

    pub(super) fn unfinished(&self, ring: &Ring<'_, Blocks>) -> u32 {
        ring.items_ever().wrapping_sub(self.done().done)
    }

    /// Counts so many items as done, lost ones or not.
    fn add(&self, ring: &Ring<'_, Blocks>, items: u32, lost: u32) {
        let Done { done, lost: before } = self.done();
        let now = Done { done: done.wrapping_add(items), lost: before.wrapping_add(lost) };
        publish(&self.state.done, now.to_word());
        if ring.items_ever() == now.done {
            self.state.finished.ring(u32::MAX);
        }
    }

    /// What there is to tell when everything is done.
    pub(super) fn tell(&self, queue: &'static str) -> Result<(), JoinError> {
        let lost = self.done().lost;
        match lost.wrapping_sub(self.told.swap(lost, Ordering::Relaxed)) {
            0 => Ok(()),
            items => Err(JoinError::ItemsLost { queue, items: items as usize }),
        }
    }

    pub(super) fn has_accounts_of_the_dead(&self) -> bool {
        self.ledger().0.iter().any(|account| account.dead().is_some())
    }

    /// Closes the accounts of the dead. For whoever holds the lock of the emptying end.
    pub(super) fn bury(&self, ring: &Ring<'_, Blocks>) {
        let ledger = self.ledger();
        for account in ledger.0 {
            if let Some(dead) = account.dead() {
                ledger.close(account, dead);
            }
        }
        // One that died between two stores has an account for items that it did not take, or the
        // other way round: what is missing is what nobody alive has.
        let open = ring.items_taken().wrapping_sub(self.done().done);
        let held = u32::try_from(ledger.sum()).unwrap_or(u32::MAX);
        let lost = open.saturating_sub(held);
        // More than half of all numbers: more was done than was taken.
        if lost > 0 && open < u32::MAX / 2 {
            self.add(ring, lost, lost);
        }
    }
}

impl Core {
    pub(super) fn task_done(&self, items: u32) -> Result<(), TooManyTasksDone> {
        let refused = TooManyTasksDone { queue: self.name };
        let join = self.join.as_ref().ok_or(refused)?;
        let ring = self.memory.ring();
        self.at_the_taking_end(|| {
            if join.unfinished(&ring) < items {
                return Err(refused);
            }
            let ledger = join.ledger();
            let count = u64::from(items);
            let own = ledger.withdraw(count);
            ledger.withdraw_anywhere(count - own);
            join.add(&ring, items, 0);
            Ok(())
        })
    }

    pub(super) fn unfinished(&self) -> usize {
        self.join.as_ref().map_or(0, |join| join.unfinished(&self.memory.ring()) as usize)
    }

    pub(super) fn join(&self, wait: Wait) -> Result<(), JoinError> {
        let queue = self.name;
        let Some(join) = &self.join else { return Ok(()) };
        let ring = self.memory.ring();
        let mut naps = Naps::new();
        while join.unfinished(&ring) > 0 {
            let Some(nap) = naps.next(wait) else {
                return Err(JoinError::TimedOut { queue, unfinished: self.unfinished() });
            };
            self.sleep(&join.state.finished, nap, || join.unfinished(&ring) == 0);
            if join.unfinished(&ring) > 0 && join.has_accounts_of_the_dead() {
                self.at_the_taking_end(|| join.bury(&ring));
            }
        }
        join.tell(queue)
    }

    /// Runs something under the lock of the emptying end.
    fn at_the_taking_end<R>(&self, run: impl FnOnce() -> R) -> R {
        while self.lock_taking_end(Wait::FOR_EVER).is_err() {}
        let result = run();
        self.unlock_taking_end();
        result
    }
}
