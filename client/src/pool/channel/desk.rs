//! The desk of a pool: where all its workers tell that they have answers, and where one thread of
//! the pool's process waits for them.
//!
//! A worker that has shown an answer sets its bit, unless it is set, and rings: that is two looks
//! while nobody waits. Whoever collects clears the bits and empties those outboxes. He sleeps at
//! the bell, or somewhere else on the event: then the desk is *watched*.
//!
//! **Deaths.** A worker that dies or stops before it has set its bit delays its own answer, which
//! its pool finds when it looks for what the dead have left. One that has silenced the bell and
//! dies or stops before it wakes the sleeper costs a nap: sleepers look at the bits after each.
//! The event is written before `signal` says so; that word counts how often the event was read, so
//! a late word of somebody who was stopped does not silence the others.

use super::Lookout;
use crate::handles::SharedFd;
use crate::queue::readiness;
use crate::shared::ShareError;
use crate::shared::object::{Object, Shareable};
use crate::sync::raw::atomics::{
    AtomicU32, AtomicU64, Ordering, look, look_at_half, shared_struct,
};
use crate::sync::raw::bell::{self, Bell};
use crate::sync::raw::lock::NAP_LONGEST;
use crate::sys::futex::Woken;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic;
use std::time::Duration;

/// Words of the bitmap of workers.
const WORDS: usize = 16;
/// Most workers of a pool.
pub(crate) const WORKERS_MAX: usize = WORDS * 64;

/// First nap of whoever sleeps: longer than a tick of the kernel, so that going to sleep does not
/// program a timer, which costs as much as all the rest.
const NAP_FIRST: Duration = Duration::from_millis(10);

/// Set in `signal` when the event was written since it was read last; the other bits count that.
const SIGNALLED: u32 = 1;

shared_struct! {
    /// A desk as it lies in memory. An object begins 16 bytes into a cache line; so the bits, which
    /// change all the time, have lines of their own.
    pub(crate) struct DeskState {
        bell: Bell,
        /// Whether somebody waits for the event.
        watched: AtomicU32,
        signal: AtomicU32,
        padding: [AtomicU32; 9],
        ready: [AtomicU64; WORDS],
    }
}

impl Object for DeskState {
    const KIND: u32 = 49;
    const NAME: &'static str = "pool";
}

const _: () = assert!(std::mem::offset_of!(DeskState, ready) == 48);

/// The desk, for the pool.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) state: Shareable<DeskState>,
    pub(super) event: SharedFd,
    workers_max: usize,
    lookout: Lookout,
    /// Microseconds of the next nap: the longer nothing happens, the longer.
    nap: atomic::AtomicU32,
}

/// What was heard when somebody began to listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard(Option<bell::Heard>);

const fn micros(time: Duration) -> u32 {
    time.as_micros() as u32
}

impl Desk {
    /// A desk for so many workers.
    ///
    /// # Errors
    /// [`ShareError`]; also for more than [`WORKERS_MAX`].
    pub(crate) fn new(workers_max: usize) -> Result<Self, ShareError> {
        if workers_max > WORKERS_MAX {
            let what = format!("{workers_max} workers exceed the limit of {WORKERS_MAX}");
            return Err(ShareError::Size { object: DeskState::NAME, what });
        }
        let event = readiness::event().map_err(ShareError::system(DeskState::NAME, "eventfd"))?;
        Ok(Self {
            state: Shareable::new(|_| {})?,
            event: event.into(),
            workers_max,
            lookout: Lookout::default(),
            nap: atomic::AtomicU32::new(micros(NAP_FIRST)),
        })
    }

    /// Readable when a worker has an answer while the desk is watched.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Says whether somebody waits for the event. After `true`, answers that were there before
    /// must be [taken](Self::take_ready) once more.
    pub(crate) fn watch(&self, on: bool) {
        self.state.watched.store(u32::from(on), Ordering::SeqCst);
    }

    /// Makes the event unreadable. Call it whenever the one who watches wakes, whyever, before he
    /// [takes](Self::take_ready) what is there.
    pub(crate) fn settle(&self) {
        readiness::settle(&self.event);
        let signal = self.state.signal.load(Ordering::Relaxed);
        self.state.signal.store((signal | SIGNALLED).wrapping_add(1), Ordering::SeqCst);
    }

    /// Begins to listen, after a short time of looking. What is waited for must be looked at once
    /// more between this and [`sleep`](Self::sleep), but for answers, at which that looks itself.
    pub(crate) fn listen(&self) -> Heard {
        if self.lookout.look_out(|| self.is_ready()) {
            return Heard(None);
        }
        Heard(Some(self.state.bell.listen()))
    }

    /// Sleeps until somebody has rung since, at most so long and a nap at most: whoever wakes looks
    /// for answers in any case.
    pub(crate) fn sleep(&self, heard: Heard, at_most: Duration) {
        let Heard(Some(heard)) = heard else { return };
        if self.is_ready() {
            return;
        }
        let nap = Duration::from_micros(self.nap.load(Ordering::Relaxed).into());
        let next = match self.state.bell.sleep(heard, at_most.min(nap)) {
            Woken::TimedOut => (nap * 2).min(NAP_LONGEST),
            Woken::Perhaps | Woken::Changed => NAP_FIRST,
        };
        self.nap.store(micros(next), Ordering::Relaxed);
    }

    /// Wakes the thread that sleeps here.
    pub(crate) fn ring(&self) {
        self.state.bell.ring(u32::MAX);
    }

    fn words(&self) -> &[AtomicU64] {
        &self.state.ready[..self.workers_max.div_ceil(64)]
    }

    fn is_ready(&self) -> bool {
        self.words().iter().any(|word| look(word) != 0)
    }

    /// Calls `each` with the number of each worker that has answers, and forgets them: their
    /// outboxes must be emptied then.
    pub(crate) fn take_ready(&self, mut each: impl FnMut(usize)) {
        for (at, word) in self.words().iter().enumerate() {
            if look(word) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::SeqCst);
            while bits != 0 {
                let number = at * 64 + bits.trailing_zeros() as usize;
                if number < self.workers_max {
                    each(number);
                }
                bits &= bits - 1;
            }
        }
    }

    pub(super) fn has_place(&self, number: usize) -> bool {
        number < self.workers_max
    }
}

/// The desk, for one of the workers.
#[derive(Clone, Debug)]
pub(crate) struct DeskEnd {
    state: Shareable<DeskState>,
    event: SharedFd,
    word: usize,
    bit: u64,
}

impl DeskEnd {
    /// For the worker of that number; `None` if there is no such place.
    pub(super) fn new(state: Shareable<DeskState>, event: SharedFd, number: u32) -> Option<Self> {
        let word = number as usize / 64;
        (word < WORDS).then(|| Self { state, event, word, bit: 1 << (number % 64) })
    }

    /// Says that this worker has shown an answer.
    #[inline]
    pub(crate) fn raise(&self) {
        let ready = &self.state.ready[self.word];
        if look(ready) & self.bit == 0 {
            ready.fetch_or(self.bit, Ordering::SeqCst);
        }
    }

    /// Wakes whoever waits for answers.
    #[inline]
    pub(crate) fn ring(&self) {
        self.state.bell.ring(1);
        if look_at_half(&self.state.watched) != 0 {
            self.signal();
        }
    }

    fn signal(&self) {
        let signal = &self.state.signal;
        let before = look_at_half(signal);
        if before & SIGNALLED == 0 {
            readiness::signal(&self.event);
            // If it was read meanwhile, somebody else has to write it again.
            let _ = signal.compare_exchange(
                before,
                before | SIGNALLED,
                Ordering::SeqCst,
                Ordering::Relaxed,
            );
        }
    }
}
