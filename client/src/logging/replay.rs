//! Records as events and spans of this process.
//!
//! Events go through `tracing`'s own dispatch, so what a subscriber logs while it gets one does
//! not come back to it.

use super::TARGET;
use super::callsite::{FIELDS_MAX, LAST, Site, Sites};
use super::record::{Callsite, Kind, Record, SpanPart, Value, values};
use super::stderr::{LOST, text};
use std::collections::HashMap;
use tracing::field::DisplayValue;
use tracing::span::{Attributes, Id};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, dispatcher};
use tracing_core::field::{Field, ValueSet};

/// Spans of other processes that are open at a time. When there are more, all are closed, and made
/// anew when they are met again.
const SPANS_MAX: usize = 16_384;
/// Fields of any place.
const ENTRIES: usize = FIELDS_MAX + LAST.len();

/// A span of another process.
#[derive(Debug)]
struct Known {
    /// `None` if the subscriber does not want it.
    id: Option<Id>,
    revision: u32,
}

/// Tells a subscriber.
#[derive(Debug)]
pub(super) struct Replay {
    /// `None` while there is none.
    subscriber: Option<Dispatch>,
    /// By process and its own number.
    spans: HashMap<(u32, u64), Known>,
}

/// A value, for a subscriber.
enum Held<'a> {
    Plain(&'a dyn tracing::Value),
    Str(&'a str),
    Text(DisplayValue<&'a str>),
}

impl<'a> Held<'a> {
    fn of(value: &'a Value<'a>) -> Self {
        Self::Plain(match value {
            Value::Text(text) => return Self::Text(tracing::field::display(text.as_ref())),
            Value::Str(text) => return Self::Str(text.as_ref()),
            Value::Bool(value) => value,
            Value::I64(value) => value,
            Value::U64(value) => value,
            Value::F64(value) => value,
            Value::I128(value) => value,
            Value::U128(value) => value,
            Value::Bytes(bytes) => bytes,
        })
    }

    fn as_value(&self) -> &dyn tracing::Value {
        match self {
            Self::Plain(value) => *value,
            Self::Str(text) => text,
            Self::Text(text) => text,
        }
    }
}

impl Replay {
    pub(super) fn new(subscriber: Option<Dispatch>) -> Self {
        Self { subscriber, spans: HashMap::new() }
    }

    /// The subscriber: if none was there when this began, the global one as soon as there is one.
    fn subscriber(&mut self) -> Option<Dispatch> {
        if self.subscriber.is_none() {
            self.subscriber =
                dispatcher::get_default(|now| (!now.is::<NoSubscriber>()).then(|| now.clone()));
        }
        self.subscriber.clone()
    }

    /// Tells it one record.
    pub(super) fn play(&mut self, record: &Record<'_>, sites: &mut Sites) {
        let Some(subscriber) = self.subscriber() else { return };
        dispatcher::with_default(&subscriber, || match record.kind {
            Kind::Closed => self.close(&subscriber, (record.pid, record.closed)),
            Kind::Span => drop(self.chain(&subscriber, record, sites)),
            Kind::Event => {
                let parent = self.chain(&subscriber, record, sites);
                let Some(site) = sites.get(record.callsite, true) else { return };
                if is_wanted(site) {
                    with_values(site, record.callsite, record.fields, Some(record), |values| {
                        Event::child_of(parent, site.metadata, values);
                    });
                }
            }
        });
    }

    /// Tells it how many events are missing.
    pub(super) fn report(&mut self, process: &str, pid: u32, lost: u64) {
        let Some(subscriber) = self.subscriber() else { return };
        dispatcher::with_default(&subscriber, || {
            tracing::warn!(
                target: TARGET,
                parent: None,
                lost,
                process.name = process,
                process.pid = pid,
                "{LOST}"
            );
        });
    }

    /// Closes all spans of a process.
    pub(super) fn forget(&mut self, pid: u32) {
        let all = self.spans.keys().filter(|(of, _)| *of == pid).copied().collect::<Vec<_>>();
        self.close_all(&all);
    }

    /// Closes all spans.
    pub(super) fn forget_all(&mut self) {
        let all = self.spans.keys().copied().collect::<Vec<_>>();
        self.close_all(&all);
    }

    fn close_all(&mut self, all: &[(u32, u64)]) {
        let Some(subscriber) = self.subscriber.clone().filter(|_| !all.is_empty()) else { return };
        dispatcher::with_default(&subscriber, || {
            all.iter().for_each(|key| self.close(&subscriber, *key));
        });
    }

    /// Not through `tracing`'s dispatch, as in a drop of a span: a registry closes the parent by
    /// the default subscriber, which there would be none.
    fn close(&mut self, subscriber: &Dispatch, key: (u32, u64)) {
        if let Some(id) = self.spans.remove(&key).and_then(|known| known.id) {
            subscriber.try_close(id);
        }
    }

    /// Makes the spans of a record known; gives the innermost one that the subscriber wants.
    fn chain(
        &mut self,
        subscriber: &Dispatch,
        record: &Record<'_>,
        sites: &mut Sites,
    ) -> Option<Id> {
        let mut parent = None;
        for span in &record.spans {
            if let Some(id) = self.span(subscriber, record, span, parent.clone(), sites) {
                parent = Some(id);
            }
        }
        parent
    }

    fn span(
        &mut self,
        subscriber: &Dispatch,
        record: &Record<'_>,
        span: &SpanPart<'_>,
        parent: Option<Id>,
        sites: &mut Sites,
    ) -> Option<Id> {
        let key = (record.pid, span.id);
        let site = sites.get(span.callsite, false)?;
        if let Some(known) = self.spans.get_mut(&key) {
            if let Some(id) = known.id.clone().filter(|_| known.revision != span.revision) {
                known.revision = span.revision;
                with_values(site, span.callsite, span.fields, None, |values| {
                    subscriber.record(&id, &tracing::span::Record::new(values));
                });
            }
            return known.id.clone();
        }
        if self.spans.len() >= SPANS_MAX {
            let all = self.spans.keys().copied().collect::<Vec<_>>();
            all.into_iter().for_each(|key| self.close(subscriber, key));
        }
        let whose = parent.is_none().then_some(record);
        let id = is_wanted(site).then(|| {
            with_values(site, span.callsite, span.fields, whose, |values| {
                let span = match parent.clone() {
                    Some(parent) => Attributes::child_of(parent, site.metadata, values),
                    None => Attributes::new_root(site.metadata, values),
                };
                dispatcher::get_default(|subscriber| subscriber.new_span(&span))
            })
        });
        self.spans.insert(key, Known { id: id.clone(), revision: span.revision });
        id
    }
}

fn is_wanted(site: &Site) -> bool {
    let ask = || dispatcher::get_default(|subscriber| subscriber.enabled(site.metadata));
    site.is_wanted() && ask()
}

/// Calls something with the values of a record, and with who it is from.
fn with_values<R>(
    site: &Site,
    described: &[u8],
    block: &[u8],
    whose: Option<&Record<'_>>,
    run: impl FnOnce(&ValueSet<'_>) -> R,
) -> R {
    let own = site.fields.len() - LAST.len();
    let callsite = Callsite::read(described);
    let mut rest = String::new();
    // Of several values the last one.
    let mut found = vec![None; own];
    if !site.is_exact {
        if let Some(callsite) = &callsite {
            found[0] = Some(Value::Text(callsite.name.clone()));
            found[1] = Some(Value::Str(callsite.target.clone()));
            rest = text(callsite, block);
        }
    } else {
        for (index, value) in values(block) {
            if let Some(place) = found.get_mut(index) {
                *place = Some(value);
            }
        }
        if let Some(callsite) = callsite.as_ref().filter(|callsite| callsite.fields.len() > own) {
            rest = text(callsite, block);
        }
    }
    let held = found.iter().map(|value| value.as_ref().map(Held::of)).collect::<Vec<_>>();
    let process = whose.map(|record| (record.process.as_ref(), record.pid));
    let rest = (!rest.is_empty()).then_some(rest.as_str());
    let (name, pid) = (process.map(|(name, _)| name), process.map(|(_, pid)| pid));
    let mut all = held.iter().map(|held| held.as_ref().map(Held::as_value)).collect::<Vec<_>>();
    all.push(rest.as_ref().map(|rest| rest as &dyn tracing::Value));
    all.push(name.as_ref().map(|name| name as &dyn tracing::Value));
    all.push(pid.as_ref().map(|pid| pid as &dyn tracing::Value));
    let mut entries: [(&Field, Option<&dyn tracing::Value>); ENTRIES] =
        [(&site.fields[0], None); ENTRIES];
    for (entry, pair) in entries.iter_mut().zip(site.fields.iter().zip(all)) {
        *entry = pair;
    }
    run(&site.metadata.fields().value_set(&entries))
}
