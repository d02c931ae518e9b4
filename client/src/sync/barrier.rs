//! `Barrier`: a point where a number of processes meet.

use super::error::BrokenBarrier;
use super::raw::atomics::{AtomicU32, AtomicU64, Deadline, Ordering, shared_struct};
use super::raw::barrier::{PLACES_PER_PARTY, Place, RawBarrier, Verdict};
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sys::mapping::Region;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

mod awaited;

/// Most parties of a barrier.
const PARTIES_MAX: usize = 1024;

shared_struct! {
    /// A barrier as it lies in memory.
    pub(crate) struct BarrierState {
        raw: RawBarrier,
        parties: AtomicU32,
        reserved: AtomicU32,
        /// Nanoseconds that a wait takes at most, if it does not say; `u64::MAX`: for ever.
        timeout: AtomicU64,
    }
}

impl Object for BarrierState {
    const KIND: u32 = 7;
    const NAME: &'static str = "Barrier";
}

/// A point where a fixed number of parties meet again and again, as `multiprocessing.Barrier`.
/// Clones are the same barrier, here and in every process that a clone travels to. A party is a
/// thread of any process.
///
/// The barrier breaks, for all who wait and all who come, when the time of a waiter passes, when
/// somebody [aborts](Self::abort) it, when the action panics, and within 100 ms when the process of
/// a waiter dies; [`BrokenBarrier`] says which. [`reset`](Self::reset) makes it usable again. The
/// death of a process that has not arrived cannot be seen here: use a timeout.
///
/// ```
/// use mpserverd_client as mp;
///
/// let barrier = mp::Barrier::new(2, None)?;
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| barrier.wait(None));
///     let index = barrier.wait(None)?;
///     assert_eq!(index + other.join().unwrap()?, 1);
///     Ok::<(), mp::BrokenBarrier>(())
/// })?;
/// barrier.abort();
/// assert_eq!(barrier.wait(None), Err(mp::BrokenBarrier::Aborted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Shareable<BarrierState>", into = "Shareable<BarrierState>")]
pub struct Barrier {
    object: Shareable<BarrierState>,
    places: Region,
}

impl From<Barrier> for Shareable<BarrierState> {
    fn from(barrier: Barrier) -> Self {
        barrier.object
    }
}

impl TryFrom<Shareable<BarrierState>> for Barrier {
    type Error = ShareError;

    fn try_from(object: Shareable<BarrierState>) -> Result<Self, ShareError> {
        let damaged = ShareError::Damaged { object: BarrierState::NAME };
        let places = object.whole_tail(align_of::<Place>()).ok_or(damaged)?;
        Ok(Self { object, places })
    }
}

impl Barrier {
    /// A new barrier of so many parties. The timeout is that of waits that do not say.
    ///
    /// # Errors
    /// [`ShareError::Size`] for no parties or more than 1024; another when the system has no memory
    /// or descriptor for it.
    pub fn new(parties: usize, timeout: Option<Duration>) -> Result<Self, ShareError> {
        if !(1..=PARTIES_MAX).contains(&parties) {
            let what = format!("{parties} parties are not between 1 and {PARTIES_MAX}");
            return Err(ShareError::Size { object: BarrierState::NAME, what });
        }
        let bytes = parties * PLACES_PER_PARTY * size_of::<Place>();
        let nanos = timeout
            .map_or(u64::MAX, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let object = Shareable::with_tail(bytes, align_of::<Place>(), |state: &BarrierState| {
            state.parties.store(parties as u32, Ordering::Relaxed);
            state.timeout.store(nanos, Ordering::Relaxed);
        })?;
        Self::try_from(object)
    }

    fn places(&self) -> &[Place] {
        self.places.entries()
    }

    fn default_timeout(&self) -> Option<Duration> {
        match self.object.timeout.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Waits for the others; gives a number below that of the parties, another one to each.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<usize, BrokenBarrier> {
        self.wait_with(timeout, || ())
    }

    /// The same with an action, which the last one to arrive runs before all go on.
    ///
    /// The time goes on meanwhile: an action that outlasts the timeout of a waiter breaks the
    /// barrier.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Panics
    /// If the action does; the barrier is broken then.
    pub fn wait_with(
        &self,
        timeout: Option<Duration>,
        action: impl FnOnce(),
    ) -> Result<usize, BrokenBarrier> {
        let deadline = Deadline::of(timeout.or_else(|| self.default_timeout()));
        let (raw, places) = (&self.object.raw, self.places());
        let arrived = raw.arrive(places, self.parties(), deadline).map_err(BrokenBarrier::from)?;
        let verdict = if arrived.last {
            let done = catch_unwind(AssertUnwindSafe(action));
            let verdict = if done.is_ok() { Verdict::Passed } else { Verdict::ActionFailed };
            let verdict = raw.conclude(places, &arrived, verdict);
            done.unwrap_or_else(|panic| resume_unwind(panic));
            verdict
        } else {
            raw.attend(places, &arrived, deadline)
        };
        match verdict {
            Verdict::Passed => Ok(arrived.index),
            broken => Err(broken.into()),
        }
    }

    /// Breaks it for all who wait and all who come.
    pub fn abort(&self) {
        self.object.raw.abort(self.places());
    }

    /// Makes it as new. Who waits gets [`BrokenBarrier::Reset`].
    pub fn reset(&self) {
        self.object.raw.reset(self.places());
    }

    /// How many must come.
    #[must_use]
    pub fn parties(&self) -> usize {
        let most = self.places().len() / PLACES_PER_PARTY;
        (self.object.parties.load(Ordering::Relaxed) as usize).min(most)
    }

    /// How many wait just now.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.object.raw.waiting(self.places())
    }

    /// Whether it is broken.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.object.raw.broken().is_some()
    }

    /// Whether both are the same barrier.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.object.is(&other.object)
    }
}

impl From<Verdict> for BrokenBarrier {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::TimedOut => Self::TimedOut,
            Verdict::Aborted => Self::Aborted,
            Verdict::ActionFailed => Self::ActionFailed,
            Verdict::Died { pid } => Self::ParticipantDied { pid },
            Verdict::Reset | Verdict::Passed => Self::Reset,
        }
    }
}
