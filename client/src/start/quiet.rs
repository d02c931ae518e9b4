//! Threads of the library's own that do not make a fork unsafe: while this process is copied, each
//! of them is asleep, and none holds a lock that the copy could want.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

/// Held by such threads whenever they do anything, and by whoever forks.
static GATE: RwLock<()> = RwLock::new(());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// How long a fork waits for them to be quiet.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_PERIOD: Duration = Duration::from_micros(200);

/// Makes a thread one of them, for as long as this lives: made before the thread, dropped at its
/// end.
#[derive(Debug)]
pub(crate) struct Quiet(());

impl Quiet {
    pub(crate) fn begin() -> Self {
        COUNT.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    /// The thread does something until this is dropped; then it only sleeps.
    #[allow(clippy::unused_self, reason = "only such threads")]
    pub(crate) fn awake(&self) -> RwLockReadGuard<'static, ()> {
        GATE.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How many there are.
pub(super) fn count() -> usize {
    COUNT.load(Ordering::SeqCst)
}

/// Keeps all of them asleep while this lives; `None` if one of them does not come to rest.
pub(super) fn hush() -> Option<RwLockWriteGuard<'static, ()>> {
    let begun = Instant::now();
    loop {
        match GATE.try_write() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_PERIOD),
        }
    }
}
