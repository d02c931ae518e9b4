//! A [`Barrier`] that is awaited.

use super::{Barrier, BrokenBarrier, Place, Verdict};
use crate::reactor::{Seat, Until, Whom, Word, WordOf, before, until};
use crate::sync::awaited;
use crate::sync::raw::atomics::own_identity;
use crate::sync::raw::barrier::{Arrival, Arrived, RawBarrier};
use crate::sync::raw::lock::{NAP_LONGEST, NAP_SHORTEST};
use crate::sys::futex::Woken;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

/// One who waits, sleep after sleep.
struct Waiting {
    seat: Seat,
    word: Option<Arc<dyn Word>>,
    /// When the time of the barrier is over.
    moment: Option<Until>,
}

/// One who has arrived. Dropping it before it knows what was decided breaks the barrier.
struct Party<'a> {
    raw: &'a RawBarrier,
    places: &'a [Place],
    arrived: Arrived<'a>,
    by: u64,
}

impl Party<'_> {
    /// It knows what was decided: nothing is left to be done.
    fn knows(self) {
        std::mem::forget(self);
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        // In a fork it is a copy: the place is the parent's.
        if self.by == own_identity() {
            let _ = self.raw.give_up(self.places, &self.arrived, NAP_SHORTEST);
        }
    }
}

impl Barrier {
    /// Waits for the others, without keeping a thread: the awaited [`wait`](Self::wait), with the
    /// time limit of the barrier, if it has one. Gives a number below that of the parties, another
    /// one to each.
    ///
    /// Dropping the future when it has arrived breaks the barrier for all, as a waiter does whose
    /// time passes: the others count on it.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let barrier = mp::Barrier::new(2, None)?;
    /// let (one, other) = tokio::join!(barrier.wait_async(), barrier.wait_async());
    /// assert_eq!(one? + other?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    pub async fn wait_async(&self) -> Result<usize, BrokenBarrier> {
        self.wait_with_async(|| ()).await
    }

    /// The same with an action, which the last one to arrive runs before all go on.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Panics
    /// If the action does; the barrier is broken then.
    pub async fn wait_with_async(&self, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        let at = self.default_timeout().and_then(|time| Instant::now().checked_add(time));
        let mut waiting = Waiting { seat: Seat::new(Whom::All), word: None, moment: at.map(until) };
        let party = self.arrive_async(&mut waiting).await?;
        let (raw, places) = (&self.object.raw, self.places());
        let index = party.arrived.index;
        let verdict = if party.arrived.last {
            let done = catch_unwind(AssertUnwindSafe(action));
            let verdict = if done.is_ok() { Verdict::Passed } else { Verdict::ActionFailed };
            self.enter_async().await;
            let verdict = raw.conclude_entered(places, &party.arrived, verdict);
            party.knows();
            done.unwrap_or_else(|panic| resume_unwind(panic));
            verdict
        } else {
            let verdict = self.attend_async(&party.arrived, &mut waiting).await;
            party.knows();
            verdict
        };
        match verdict {
            Verdict::Passed => Ok(index),
            broken => Err(broken.into()),
        }
    }

    async fn enter_async(&self) {
        let taken = awaited::lock(&self.object, |state| state.raw.inner()).await;
        self.object.raw.entered(self.places(), taken);
    }

    async fn arrive_async(&self, waiting: &mut Waiting) -> Result<Party<'_>, BrokenBarrier> {
        let (raw, places) = (&self.object.raw, self.places());
        loop {
            self.enter_async().await;
            let turn = match raw.try_arrive(places, self.parties()) {
                Arrival::Arrived(arrived) => {
                    return Ok(Party { raw, places, arrived, by: own_identity() });
                }
                Arrival::Broken(verdict) => return Err(verdict.into()),
                Arrival::Again => continue,
                Arrival::Crowded { turn } => turn,
            };
            if !self.sleep_async(turn, waiting).await {
                return Err(BrokenBarrier::TimedOut);
            }
        }
    }

    async fn attend_async(&self, arrived: &Arrived<'_>, waiting: &mut Waiting) -> Verdict {
        let raw = &self.object.raw;
        loop {
            match raw.look(arrived) {
                Ok(verdict) => return verdict,
                Err(turn) if self.sleep_async(turn, waiting).await => {}
                Err(_) => return raw.give_up(self.places(), arrived, NAP_SHORTEST),
            }
        }
    }

    /// Sleeps until something is decided, perhaps; `false` when the time has passed.
    async fn sleep_async(&self, turn: u32, waiting: &mut Waiting) -> bool {
        let Waiting { seat, word, moment } = waiting;
        let word = word.get_or_insert_with(|| {
            Arc::new(WordOf { object: self.object.clone(), find: |state| state.raw.sleepers() })
        });
        let woken = before(seat.sleep(word.clone(), turn, NAP_LONGEST), moment).await;
        if woken == Some(Woken::TimedOut) {
            self.object.raw.sweep(self.places());
        }
        woken.is_some()
    }
}
