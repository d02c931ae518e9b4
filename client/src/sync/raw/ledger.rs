//! Who holds how many: an account for each process that holds any.
//!
//! An account is open while its count is not zero; whose it is, is written before that. A count
//! changes by one store, so a process may die between any two instructions and what stands there
//! is true. All calls but [`Account::dead`] are for whoever holds the lock of the object that the
//! ledger is part of.
//!
//! A process looks for its account from a place on that its identity gives, so it mostly finds it
//! at once and needs no note of its own about it. It may come to have two, which does no harm.

use super::atomics::{AtomicU64, IDENTITY_MASK, Ordering, is_dead, own_identity, shared_struct};

shared_struct! {
    /// What one process holds. All zeros is one that is closed.
    pub(crate) struct Account {
        who: AtomicU64,
        held: AtomicU64,
    }
}

impl Account {
    #[inline]
    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    #[inline]
    fn who(&self) -> u64 {
        self.who.load(Ordering::Relaxed) & IDENTITY_MASK
    }

    #[inline]
    fn is_of(&self, who: u64) -> bool {
        self.held() != 0 && self.who() == who
    }

    #[inline]
    fn withdraw(&self, count: u64) -> u64 {
        let held = self.held();
        let taken = held.min(count);
        self.held.store(held - taken, Ordering::Relaxed);
        taken
    }

    /// Whose account this is, if it is open and its process is dead. Needs no lock; what it says
    /// is for [`Ledger::close`] to check.
    pub(crate) fn dead(&self) -> Option<u64> {
        let who = self.who();
        (self.held() != 0 && is_dead(who)).then_some(who)
    }
}

/// The accounts of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledger<'a>(pub(crate) &'a [Account]);

impl<'a> Ledger<'a> {
    /// How many accounts there may be.
    pub(crate) fn limit(self) -> usize {
        self.0.len()
    }

    /// All accounts, from where that of a process should be.
    #[inline]
    fn starting_at_home(self, who: u64) -> impl Iterator<Item = &'a Account> {
        // Fibonacci hashing: neighbouring pids get places far apart.
        let hash = who.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let home = hash as usize % self.0.len().max(1);
        self.0[home..].iter().chain(&self.0[..home])
    }

    /// Adds to the account of this process; `false` if there is no room for one more.
    #[inline]
    #[must_use]
    pub(crate) fn deposit(self, count: u64) -> bool {
        let own = own_identity();
        let usable = |account: &&Account| account.held() == 0 || account.who() == own;
        let Some(account) = self.starting_at_home(own).find(usable) else { return false };
        let held = account.held();
        if held == 0 {
            account.who.store(own, Ordering::Relaxed);
        }
        // Whoever finds this process dead and reads the count sees whose it is.
        account.held.store(held.saturating_add(count), Ordering::Release);
        true
    }

    /// Takes so many, or as many as there are, from the accounts of this process.
    #[inline]
    pub(crate) fn withdraw(self, count: u64) -> u64 {
        let own = own_identity();
        let mut taken = 0;
        for account in self.starting_at_home(own).filter(|account| account.is_of(own)) {
            taken += account.withdraw(count - taken);
            if taken == count {
                break;
            }
        }
        taken
    }

    /// Takes so many, or as many as there are, from whoever holds most.
    pub(crate) fn withdraw_anywhere(self, count: u64) -> u64 {
        let mut taken = 0;
        while taken < count {
            let Some(largest) = self.0.iter().max_by_key(|account| account.held()) else { break };
            match largest.withdraw(count - taken) {
                0 => break,
                some => taken += some,
            }
        }
        taken
    }

    /// How many are held in all.
    pub(crate) fn sum(self) -> u64 {
        self.0.iter().fold(0, |sum: u64, account| sum.saturating_add(account.held()))
    }

    /// Closes an account of somebody who is dead; gives what stood on it, 0 if it is somebody
    /// else's now.
    pub(crate) fn close(self, account: &Account, dead: u64) -> u64 {
        if account.is_of(dead) { account.withdraw(u64::MAX) } else { 0 }
    }
}
