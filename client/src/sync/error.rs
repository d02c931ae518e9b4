//! What can go wrong with objects of synchronisation.

use std::fmt;

/// How an `acquire` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether the object is held now"]
pub enum Acquired {
    /// It is held now.
    Yes,
    /// It is held now, and its owner before died with it (or nobody has made good the death of
    /// one since): what it protects may be half-changed. See
    /// [`make_consistent`](super::Lock::make_consistent).
    OwnerDied,
    /// It is not held: the time passed first, or somebody else has it and waiting was not asked
    /// for.
    No,
}

impl Acquired {
    /// Whether it is held now.
    #[must_use]
    pub fn is_held(self) -> bool {
        self != Self::No
    }
}

/// The owner of a lock died while it held it. The lock is held by the caller now; what it protects
/// may be half-changed.
///
/// Until somebody [says that it is in order](super::LockGuard::make_consistent), whoever takes the
/// lock gets this error, as with a poisoned `std::sync::Mutex`.
pub struct OwnerDied<G>(
    /// The guard of the lock.
    pub G,
);

impl<G> OwnerDied<G> {
    /// The guard: go on as if nothing had happened.
    pub fn into_inner(self) -> G {
        self.0
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerDied")
    }
}

impl<G> fmt::Display for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the process that held the lock died: what it protects may be half-changed; the lock \
             is held now",
        )
    }
}

impl<G> std::error::Error for OwnerDied<G> {}

/// Why a lock was not simply taken.
#[derive(thiserror::Error)]
pub enum TryLockError<G> {
    /// Somebody else holds it, still, after the time that was given.
    #[error("the lock is held by another thread or process")]
    WouldBlock,
    /// It is held now, but its owner before died with it.
    #[error(transparent)]
    OwnerDied(#[from] OwnerDied<G>),
}

impl<G> fmt::Debug for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WouldBlock => "WouldBlock",
            Self::OwnerDied(_) => "OwnerDied",
        })
    }
}

/// Misuse of an object of synchronisation, or what others did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Released more often than acquired.
    #[error("{object}: released while nobody holds it")]
    NotHeld {
        /// The type of the object.
        object: &'static str,
    },
    /// Only the owner may do that.
    #[error("{object}: it is not held by this thread")]
    NotOwner {
        /// The type of the object.
        object: &'static str,
    },
    /// Released more often than acquired, beyond the largest value.
    #[error("{object}: released too often: its value would exceed {limit}")]
    OverRelease {
        /// The type of the object.
        object: &'static str,
        /// The largest value.
        limit: u32,
    },
    /// More processes hold a permit than it can remember.
    #[error("{object}: {limit} processes hold permits of it, which is the limit")]
    TooManyHolders {
        /// The type of the object.
        object: &'static str,
        /// How many processes may hold permits at once.
        limit: usize,
    },
    /// More threads wait than it can remember.
    #[error("{object}: {limit} threads wait for it, which is the limit")]
    TooManyWaiters {
        /// The type of the object.
        object: &'static str,
        /// How many threads may wait at once.
        limit: usize,
    },
    /// A process died with the lock. The lock is held by the caller, as before.
    #[error(
        "{object}: a process died while it held the lock: what it protects may be half-changed; \
         the lock is held now"
    )]
    OwnerDied {
        /// The type of the object.
        object: &'static str,
    },
}

/// Why a barrier does not let anybody through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenBarrier {
    /// The time of a waiter passed, this one or another.
    #[error("Barrier: broken: the time of a waiter passed")]
    TimedOut,
    /// Somebody called `abort`.
    #[error("Barrier: broken: it was aborted")]
    Aborted,
    /// Somebody called `reset` meanwhile. It can be used again.
    #[error("Barrier: it was reset while this thread waited")]
    Reset,
    /// The action panicked.
    #[error("Barrier: broken: the action panicked")]
    ActionFailed,
    /// The process of a waiter, or of the one that ran the action, died.
    #[error("Barrier: broken: process {pid}, which waited, died")]
    ParticipantDied {
        /// Its pid.
        pid: u32,
    },
}
