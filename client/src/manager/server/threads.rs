//! Threads for methods of users' types, which may take long: kept for a while when they are done.

use crate::manager::wire::Failure;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Methods that run at once; further ones wait.
const THREADS_MAX: usize = 1024;
/// Methods that wait.
const WAITING_MAX: usize = 1 << 16;
/// How long a thread waits for something to do.
const KEPT: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    all: usize,
}

/// Such threads.
#[derive(Default)]
pub(super) struct Threads {
    state: Mutex<State>,
    work: Condvar,
}

impl Threads {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on one of them.
    ///
    /// # Errors
    /// [`Failure::Limit`].
    pub(super) fn run(self: &Arc<Self>, job: Job) -> Result<(), Failure> {
        let mut state = self.state();
        if state.jobs.len() >= WAITING_MAX {
            let limit = WAITING_MAX as u64;
            return Err(Failure::Limit { what: "calls that wait".to_owned(), limit });
        }
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle || state.all == THREADS_MAX {
            self.work.notify_one();
            return Ok(());
        }
        state.all += 1;
        drop(state);
        let own = self.clone();
        let thread = std::thread::Builder::new().name("method".to_owned());
        if thread.spawn(move || own.work()).is_err() {
            let mut state = self.state();
            state.all -= 1;
            // Those that there are get to it, if there are any.
            if state.all == 0 {
                state.jobs.pop_back();
                let what = "threads, for the system has no more".to_owned();
                return Err(Failure::Limit { what, limit: 0 });
            }
        }
        Ok(())
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // What a method does wrong is told to its caller, not here.
                let _ = crate::runtime::panics::catch(job);
                state = self.state();
                continue;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, KEPT);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                state.all -= 1;
                return;
            }
        }
    }
}
