//! The future that does what a sleep on a word of shared memory does.

use super::entry::Entry;
use super::words::Want;
use super::{Reactor, UNREGISTERED, current};
use crate::sys::futex::Woken;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll};
use std::time::Duration;

/// A word in memory that stays mapped as long as this is kept.
pub(crate) trait Word: Send + Sync {
    /// The word.
    fn word(&self) -> &AtomicU32;

    /// Announces those who stay when one of them was woken, and gives the word. The next wake-up
    /// must be sure to change it: whoever passes this one on may do so before they sleep again. A
    /// word that counts wake-ups is so by itself; a lock word must say that somebody sleeps.
    fn announce(&self) -> Option<u32> {
        None
    }
}

/// A word of a shared object, and a handle of that.
pub(crate) struct WordOf<O> {
    /// The handle.
    pub(crate) object: O,
    /// Where in it the word is.
    pub(crate) find: fn(&O) -> &AtomicU32,
}

impl<O: Send + Sync> Word for WordOf<O> {
    fn word(&self) -> &AtomicU32 {
        (self.find)(&self.object)
    }
}

/// Whose wait a wake-up ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// That of the one who has waited longest, who passes it on.
    One,
    /// That of everybody.
    All,
}

/// Who waits for a word, sleep after sleep, and its place among the others.
#[derive(Debug)]
pub(crate) struct Seat {
    ticket: Option<u64>,
    whom: Whom,
}

impl Seat {
    pub(crate) const fn new(whom: Whom) -> Self {
        Self { ticket: None, whom }
    }

    /// Sleeps until woken while the word is this, at most about so long: of several who wait for a
    /// word only one looks again so early. The counterpart of [`wait`](crate::sys::futex::wait).
    ///
    /// Dropping it passes a wake-up on that nobody has looked at.
    pub(crate) fn sleep(&mut self, word: Arc<dyn Word>, expected: u32, nap: Duration) -> Sleep<'_> {
        Sleep { seat: self, word, expected, nap, registered: None }
    }
}

/// What [`Seat::sleep`] gives.
#[must_use = "it sleeps when it is awaited"]
pub(crate) struct Sleep<'a> {
    seat: &'a mut Seat,
    word: Arc<dyn Word>,
    expected: u32,
    nap: Duration,
    registered: Option<(&'static Reactor, u64, Arc<Entry>)>,
}

impl fmt::Debug for Sleep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Sleep<'_> {
    fn begin(&mut self, cx: &Context<'_>) -> Poll<Woken> {
        let reactor = current();
        let Self { word, expected, nap, .. } = &*self;
        let want = Want { word, expected: *expected, nap: *nap, whom: self.seat.whom };
        match reactor.want(&want, self.seat.ticket, cx) {
            Ok(Some((ticket, entry))) => {
                self.seat.ticket = Some(ticket);
                self.registered = Some((reactor, ticket, entry));
                Poll::Pending
            }
            Ok(None) => Poll::Ready(Woken::Changed),
            Err(_) => {
                // Slow, but it goes on; a system without room for a thread has other worries.
                std::thread::sleep(UNREGISTERED);
                Poll::Ready(Woken::TimedOut)
            }
        }
    }
}

impl Future for Sleep<'_> {
    type Output = Woken;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Woken> {
        let Some((reactor, _, entry)) = &self.registered else { return self.begin(cx) };
        let woken = match reactor.is_own() {
            true => std::task::ready!(entry.poll(cx)),
            // A fork has this future but not the thread that would wake it.
            false => Woken::TimedOut,
        };
        self.registered = None;
        Poll::Ready(woken)
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some((reactor, ticket, entry)) = self.registered.take()
            && reactor.is_own()
        {
            reactor.words.leave(&self.word, ticket, &entry, self.seat.whom);
        }
    }
}
