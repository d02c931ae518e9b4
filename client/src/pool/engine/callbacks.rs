//! The thread that runs callbacks, made when there is a first one: so that a callback may do
//! anything, terminate the pool too, and hurts nobody by it.

use super::call::{Call, Then};
use crate::runtime::panics;
use crate::start::quiet::Quiet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

type Errand = (Arc<Call>, Then);

/// What the thread and the engine share.
#[derive(Default)]
struct Shared {
    left: Mutex<u64>,
    done: Condvar,
    panics: AtomicU64,
}

impl Shared {
    fn left(&self) -> MutexGuard<'_, u64> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    errands: Sender<Errand>,
    handle: JoinHandle<()>,
}

/// Callbacks of a pool. The thread ends once this is dropped and all are run.
#[derive(Default)]
pub(crate) struct Callbacks {
    thread: Mutex<Option<Thread>>,
    shared: Arc<Shared>,
}

impl Callbacks {
    /// Runs one as soon as those before it are done.
    pub(crate) fn add(&self, call: Arc<Call>, then: Then) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            *thread = self.start();
        }
        *self.shared.left() += 1;
        let lost = match &*thread {
            Some(thread) => thread.errands.send((call, then)).is_err(),
            None => true,
        };
        if lost {
            tracing::error!("a callback of a pool is not run: there is no thread for it");
            finish(&self.shared);
        }
    }

    fn start(&self) -> Option<Thread> {
        let (errands, receiver) = channel();
        let (shared, quiet) = (Arc::clone(&self.shared), Quiet::begin());
        let handle = std::thread::Builder::new()
            .name("mp-pool-callbacks".to_owned())
            .spawn(move || run(&receiver, &shared, &quiet));
        Some(Thread { errands, handle: handle.ok()? })
    }

    /// Ends the thread, which has nothing left to do, unless this is it: then it ends by itself.
    pub(crate) fn finish(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Thread { errands, handle }) = thread else { return };
        drop(errands);
        if handle.thread().id() != std::thread::current().id() {
            let _ = handle.join();
        }
    }

    /// Whether this is the thread of the callbacks.
    pub(crate) fn is_here(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let own = std::thread::current().id();
        thread.as_ref().is_some_and(|thread| thread.handle.thread().id() == own)
    }

    /// Waits until all are run; false if the time passes first.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut left = self.shared.left();
        while *left > 0 {
            let nap = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if nap.is_some_and(|nap| nap.is_zero()) {
                return false;
            }
            let nap = nap.unwrap_or(Duration::from_secs(60));
            let woken = self.shared.done.wait_timeout(left, nap);
            left = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// How many have panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }
}

fn finish(shared: &Shared) {
    *shared.left() -= 1;
    shared.done.notify_all();
}

fn run(receiver: &Receiver<Errand>, shared: &Shared, quiet: &Quiet) {
    while let Ok((call, then)) = receiver.recv() {
        let _awake = quiet.awake();
        if let Err(panic) = panics::catch(|| then(&call)) {
            shared.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(panic = panic.message, "a callback of a pool panicked");
        }
        drop(call);
        finish(shared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    #[test]
    fn a_panic_is_counted_and_the_next_one_runs() {
        let callbacks = Callbacks::default();
        let (sender, receiver) = channel();
        callbacks
            .add(Call::stream((0, Codec::Bincode), None, 0), Box::new(|_| panic!("in a callback")));
        callbacks.add(
            Call::stream((0, Codec::Bincode), None, 0),
            Box::new(move |_| sender.send(7).unwrap()),
        );
        assert!(callbacks.wait(None));
        assert_eq!((receiver.recv().unwrap(), callbacks.panics()), (7, 1));
        assert!(!callbacks.is_here());
    }

    #[test]
    fn a_wait_ends_in_time() {
        let callbacks = Callbacks::default();
        let (sender, receiver) = channel::<()>();
        callbacks.add(
            Call::stream((0, Codec::Bincode), None, 0),
            Box::new(move |_| assert!(receiver.recv().is_err())),
        );
        assert!(!callbacks.wait(Some(Instant::now() + Duration::from_millis(20))));
        drop(sender);
        assert!(callbacks.wait(None));
    }
}
