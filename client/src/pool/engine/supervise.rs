//! The supervisor: a thread that sleeps until a worker ends, a time has come, somebody wants it to
//! look, or a worker answers while nobody else waits.

use super::Engine;
use super::collect::PATROL_PERIOD;
use super::state::State;
use super::worker::Worker;
use crate::start::quiet::Quiet;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an event of the supervisor's epoll is about; anything below is the number of a worker.
const DESK: u64 = 1 << 32;
const WAKE: u64 = DESK + 1;

/// How often the supervisor looks for answers, though nobody says that there are any.
const TICK: Duration = Duration::from_millis(50);

/// Events that are taken at once.
const EVENTS: usize = 64;

impl Engine {
    /// What the supervisor sleeps on.
    pub(super) fn watch_own(&self) -> nix::Result<()> {
        self.epoll.add(self.desk.event(), EpollEvent::new(EpollFlags::EPOLLIN, DESK))?;
        self.epoll.add(&self.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))
    }

    /// The end of a worker is noticed from now on.
    pub(super) fn watch(&self, number: usize, worker: &Worker) -> nix::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        self.epoll.add(worker.process.sentinel(), event)
    }

    /// Makes the supervisor look.
    pub(super) fn wake(&self) {
        // Full is awake.
        let _ = self.wake.write(1);
    }

    /// The supervisor's thread.
    pub(super) fn supervise(self: &Arc<Self>, quiet: &Quiet) {
        let mut awake = Some(quiet.awake());
        self.desk.watch(true);
        self.desk.settle();
        self.collect();
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let Some(due) = self.tend() else { return };
            let mut left = due.map(|at| at.saturating_duration_since(Instant::now()));
            if self.seat.needs_patrol() {
                left = Some(left.unwrap_or(PATROL_PERIOD).min(PATROL_PERIOD));
            }
            drop(awake.take());
            let waited = self.epoll.wait(&mut events, timeout(left));
            awake = Some(quiet.awake());
            let happened = match waited {
                Ok(count) => &events[..count],
                Err(Errno::EINTR) => &[],
                Err(error) => {
                    // Nothing could be noticed any more; a pause keeps this from spinning.
                    tracing::error!(%error, "a pool cannot watch its workers");
                    std::thread::sleep(Duration::from_millis(10));
                    &[]
                }
            };
            for event in happened {
                match event.data() {
                    WAKE => drop(self.wake.read()),
                    DESK => {}
                    number => self.note_death(number as usize),
                }
            }
            self.desk.settle();
            // One that could not say so is heard as well.
            self.collect();
        }
    }

    fn note_death(&self, number: usize) {
        let mut state = self.lock();
        let Some(worker) = state.worker(number) else { return };
        if let Err(error) = self.epoll.delete(worker.process.sentinel()) {
            tracing::error!(%error, "a pool goes on watching a dead worker");
        }
        worker.dead_since.get_or_insert_with(Instant::now);
    }

    /// Everything that is due; gives when it must be looked at next, or `None` when the pool is
    /// over.
    #[allow(clippy::option_option, reason = "over, or some time, or no time")]
    fn tend(self: &Arc<Self>) -> Option<Option<Instant>> {
        let mut state = self.lock();
        let state: &mut State = &mut state;
        state.due = None;
        let now = Instant::now();
        self.bury_the_dead(state, now);
        state.enforce_deadlines(self.settings.grace, now);
        self.recycle(state, now);
        state.retry_full(now);
        if state.steal(now) {
            state.look_at(now + super::dispatch::STEAL_PERIOD);
        }
        if state.end(now) {
            return None;
        }
        self.start_missing(state, now);
        // Somebody who died on his way to say so may have an answer.
        if state.expects_answers() {
            state.look_at(now + TICK);
        }
        // What has been looked at just now needs no further look.
        state.attention = false;
        Some(state.due)
    }
}

/// Rounded up: epoll counts in milliseconds and must not wake before the time.
fn timeout(left: Option<Duration>) -> EpollTimeout {
    match left {
        None => EpollTimeout::NONE,
        Some(Duration::ZERO) => EpollTimeout::ZERO,
        Some(left) => {
            EpollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX)
        }
    }
}
