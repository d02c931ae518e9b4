//! One who waits: a `Waker`, and what has come of the wait.

use super::lock;
use crate::sys::futex::Woken;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Shared by the future and the table of those who wait.
#[derive(Debug)]
pub(super) struct Entry(Mutex<State>);

#[derive(Debug)]
struct State {
    waker: Option<Waker>,
    woken: Option<Woken>,
}

impl Entry {
    pub(super) fn new(cx: &Context<'_>) -> Self {
        Self(Mutex::new(State { waker: Some(cx.waker().clone()), woken: None }))
    }

    /// What has come of it; or it is this `Waker` that will be called.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Woken> {
        let mut state = lock(&self.0);
        if let Some(woken) = state.woken {
            return Poll::Ready(woken);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ends the wait. The `Waker` must be called when no lock is held.
    pub(super) fn end(&self, woken: Woken) -> Option<Waker> {
        let mut state = lock(&self.0);
        state.woken = Some(woken);
        state.waker.take()
    }

    /// What has come of it.
    pub(super) fn woken(&self) -> Option<Woken> {
        lock(&self.0).woken
    }
}

/// Calls wakers. They are somebody else's code: a panic there ends nobody's wait but its own.
pub(super) fn call(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
    }
}
