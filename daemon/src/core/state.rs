//! The whole book, to and from the next image of the daemon.
//!
//! It is written field by field with their names, so that a later version may add fields, each with
//! a `#[serde(default)]`; what reads it checks everything that the rest of the core relies on. What
//! follows from something else (indexes, counts of queues) is not written but made anew.
//!
//! What must never be in here: descriptors and clocks, as in the rest of the core.

use super::deaths::Deaths;
use super::{Core, Time, Totals};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Numbers above this are not believed: the next ones would not fit any more.
const NUMBER_MAX: u64 = u64::MAX / 2;
/// Nor counters of which some are added up.
const COUNT_MAX: u64 = NUMBER_MAX >> 8;
/// Generations likewise.
const GENERATION_MAX: u32 = u32::MAX / 2;
/// Forks in flight that no template is ever asked for at once.
const IN_FLIGHT_MAX: u32 = 1 << 16;
/// No deadline is later than this, in seconds since the daemon started: a clock could not tell it.
const SECONDS_MAX: u64 = 1 << 50;

/// A book as another image of the daemon wrote it. It is not checked before
/// [`Core::import`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CoreState(Box<Core>);

/// Why a book is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the book contradicts itself: {0}")]
pub struct ImportError(String);

impl Core {
    /// The book as it is between two events, for the next image of the daemon.
    #[must_use]
    pub fn export(&self) -> CoreState {
        let mut copy = self.clone();
        copy.out.clear();
        copy.keys.clear();
        copy.pids.clear();
        CoreState(Box::new(copy))
    }

    /// Goes on with a book that [`export`](Self::export) gave.
    ///
    /// # Errors
    /// When it contradicts itself, so that it cannot be one that a core has exported.
    pub fn import(CoreState(book): CoreState, now: Time) -> Result<Self, ImportError> {
        let mut core = *book;
        core.now = core.now.max(now);
        core.out.clear();
        core.keys = core.pools.iter().map(|(id, pool)| (pool.spec.key.clone(), *id)).collect();
        core.pids = core.workers.iter().map(|(id, worker)| (worker.pid, *id)).collect();
        core.measures.take_up();
        core.check_numbers().and_then(|()| core.audit()).map_err(ImportError)?;
        Ok(core)
    }

    /// The same under another version of the daemon, for reports.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.identity.version);
        self
    }

    /// Everything that is added to or counted down, so that no step of the core overflows.
    fn check_numbers(&self) -> Result<(), String> {
        let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        let fits = |number: u64| number <= NUMBER_MAX;
        let next = [self.next.worker, self.next.template, self.next.pool];
        ensure(next.into_iter().all(fits), "a next number is out of range")?;
        let totals = [self.totals.starts, self.totals.refused];
        ensure(totals.into_iter().all(fits), "a counter is out of range")?;
        ensure(self.generation <= GENERATION_MAX, "the generation is out of range")?;
        ensure(self.deaths.are_sound(NUMBER_MAX), "a number of deaths is out of range")?;
        let more = [self.totals.spare_hits, self.totals.ends];
        let sound = more.into_iter().all(fits) && self.measures.are_sound(COUNT_MAX);
        ensure(sound, "a measure is out of range")?;
        let sound = self.watches.are_sound() && self.quota.is_sound(COUNT_MAX);
        ensure(sound, "a limit is out of range")?;
        let latest = Time(Duration::from_secs(SECONDS_MAX));
        ensure(self.users.is_sound(NUMBER_MAX, latest), "a penalty is out of range")?;
        ensure(self.changes.are_sound(latest), "a reload or upgrade is out of range")?;
        let last = self.timers.last().unwrap_or_default().max(self.now);
        ensure(last <= latest, "a deadline is out of range")?;
        for (id, template) in &self.templates {
            let known = id.0 < self.next.template && self.pools.contains_key(&template.pool);
            let flights = template.in_flight <= IN_FLIGHT_MAX && template.forks.are_sound();
            ensure(known && flights, "a template is out of range")?;
        }
        for (id, pool) in &self.pools {
            let counts = pool.starts.max(pool.spare_hits).max(pool.crashes.into());
            let sound = id.0 < self.next.pool && fits(counts) && pool.crashes <= u32::MAX / 2;
            ensure(sound && pool.marks.are_sound(&self.settings), "a pool is out of range")?;
        }
        Ok(())
    }
}

/// What of the book is worth knowing after a crash, when all else has gone: numbers and certificates.
/// Workers and templates tell of themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Remains {
    generation: u32,
    next_template: u64,
    starts: u64,
    spare_hits: u64,
    ends: u64,
    refused: u64,
    deaths: Deaths,
}

impl Core {
    /// What is kept for the case of a crash.
    #[must_use]
    pub fn remains(&self) -> Remains {
        Remains {
            generation: self.generation,
            next_template: self.next.template,
            starts: self.totals.starts,
            spare_hits: self.totals.spare_hits,
            ends: self.totals.ends,
            refused: self.totals.refused,
            deaths: self.deaths.clone(),
        }
    }

    /// Changes whenever [`remains`](Self::remains) does; costs nothing.
    #[must_use]
    pub fn remains_mark(&self) -> [u64; 6] {
        let Totals { starts, ends, refused, .. } = self.totals;
        let generation = u64::from(self.generation);
        // A spare is hit by a start.
        [generation, self.next.template, starts, ends, refused, self.deaths.count]
    }

    /// Goes on counting where a daemon was that died; for a core that has not been told anything.
    ///
    /// # Errors
    /// When the remains contradict themselves; the core is as it was.
    pub fn recall(&mut self, remains: Remains) -> Result<(), ImportError> {
        let fits = |number: u64| number <= NUMBER_MAX;
        let Remains { next_template, starts, spare_hits, ends, refused, .. } = remains;
        let numbers = [next_template, starts, spare_hits, ends, refused];
        let sound = numbers.into_iter().all(fits)
            && remains.generation <= GENERATION_MAX / 2
            && remains.deaths.are_sound(NUMBER_MAX);
        if !sound {
            return Err(ImportError("what is left is out of range".to_owned()));
        }
        remains.deaths.check(usize::MAX).map_err(ImportError)?;
        self.deaths = remains.deaths;
        self.deaths.bound(self.settings.deaths_kept);
        // The next configuration is the next generation.
        self.generation = remains.generation;
        self.next.template = self.next.template.max(next_template);
        self.totals = Totals { starts, spare_hits, ends, refused, ..self.totals };
        Ok(())
    }
}

/// Texts that many rows share.
pub(super) mod shared_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::sync::Arc;

    pub(in crate::core) fn serialize<S: Serializer>(
        text: &Arc<str>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(in crate::core) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Arc<str>, D::Error> {
        Ok(String::deserialize(from)?.into())
    }
}
