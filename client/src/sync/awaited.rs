//! Taking a lock word of shared memory without keeping a thread from other work.

use super::raw::lock::{Queuer, RawLock, Step, Taken};
use crate::reactor::{Seat, Whom, Word};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// A lock word, and a handle of the object that it is in.
struct LockOf<O> {
    object: O,
    find: fn(&O) -> &RawLock,
}

impl<O: Send + Sync> Word for LockOf<O> {
    fn word(&self) -> &AtomicU32 {
        (self.find)(&self.object).sleepers()
    }

    fn announce(&self) -> Option<u32> {
        Some((self.find)(&self.object).announce())
    }
}

/// Takes a lock of an object, however long that takes. The counterpart of [`RawLock::lock`].
///
/// Dropping it leaves the lock to others.
pub(crate) async fn lock<O>(object: &O, find: fn(&O) -> &RawLock) -> Taken
where
    O: Clone + Send + Sync + 'static,
{
    let raw = find(object);
    if let Some(taken) = raw.lock_at_once() {
        return taken;
    }
    let mut queuer = Queuer::new();
    let mut seat = Seat::new(Whom::One);
    let word: Arc<dyn Word> = Arc::new(LockOf { object: object.clone(), find });
    loop {
        let (expected, nap) = match raw.look(&mut queuer) {
            Step::Done(taken) => return taken,
            Step::Sleep { expected, nap } => (expected, nap),
        };
        let woken = seat.sleep(word.clone(), expected, nap).await;
        if let Some(taken) = raw.slept(&mut queuer, woken) {
            return taken;
        }
    }
}
