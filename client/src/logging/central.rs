//! The subscriber of workers, and of collectors that have none.

use super::spans::Spans;
use super::{encode, sink};
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Dispatch, Event, Metadata, dispatcher};

static SPANS: Spans = Spans::new();
/// Whether [`Central`] is the global subscriber of this process.
static IS_GLOBAL: AtomicBool = AtomicBool::new(false);

/// A span that was made while no span can be: see [`sink::Busy`].
pub(super) const NO_SPAN: u64 = u64::MAX;

/// Turns everything into records for the sink. It has no state of its own: all of them are one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Central;

/// Makes it the global subscriber, if there is none; whether it is that now.
pub(super) fn install() -> bool {
    if IS_GLOBAL.load(Ordering::Acquire) {
        tracing_core::callsite::rebuild_interest_cache();
        return true;
    }
    let is_global = dispatcher::set_global_default(Dispatch::new(Central)).is_ok();
    IS_GLOBAL.fetch_or(is_global, Ordering::AcqRel);
    is_global
}

/// Makes it the subscriber of this thread, until that ends.
pub(super) fn install_here() {
    std::mem::forget(dispatcher::set_default(&Dispatch::new(Central)));
}

/// Whether it is the subscriber of this thread now.
pub(super) fn is_default() -> bool {
    dispatcher::get_default(|now| now.is::<Central>())
}

/// What a new span stands in; 0 for nothing.
pub(super) fn parent_of(spans: &Spans, span: &Attributes<'_>) -> u64 {
    match span.parent() {
        Some(parent) => parent.into_u64(),
        None if span.is_root() => 0,
        None => spans.current(),
    }
}

impl Subscriber for Central {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= sink::threshold()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(sink::threshold())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let Some(_busy) = sink::Busy::begin() else { return Id::from_u64(NO_SPAN) };
        let id = SPANS.next();
        SPANS.add(id, span.metadata(), parent_of(&SPANS, span), span.values());
        if sink::wants_spans() {
            encode::span(&SPANS, id, *span.metadata().level());
        }
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let Some(_busy) = sink::Busy::begin() else { return };
        let metadata = SPANS.update(id.into_u64(), values);
        if let Some(metadata) = metadata.filter(|_| sink::wants_spans()) {
            encode::span(&SPANS, id.into_u64(), *metadata.level());
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        match sink::Busy::begin() {
            Some(_busy) if sink::takes(*event.metadata().level()) => encode::event(&SPANS, event),
            Some(_) => {}
            None => sink::lost(),
        }
    }

    fn enter(&self, id: &Id) {
        SPANS.enter(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        SPANS.exit(id.into_u64());
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(_busy) = sink::Busy::begin() {
            SPANS.keep(id.into_u64());
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let Some(_busy) = sink::Busy::begin() else { return false };
        SPANS.drop_one(id.into_u64(), |closed| {
            if sink::wants_spans() {
                encode::closed(closed);
            }
        })
    }

    fn current_span(&self) -> tracing_core::span::Current {
        let id = SPANS.current();
        match SPANS.metadata(id) {
            Some(metadata) => tracing_core::span::Current::new(Id::from_u64(id), metadata),
            None => tracing_core::span::Current::none(),
        }
    }
}
