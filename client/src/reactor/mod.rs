//! What wakes tasks: two plain threads, started when something is first awaited, shared by all.
//!
//! | file | holds |
//! |---|---|
//! | `words` | who waits for which word of shared memory, and the thread that sleeps on them |
//! | `sleep` | the future that does what a sleep on a word does |
//! | `descriptors` | who waits for which descriptor or time, and the thread that watches them |
//! | `ready` | the futures of descriptors and of times |
//! | `thread` | how both threads begin |
//! | `entry` | one who waits |
//! | `timeout` | [`timeout`] |
//!
//! Nothing here is a runtime: no task runs on these threads. They call a `Waker`, and whoever made
//! it polls. What does not have to be waited for never comes here, so it needs no thread and no
//! system call. A thread that had nothing to wait for some seconds ends, and the next wait starts
//! it again.
//!
//! **Forks.** A child has the memory but not the threads, so it gets a reactor of its own when it
//! first awaits something; what it has of the parent's is neither used nor dropped. Our own forks
//! [hold](hold) the threads where they have no lock, and do not count them among those that make a
//! fork unsafe.
//!
//! What must never be in here: `unsafe`; a lock that is held while a `Waker` is called (but the
//! gate of the thread that calls it); what an object means.

mod descriptors;
mod entry;
mod ready;
mod sleep;
mod thread;
mod timeout;
mod words;

use crate::sys::identity::Identity;
use descriptors::Descriptors;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};
use words::Words;

pub(crate) use ready::{Interest, Until, ready, until};
pub(crate) use sleep::{Seat, Whom, Word, WordOf};
pub(crate) use timeout::before;
pub use timeout::timeout;

/// A thread without anything to wait for ends after so long.
const IDLE: Duration = Duration::from_secs(5);
/// How long a fork waits for a thread that calls a `Waker`, which may take whatever that takes.
const HOLD_PATIENCE: Duration = Duration::from_secs(1);
/// How long a wait takes that cannot be registered, for want of a thread or a descriptor.
const UNREGISTERED: Duration = Duration::from_millis(1);

/// All that waits in this process. Never dropped: its threads refer to it.
#[derive(Debug)]
struct Reactor {
    /// The process that it belongs to.
    owner: Identity,
    words: Words,
    descriptors: Descriptors,
    /// Its threads, those included that have just ended.
    threads: Mutex<Vec<u32>>,
}

static CURRENT: RwLock<Option<&'static Reactor>> = RwLock::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reactor of this process, if it has one yet.
fn existing() -> Option<&'static Reactor> {
    let current = *CURRENT.read().unwrap_or_else(PoisonError::into_inner);
    current.filter(|reactor| reactor.is_own())
}

fn current() -> &'static Reactor {
    if let Some(reactor) = existing() {
        return reactor;
    }
    let mut place = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    match *place {
        Some(reactor) if reactor.is_own() => reactor,
        _ => place.insert(Box::leak(Box::new(Reactor::new()))),
    }
}

impl Reactor {
    fn new() -> Self {
        Self {
            owner: Identity::own(),
            words: Words::default(),
            descriptors: Descriptors::default(),
            threads: Mutex::default(),
        }
    }

    /// Whether it is this process's: a fork finds the one of its parent.
    fn is_own(&self) -> bool {
        self.owner == Identity::own()
    }
}

/// Wakes all in this process who wait for a word, since one of them has found out that there is
/// nothing to wait for any more, or a handle was closed.
pub(crate) fn stir(word: &std::sync::atomic::AtomicU32) {
    if let Some(reactor) = existing() {
        reactor.words.stir(word);
    }
}

/// Gives up what a descriptor refers to, by `close`, and wakes all in this process who wait for it:
/// the system would not tell them.
pub(crate) fn let_go(fd: std::os::fd::RawFd, close: impl FnOnce()) {
    // Nobody makes a reactor meanwhile, in which somebody could begin to wait.
    let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
    match current.filter(|reactor| reactor.is_own()) {
        Some(reactor) => {
            drop(current);
            reactor.descriptors.let_go(fd, close);
        }
        None => close(),
    }
}

/// Whether a thread of this process is one of the reactor's.
pub(crate) fn has_thread(tid: u32) -> bool {
    existing().is_some_and(|reactor| lock(&reactor.threads).contains(&tid))
}

/// The threads of the reactor at rest, for as long as this is kept.
#[must_use = "they go on when it is dropped"]
pub(crate) struct Held {
    _gates: Vec<MutexGuard<'static, ()>>,
    _current: RwLockReadGuard<'static, Option<&'static Reactor>>,
}

/// Keeps the threads of the reactor asleep in the kernel, without any lock, while this process
/// forks. A thread that calls a `Waker` which does not return is not waited for for ever.
pub(crate) fn hold() -> Held {
    let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
    let until = Instant::now() + HOLD_PATIENCE;
    let gates = current.filter(|reactor| reactor.is_own()).map_or_else(Vec::new, |reactor| {
        let gates = [&reactor.words.gate, &reactor.descriptors.gate];
        gates.into_iter().filter_map(|gate| patiently(gate, until)).collect()
    });
    Held { _gates: gates, _current: current }
}

fn patiently(gate: &'static Mutex<()>, until: Instant) -> Option<MutexGuard<'static, ()>> {
    loop {
        match gate.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}
