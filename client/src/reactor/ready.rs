//! The futures of descriptors and of times.

use super::entry::Entry;
use super::{Reactor, UNREGISTERED, current};
use std::fmt;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A descriptor that stays open as long as this is kept.
pub(crate) type Source = Arc<dyn AsFd + Send + Sync>;

/// What to wait for at a descriptor. Its end, or an error, counts as either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// That it can be read.
    Read,
    /// That it can be written.
    Write,
}

/// Waits until a descriptor is ready, perhaps; the attempt that follows tells.
pub(crate) fn ready(source: Source, interest: Interest) -> Ready {
    Ready { source, interest, registered: None }
}

/// What [`ready`] gives.
#[must_use = "it waits when it is awaited"]
pub(crate) struct Ready {
    source: Source,
    interest: Interest,
    registered: Option<(&'static Reactor, u64, Arc<Entry>)>,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("interest", &self.interest).finish_non_exhaustive()
    }
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((reactor, _, entry)) = &self.registered {
            if reactor.is_own() {
                std::task::ready!(entry.poll(cx));
            }
            self.registered = None;
            return Poll::Ready(());
        }
        let reactor = current();
        match reactor.watch(&self.source, self.interest, cx) {
            Ok(Some((number, entry))) => {
                self.registered = Some((reactor, number, entry));
                Poll::Pending
            }
            Ok(None) => Poll::Ready(()),
            Err(_) => {
                std::thread::sleep(UNREGISTERED);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some((reactor, number, _)) = self.registered.take()
            && reactor.is_own()
        {
            reactor.descriptors.leave(self.source.as_fd(), number);
        }
    }
}

/// Waits until a moment, never less.
pub(crate) fn until(at: Instant) -> Until {
    Until { at, registered: None }
}

/// What [`until`] gives.
#[derive(Debug)]
#[must_use = "it waits when it is awaited"]
pub(crate) struct Until {
    at: Instant,
    registered: Option<(&'static Reactor, u64, Arc<Entry>)>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        if let Some((reactor, _, entry)) = &self.registered
            && reactor.is_own()
            && entry.poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        let reactor = current();
        match reactor.alarm(self.at, cx) {
            Ok((number, entry)) => self.registered = Some((reactor, number, entry)),
            Err(_) => {
                std::thread::sleep(UNREGISTERED);
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some((reactor, number, _)) = self.registered.take()
            && reactor.is_own()
        {
            reactor.descriptors.forget(self.at, number);
        }
    }
}
