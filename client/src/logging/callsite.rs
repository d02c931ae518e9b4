//! Where events of other processes come from, as `tracing` knows it: for ever, so a bounded number.

use super::TARGET;
use super::level::level;
use super::record::Callsite;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Metadata;
use tracing_core::field::{Field, FieldSet};
use tracing_core::subscriber::Interest;
use tracing_core::{Kind, identify_callsite};

/// How many places are known one by one.
const PLACES_MAX: usize = 4096;
/// Bytes that describe them.
const BYTES_MAX: usize = 4 << 20;
/// Fields of a place; what there is beyond goes into one text.
pub(super) const FIELDS_MAX: usize = 28;

/// What `tracing` asks about a place.
#[derive(Debug, Default)]
struct Place {
    metadata: OnceLock<&'static Metadata<'static>>,
    is_wanted: AtomicBool,
}

impl tracing_core::Callsite for Place {
    fn set_interest(&self, interest: Interest) {
        self.is_wanted.store(!interest.is_never(), Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("set before anybody else knows of it")
    }
}

/// A place where something is logged.
#[derive(Debug)]
pub(super) struct Site {
    place: &'static Place,
    pub(super) metadata: &'static Metadata<'static>,
    /// Those that it has there, up to [`FIELDS_MAX`], then [`LAST`].
    pub(super) fields: Vec<Field>,
    /// The place itself, or one that stands for many.
    pub(super) is_exact: bool,
}

/// Names of the last fields of every place.
pub(super) const LAST: [&str; 3] = ["fields", "process.name", "process.pid"];
/// Names of the fields of a place that stands for many.
const OF_MANY: [&str; 2] = ["message", "target"];

fn keep(text: &str) -> &'static str {
    Box::leak(Box::from(text))
}

impl Site {
    /// Makes one for ever.
    fn new(callsite: &Callsite<'_>, kind: Kind, is_exact: bool) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| keep(text));
        let names = callsite.fields.iter().take(FIELDS_MAX).map(|name| keep(name));
        let names: &'static [&'static str] = names.chain(LAST).collect::<Vec<_>>().leak();
        let place: &'static Place = Box::leak(Box::default());
        let metadata: &'static Metadata<'static> = Box::leak(Box::new(Metadata::new(
            keep(&callsite.name),
            keep(&callsite.target),
            level(callsite.level),
            some(&callsite.file),
            (callsite.line != 0).then_some(callsite.line),
            some(&callsite.module),
            FieldSet::new(names, identify_callsite!(place)),
            kind,
        )));
        // Nobody else has set it: the place is new.
        let _ = place.metadata.set(metadata);
        tracing_core::callsite::register(place);
        Self { place, metadata, fields: metadata.fields().iter().collect(), is_exact }
    }

    /// Whether any subscriber might want what comes from there.
    pub(super) fn is_wanted(&self) -> bool {
        self.place.is_wanted.load(Ordering::Relaxed)
    }
}

/// All places that are known.
#[derive(Debug, Default)]
pub(super) struct Sites {
    events: HashMap<Box<[u8]>, Site>,
    spans: HashMap<Box<[u8]>, Site>,
    bytes: usize,
    of_many: HashMap<(bool, u8), Site>,
}

impl Sites {
    /// The place that these bytes describe, or the one that stands for it; `None` if they describe
    /// nothing.
    pub(super) fn get(&mut self, described: &[u8], is_event: bool) -> Option<&Site> {
        let is_known = |map: &HashMap<Box<[u8]>, Site>| map.contains_key(described);
        let known = is_known(if is_event { &self.events } else { &self.spans });
        if !known {
            let callsite = Callsite::read(described)?;
            let is_full = self.events.len() + self.spans.len() >= PLACES_MAX
                || self.bytes + described.len() > BYTES_MAX;
            if is_full {
                return Some(self.one_of_many(callsite.level, is_event));
            }
            self.bytes += described.len();
            let kind = if is_event { Kind::EVENT } else { Kind::SPAN };
            let site = Site::new(&callsite, kind, true);
            let map = if is_event { &mut self.events } else { &mut self.spans };
            map.insert(described.into(), site);
        }
        if is_event { &self.events } else { &self.spans }.get(described)
    }

    fn one_of_many(&mut self, level: u8, is_event: bool) -> &Site {
        let level = super::level::rank(super::level::level(level));
        self.of_many.entry((is_event, level)).or_insert_with(|| {
            let callsite = Callsite {
                level,
                line: 0,
                name: if is_event { "event of a process" } else { "span of a process" }.into(),
                target: TARGET.into(),
                module: "".into(),
                file: "".into(),
                fields: OF_MANY.map(Into::into).to_vec(),
            };
            Site::new(&callsite, if is_event { Kind::EVENT } else { Kind::SPAN }, false)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::record::put_text;

    fn described(line: u32) -> Vec<u8> {
        let mut bytes = vec![3];
        bytes.extend_from_slice(&line.to_le_bytes());
        for text in ["name", "target", "module", "file.rs"] {
            put_text(&mut bytes, text);
        }
        bytes.push(1);
        put_text(&mut bytes, "answer");
        bytes
    }

    #[test]
    fn a_place_is_made_once_and_the_number_of_places_is_bounded() {
        let mut sites = Sites::default();
        let first = sites.get(&described(0), true).map(|site| site.metadata.callsite());
        let again = sites.get(&described(0), true).map(|site| site.metadata.callsite());
        assert!(first.is_some() && first == again);
        for line in 1..PLACES_MAX as u32 + 10 {
            assert!(sites.get(&described(line), true).is_some());
        }
        let site = sites.get(&described(u32::MAX), true).expect("one that stands for it");
        assert!(!site.is_exact && site.metadata.target() == TARGET);
        assert_eq!(*site.metadata.level(), tracing::Level::INFO);
        assert!(sites.get(&described(7), true).is_some_and(|site| site.is_exact));
        assert_eq!(sites.events.len(), PLACES_MAX);
        assert!(sites.get(&[1, 2, 3], false).is_none());
    }
}
