//! A subscriber of the program beside that of the library.

use super::spans::Spans;
use super::{central, encode, sink};
use crate::sys::identity::Identity;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Dispatch, Event, Metadata};

/// Whether a [`Tee`] is the subscriber of this process.
static IS_GLOBAL: AtomicBool = AtomicBool::new(false);

/// Whether a [`Tee`] is the subscriber of this process.
pub(super) fn is_global() -> bool {
    IS_GLOBAL.load(Ordering::Acquire)
}

/// Numbers of spans that only the collector is told of.
const OURS: u64 = 1 << 63;

/// A subscriber, wrapped so that the collector gets events too.
///
/// In a worker that has a subscriber of its own, everything that is logged goes to that subscriber
/// and to the collector, each by its own level. In a forked worker, whose subscriber is a copy of
/// the program's, events go to the collector only. Everywhere else it is just that subscriber.
///
/// What finds a subscriber by its type (`Dispatch::downcast_ref`) does not find one in here.
///
/// ```
/// use mpserverd_client as mp;
/// use tracing_core::subscriber::NoSubscriber;
///
/// // In an `after_fork` hook, or first in `main`; with any subscriber.
/// let subscriber = mp::logging::Tee::new(NoSubscriber::new());
/// let _ = tracing::subscriber::set_global_default(subscriber);
/// ```
pub struct Tee<S> {
    inner: S,
    spans: Spans,
    maker: u64,
}

impl<S> fmt::Debug for Tee<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tee").finish_non_exhaustive()
    }
}

/// Whether the collector gets what is of that level.
fn is_sent(metadata: &Metadata<'_>) -> bool {
    sink::sender().is_some() && sink::takes(*metadata.level())
}

impl<S: Subscriber> Tee<S> {
    /// Wraps a subscriber.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner, spans: Spans::new(), maker: Identity::own().0 }
    }

    /// Whether the subscriber itself gets events.
    fn is_in_use(&self) -> bool {
        sink::sender().is_none() || self.maker == Identity::own().0
    }

    /// The span as the subscriber knows it, or the nearest one around it that it knows.
    fn known(&self, id: u64) -> Option<Id> {
        self.spans.nearest(id, |id| id & OURS == 0).map(Id::from_u64)
    }

    fn new_inner_span(&self, span: &Attributes<'_>) -> Id {
        match span.parent().map(Id::into_u64).filter(|id| id & OURS != 0) {
            None => self.inner.new_span(span),
            Some(parent) => {
                let (metadata, values) = (span.metadata(), span.values());
                self.inner.new_span(&match self.known(parent) {
                    Some(parent) => Attributes::child_of(parent, metadata, values),
                    None => Attributes::new_root(metadata, values),
                })
            }
        }
    }
}

impl<S: Subscriber> Subscriber for Tee<S> {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        IS_GLOBAL.store(true, Ordering::Release);
        self.inner.on_register_dispatch(dispatch);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.inner.register_callsite(metadata);
        if is_sent(metadata) && !interest.is_always() { Interest::sometimes() } else { interest }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_sent(metadata) || self.inner.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let inner = self.inner.max_level_hint()?;
        Some(if sink::sender().is_some() { inner.max(sink::threshold()) } else { inner })
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let is_sent = is_sent(span.metadata());
        let id = if !is_sent || self.inner.enabled(span.metadata()) {
            self.new_inner_span(span)
        } else {
            Id::from_u64(OURS | self.spans.next())
        };
        let Some(_busy) = sink::Busy::begin() else { return id };
        let parent = central::parent_of(&self.spans, span);
        self.spans.add(id.into_u64(), span.metadata(), parent, span.values());
        if is_sent && sink::wants_spans() {
            encode::span(&self.spans, id.into_u64(), *span.metadata().level());
        }
        id
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if id.into_u64() & OURS == 0 {
            self.inner.record(id, values);
        }
        let Some(_busy) = sink::Busy::begin() else { return };
        let metadata = self.spans.update(id.into_u64(), values);
        if let Some(metadata) = metadata.filter(|_| sink::wants_spans()) {
            encode::span(&self.spans, id.into_u64(), *metadata.level());
        }
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        if (id.into_u64() | follows.into_u64()) & OURS == 0 {
            self.inner.record_follows_from(id, follows);
        }
    }

    fn event(&self, event: &Event<'_>) {
        if is_sent(event.metadata()) {
            match sink::Busy::begin() {
                Some(_busy) => encode::event(&self.spans, event),
                None => sink::lost(),
            }
        }
        let is_wanted = || self.inner.enabled(event.metadata()) && self.inner.event_enabled(event);
        if self.is_in_use() && is_wanted() {
            self.inner.event(event);
        }
    }

    fn enter(&self, id: &Id) {
        self.spans.enter(id.into_u64());
        if id.into_u64() & OURS == 0 {
            self.inner.enter(id);
        }
    }

    fn exit(&self, id: &Id) {
        self.spans.exit(id.into_u64());
        if id.into_u64() & OURS == 0 {
            self.inner.exit(id);
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(_busy) = sink::Busy::begin() {
            self.spans.keep(id.into_u64());
        }
        if id.into_u64() & OURS == 0 { self.inner.clone_span(id) } else { id.clone() }
    }

    fn try_close(&self, id: Id) -> bool {
        let number = id.into_u64();
        let mut is_closed = false;
        if let Some(_busy) = sink::Busy::begin() {
            is_closed = self.spans.drop_one(number, |closed| {
                if sink::wants_spans() {
                    encode::closed(closed);
                }
            });
        }
        if number & OURS == 0 { self.inner.try_close(id) } else { is_closed }
    }

    fn current_span(&self) -> tracing_core::span::Current {
        self.inner.current_span()
    }
}
