//! One thread at a time, with a deadline for the others.
//!
//! A mutex of std has no deadline, so it guards only the change of hands: whoever has the turn
//! holds the state itself, and no lock while it waits for a peer. Tasks wait beside threads: all of
//! them are woken, for one that was dropped meanwhile could not pass it on.

use crate::deadline::Deadline;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A state that one thread at a time works with.
pub(super) struct Turn<T> {
    slot: Mutex<Slot<T>>,
    free: Condvar,
}

struct Slot<T> {
    /// The state, unless somebody has it.
    state: Option<T>,
    /// Threads that sleep: nobody is woken, by a system call, when there are none.
    waiting: usize,
    /// Tasks that wait.
    wakers: Vec<Waker>,
}

/// The state, for as long as this is kept.
pub(super) struct Mine<'a, T> {
    turn: &'a Turn<T>,
    state: Option<T>,
}

impl<T> Turn<T> {
    pub(super) fn new(state: T) -> Self {
        let slot = Slot { state: Some(state), waiting: 0, wakers: Vec::new() };
        Self { slot: Mutex::new(slot), free: Condvar::new() }
    }

    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn; `None` when the time passes first.
    #[inline]
    pub(super) fn take(&self, deadline: &Deadline) -> Option<Mine<'_, T>> {
        let taken = self.slot().state.take();
        let state = match taken {
            Some(state) => state,
            None => self.wait(deadline)?,
        };
        Some(Mine { turn: self, state: Some(state) })
    }

    #[cold]
    fn wait(&self, deadline: &Deadline) -> Option<T> {
        let mut slot = self.slot();
        loop {
            if let Some(state) = slot.state.take() {
                return Some(state);
            }
            let left = deadline.left();
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            slot.waiting += 1;
            slot = match left {
                None => self.free.wait(slot).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.free.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            slot.waiting -= 1;
        }
    }

    /// Waits for the turn without keeping a thread.
    pub(super) async fn take_async(&self) -> Mine<'_, T> {
        let state = poll_fn(|cx| {
            let mut slot = self.slot();
            if let Some(state) = slot.state.take() {
                return Poll::Ready(state);
            }
            if !slot.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                slot.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        });
        Mine { turn: self, state: Some(state.await) }
    }

    /// Looks at the state, unless somebody has it.
    pub(super) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.slot().state.as_ref().map(look)
    }

    /// The state itself, when nobody else can have it.
    #[cfg(target_os = "linux")]
    pub(super) fn into_inner(self) -> Option<T> {
        self.slot.into_inner().unwrap_or_else(PoisonError::into_inner).state
    }
}

impl<T> Drop for Mine<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let mut slot = self.turn.slot();
        slot.state = self.state.take();
        let wake = slot.waiting > 0;
        let wakers = std::mem::take(&mut slot.wakers);
        drop(slot);
        if wake {
            self.turn.free.notify_one();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<T> Deref for Mine<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.state.as_ref().expect("taken back by drop only")
    }
}

impl<T> DerefMut for Mine<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.state.as_mut().expect("taken back by drop only")
    }
}

impl<T> fmt::Debug for Turn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.slot().state.is_some() { "free" } else { "busy" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_busy_turn_is_waited_for_no_longer_than_the_time_given() {
        let turn = Turn::new(1);
        let mine = turn.take(&Deadline::NEVER).expect("free");
        let start = std::time::Instant::now();
        assert!(turn.take(&Deadline::within(Duration::from_millis(20))).is_none());
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(turn.peek(|state| *state), None);
        drop(mine);
        assert_eq!(turn.peek(|state| *state), Some(1));
    }

    #[test]
    fn many_threads_take_turns() {
        let turn = Turn::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        *turn.take(&Deadline::NEVER).expect("for ever") += 1;
                    }
                });
            }
        });
        assert_eq!(turn.peek(|state| *state), Some(4000));
    }

    #[test]
    fn a_panic_gives_the_turn_back() {
        let turn = Turn::new(7);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _mine = turn.take(&Deadline::NEVER);
            panic!("inside");
        }));
        assert!(caught.is_err());
        assert_eq!(turn.peek(|state| *state), Some(7));
    }
}
