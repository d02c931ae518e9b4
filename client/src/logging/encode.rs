//! Events and spans of this process as records.

use super::record::{self, Kind, RECORD_BYTES_MAX, put_text, tag};
use super::sink;
use super::spans::Spans;
use crate::sys::identity::Identity;
use mpserverd_proto::text::beginning;
use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// What stands where a value was cut.
const MARK: &str = "… (cut)";
/// Room for what a value has beside its text: index, kind and length, and the mark.
const VALUE_ROOM: usize = 6 + MARK.len();
/// Room that a thread keeps for its next record.
const KEPT: usize = 1 << 10;

thread_local!(static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });

/// Writes a record and hands it to the sink. `write` says whether there is one.
fn record(kind: Kind, level: Level, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
    bytes.clear();
    // The most that most records need: a signal handler then finds room without allocating.
    bytes.reserve(KEPT);
    let time = crate::sys::clock::monotonic().as_nanos() as u64;
    bytes.push(kind as u8);
    bytes.push(super::level::rank(level));
    bytes.extend_from_slice(&Identity::own().pid().to_le_bytes());
    bytes.extend_from_slice(&time.to_le_bytes());
    sink::with_name(|name| put_text(&mut bytes, name));
    if write(&mut bytes) {
        sink::take(&bytes, kind, level);
    } else if kind == Kind::Event {
        sink::lost();
    }
    // A thread that is ending has no use for it.
    let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
}

/// An event.
pub(super) fn event(spans: &Spans, event: &Event<'_>) {
    let metadata = event.metadata();
    let parent = match event.parent() {
        Some(parent) => parent.into_u64(),
        None if event.is_root() => 0,
        None => spans.current(),
    };
    record(Kind::Event, *metadata.level(), |bytes| {
        spans.chain(parent, bytes);
        record::put_callsite(bytes, metadata)
            && record::put_block(bytes, |bytes| {
                event.record(&mut Values { bytes, limit: RECORD_BYTES_MAX - VALUE_ROOM });
                true
            })
    });
}

/// A span that was made, or has new fields.
pub(super) fn span(spans: &Spans, id: u64, level: Level) {
    record(Kind::Span, level, |bytes| {
        spans.chain(id, bytes);
        true
    });
}

/// A span that is no more.
pub(super) fn closed(id: u64) {
    record(Kind::Closed, Level::ERROR, |bytes| {
        bytes.extend_from_slice(&id.to_le_bytes());
        true
    });
}

/// Appends values, up to a limit: what is longer is cut and marked.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    pub(super) limit: usize,
}

impl Values<'_> {
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    fn plain(&mut self, field: &Field, tag: u8, value: &[u8]) {
        if self.begin(field, tag, value.len()) {
            self.bytes.extend_from_slice(value);
        }
    }

    /// Whether there is room for a value of at least so many bytes; its index and kind are there
    /// then.
    fn begin(&mut self, field: &Field, tag: u8, least: usize) -> bool {
        let index = u8::try_from(field.index()).ok().filter(|_| self.room() >= least);
        self.bytes.extend(index.into_iter().flat_map(|index| [index, tag]));
        index.is_some()
    }

    fn text(&mut self, field: &Field, tag: u8, write: impl FnOnce(&mut Cut<'_>) -> fmt::Result) {
        if self.begin(field, tag, 1) {
            let limit = self.limit;
            record::put_block(self.bytes, |bytes| {
                let mut text = Cut { bytes, limit, is_cut: false };
                // An error is one of the value's own, or that the rest was cut.
                let _ = write(&mut text);
                if text.is_cut {
                    text.bytes.extend_from_slice(MARK.as_bytes());
                }
            });
        }
    }
}

/// Takes text until there is no room.
struct Cut<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
    is_cut: bool,
}

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.bytes.len());
        if !self.is_cut && text.len() <= room {
            self.bytes.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        if !self.is_cut {
            self.bytes.extend_from_slice(beginning(text, room).as_bytes());
            self.is_cut = true;
        }
        Err(fmt::Error)
    }
}

impl Visit for Values<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, tag::BOOL, &[value.into()]);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, tag::I64, &value.to_le_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, tag::U64, &value.to_le_bytes());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, tag::F64, &value.to_le_bytes());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.plain(field, tag::I128, &value.to_le_bytes());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.plain(field, tag::U128, &value.to_le_bytes());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, tag::STR, |text| text.write_str(value));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        if self.begin(field, tag::BYTES, 1) {
            let room = self.room();
            record::put_block(self.bytes, |bytes| {
                bytes.extend_from_slice(&value[..value.len().min(room)]);
            });
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, tag::TEXT, |text| {
            write!(text, "{value}")?;
            let mut source = value.source();
            while let Some(cause) = source {
                write!(text, ": {cause}")?;
                source = cause.source();
            }
            Ok(())
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, tag::TEXT, |text| write!(text, "{value:?}"));
    }
}
