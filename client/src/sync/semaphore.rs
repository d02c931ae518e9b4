//! `Semaphore` and `BoundedSemaphore`: permits that come back from the dead.

use super::error::SyncError;
use super::raw::atomics::{Deadline, shared_struct};
use super::raw::ledger::{Account, Ledger};
use super::raw::semaphore::RawSemaphore;
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sys::mapping::Region;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

mod awaited;

/// Largest value of a semaphore, as `SEM_VALUE_MAX`.
const VALUE_MAX: u32 = i32::MAX as u32;
/// Fewest and most processes that may hold permits at once.
const ACCOUNTS: std::ops::RangeInclusive<u32> = 64..=1024;

/// A kind of semaphore as it lies in memory.
trait Counting: Object {
    fn raw(&self) -> &RawSemaphore;
}

/// A semaphore with its accounts.
struct Counter<T: Object> {
    object: Shareable<T>,
    accounts: Region,
}

impl<T: Object> Clone for Counter<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), accounts: self.accounts.clone() }
    }
}

impl<T: Object> fmt::Debug for Counter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
    }
}

impl<T: Counting> Counter<T> {
    fn new(value: u32, limit: u32) -> Result<Self, ShareError> {
        if value > VALUE_MAX {
            let what = format!("{value} permits exceed the limit of {VALUE_MAX}");
            return Err(ShareError::Size { object: T::NAME, what });
        }
        let accounts = value.saturating_mul(2).clamp(*ACCOUNTS.start(), *ACCOUNTS.end()) as usize;
        let bytes = accounts * size_of::<Account>();
        let init = |state: &T| state.raw().init(value, limit);
        let object = Shareable::with_tail(bytes, align_of::<Account>(), init)?;
        Self::of(object)
    }

    fn of(object: Shareable<T>) -> Result<Self, ShareError> {
        let damaged = ShareError::Damaged { object: T::NAME };
        let accounts = object.whole_tail(align_of::<Account>()).ok_or(damaged)?;
        Ok(Self { object, accounts })
    }

    #[inline]
    fn raw(&self) -> &RawSemaphore {
        self.object.raw()
    }

    #[inline]
    fn ledger(&self) -> Ledger<'_> {
        Ledger(self.accounts.entries())
    }

    #[inline]
    fn acquire(&self, deadline: Deadline) -> Result<bool, SyncError> {
        self.raw().acquire(self.ledger(), deadline).map_err(|_| SyncError::TooManyHolders {
            object: T::NAME,
            limit: self.ledger().limit(),
        })
    }

    #[inline]
    fn release(&self, count: u32) -> Result<(), SyncError> {
        self.raw()
            .release(self.ledger(), count)
            .map_err(|over| SyncError::OverRelease { object: T::NAME, limit: over.limit })
    }
}

impl<T: Object> Serialize for Counter<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, T: Counting> Deserialize<'de> for Counter<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Shareable::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// What a [`Permit`] is of.
trait Lender: fmt::Debug {
    fn give_back(&self);
    fn forget(&self);
}

impl<T: Counting> Lender for Counter<T> {
    fn give_back(&self) {
        // Somebody who called `release` without holding one may have been faster.
        let _ = self.release(1);
    }

    fn forget(&self) {
        self.raw().forget(self.ledger());
    }
}

/// A permit of a semaphore; released when dropped, by the process that took it.
#[derive(Debug)]
#[must_use = "the permit is released when it is dropped"]
pub struct Permit<'a> {
    of: &'a (dyn Lender + Send + Sync),
    taken_by: u64,
}

impl<'a> Permit<'a> {
    fn new(of: &'a (dyn Lender + Send + Sync)) -> Self {
        Self { of, taken_by: super::raw::atomics::own_identity() }
    }

    fn is_own(&self) -> bool {
        self.taken_by == super::raw::atomics::own_identity()
    }

    /// Gives up the permit without releasing it: there is one fewer from now on, whatever becomes
    /// of this process, until somebody releases one more than he took.
    pub fn forget(self) {
        if self.is_own() {
            self.of.forget();
        }
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // In a fork it is a copy: the permit is the parent's.
        if self.is_own() {
            self.of.give_back();
        }
    }
}

macro_rules! semaphore {
    (
        $(#[$meta:meta])*
        $name:ident($state:ident, $kind:literal, $text:literal, $limit:expr)
    ) => {
        shared_struct! {
            /// A semaphore as it lies in memory.
            pub(crate) struct $state {
                raw: RawSemaphore,
            }
        }

        impl Object for $state {
            const KIND: u32 = $kind;
            const NAME: &'static str = $text;
        }

        impl Counting for $state {
            #[inline]
            fn raw(&self) -> &RawSemaphore {
                &self.raw
            }
        }

        $(#[$meta])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        pub struct $name(Counter<$state>);

        impl $name {
            /// A new semaphore with so many permits.
            ///
            /// # Errors
            /// [`ShareError`] when there are more than 2³¹ − 1, or when the system has no memory
            /// or descriptor for it.
            pub fn new(value: u32) -> Result<Self, ShareError> {
                let limit: fn(u32) -> u32 = $limit;
                Counter::new(value, limit(value)).map(Self)
            }

            /// Takes a permit as `multiprocessing` does: waits if `block` is set, for ever without
            /// a timeout; tells whether it has one. A timeout without `block` is ignored.
            ///
            /// # Errors
            /// [`SyncError::TooManyHolders`].
            #[inline]
            pub fn acquire(
                &self,
                block: bool,
                timeout: Option<Duration>,
            ) -> Result<bool, SyncError> {
                let timeout = if block { timeout } else { Some(Duration::ZERO) };
                self.0.acquire(Deadline::of(timeout))
            }

            /// Gives a permit back: one of this process, if it has any; else one of the process
            /// that has most; else a new one.
            ///
            /// # Errors
            /// [`SyncError::OverRelease`] beyond the largest value.
            #[inline]
            pub fn release(&self) -> Result<(), SyncError> {
                self.0.release(1)
            }

            /// Gives so many permits back, all or none.
            ///
            /// # Errors
            /// [`SyncError::OverRelease`] beyond the largest value.
            pub fn release_many(&self, count: u32) -> Result<(), SyncError> {
                self.0.release(count)
            }

            /// How many permits can be had just now. Those of a process that died come back when
            /// somebody asks for one.
            #[inline]
            #[must_use]
            pub fn get_value(&self) -> u32 {
                self.0.raw().value()
            }

            /// Whether there is none to be had just now.
            #[must_use]
            pub fn locked(&self) -> bool {
                self.get_value() == 0
            }

            /// Takes a permit, however long that takes.
            ///
            /// # Errors
            /// [`SyncError::TooManyHolders`].
            pub fn permit(&self) -> Result<Permit<'_>, SyncError> {
                loop {
                    if self.0.acquire(Deadline::NEVER)? {
                        return Ok(Permit::new(&self.0));
                    }
                }
            }

            /// Takes a permit if there is one.
            ///
            /// # Errors
            /// [`SyncError::TooManyHolders`].
            pub fn try_permit(&self) -> Result<Option<Permit<'_>>, SyncError> {
                self.permit_timeout(Duration::ZERO)
            }

            /// Takes a permit, waiting no longer than this.
            ///
            /// # Errors
            /// [`SyncError::TooManyHolders`].
            pub fn permit_timeout(
                &self,
                timeout: Duration,
            ) -> Result<Option<Permit<'_>>, SyncError> {
                let taken = self.0.acquire(Deadline::within(timeout))?;
                Ok(taken.then(|| Permit::new(&self.0)))
            }

            /// Whether both are the same semaphore.
            #[must_use]
            pub fn is_same(&self, other: &Self) -> bool {
                self.0.object.is(&other.0.object)
            }
        }
    };
}

semaphore! {
    /// A number of permits that processes share, as `multiprocessing.Semaphore`. Clones are the
    /// same semaphore, here and in every process that a clone travels to.
    ///
    /// It knows which process holds how many. When one dies, its permits come back within 100 ms to
    /// whoever waits. At most twice as many processes as there are permits may hold some at once,
    /// but 64 in any case and never more than 1024.
    ///
    /// A semaphore may also be a signal, which one process releases and another one takes. So a
    /// release by a process that holds none takes one off the account of whoever holds most, and
    /// only if nobody holds any makes one permit more, up to 2³¹ − 1. A signal that was taken, and
    /// whose taker ended before the next release, comes back as a permit does, whatever its end was:
    /// what must not be seen twice is taken with [`permit`](Self::permit) and [`Permit::forget`].
    ///
    /// An uncontended pair of `acquire` and `release` makes no system call. Waiters sleep; those
    /// that have waited more than a millisecond are served before those that come later, in the
    /// order in which they began to sleep, so none starves. A process that is *stopped* in the few
    /// nanoseconds in which it changes the count keeps the others waiting until it goes on (those
    /// with a timeout for 80 ms longer than that at most).
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let semaphore = mp::Semaphore::new(2)?;
    /// assert!(semaphore.acquire(true, None)?);
    /// {
    ///     let _permit = semaphore.permit()?;
    ///     assert_eq!(semaphore.get_value(), 0);
    ///     assert!(semaphore.try_permit()?.is_none());
    /// }
    /// semaphore.release()?;
    /// semaphore.release()?; // a signal: nobody holds a permit
    /// assert_eq!(semaphore.get_value(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Semaphore(SemaphoreState, 3, "Semaphore", |_| VALUE_MAX)
}

semaphore! {
    /// A [`Semaphore`] with a value that never exceeds the first one, as
    /// `multiprocessing.BoundedSemaphore`.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// let semaphore = mp::BoundedSemaphore::new(1)?;
    /// drop(semaphore.permit()?);
    /// assert!(matches!(semaphore.release(), Err(mp::SyncError::OverRelease { limit: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    BoundedSemaphore(BoundedSemaphoreState, 4, "BoundedSemaphore", |value| value)
}
