//! How records look. All numbers are little endian; a text has its length before it.
//!
//! ```text
//! record    kind: u8, level: u8, pid: u32, time: u64 (ns), process: text16, then by kind
//!   event     chain, block32 callsite, block32 fields
//!   span      chain
//!   closed    id: u64
//! chain     count: u8, spans from the innermost one on
//!   span      id: u64, revision: u32, block32 callsite, block32 fields
//! callsite  level: u8, line: u32 (0: unknown), name, target, module, file: text16,
//!           count: u8, names of fields: text16
//! fields    index: u8, kind: u8, value
//! ```
//!
//! What must never be in here: trust. Whoever reads has bytes that somebody may have scribbled
//! over; what does not fit is `None`.

use mpserverd_proto::text::beginning;
use std::borrow::Cow;
use tracing::Metadata;

/// Longest record, in bytes.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 10;
/// Bytes of the spans of an event.
pub(super) const CHAIN_BYTES_MAX: usize = 24 << 10;
/// Spans of an event.
pub(super) const CHAIN_MAX: usize = 32;
/// Bytes that describe a callsite.
const CALLSITE_BYTES_MAX: usize = 16 << 10;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Event = 1,
    /// A span was made, or has new fields.
    Span = 2,
    /// A span is no more.
    Closed = 3,
}

/// What a value is.
pub(super) mod tag {
    pub(in super::super) const BOOL: u8 = 1;
    pub(in super::super) const I64: u8 = 2;
    pub(in super::super) const U64: u8 = 3;
    pub(in super::super) const F64: u8 = 4;
    pub(in super::super) const I128: u8 = 5;
    pub(in super::super) const U128: u8 = 6;
    /// A string.
    pub(in super::super) const STR: u8 = 7;
    /// What `Debug` or `Display` wrote.
    pub(in super::super) const TEXT: u8 = 8;
    pub(in super::super) const BYTES: u8 = 9;
}

/// Appends a text; what is longer than its length can say is cut.
pub(super) fn put_text(into: &mut Vec<u8>, text: &str) {
    let text = beginning(text, u16::MAX.into());
    into.extend_from_slice(&(text.len() as u16).to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

/// Appends what `write` appends, with its length before it.
pub(super) fn put_block<R>(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let at = into.len();
    into.extend_from_slice(&[0; 4]);
    let result = write(into);
    let length = (into.len() - at - 4) as u32;
    into[at..at + 4].copy_from_slice(&length.to_le_bytes());
    result
}

/// Appends what describes a callsite; false if that is longer than anybody writes it.
pub(super) fn put_callsite(into: &mut Vec<u8>, metadata: &Metadata<'_>) -> bool {
    let at = into.len();
    put_block(into, |into| {
        into.push(super::level::rank(*metadata.level()));
        into.extend_from_slice(&metadata.line().unwrap_or(0).to_le_bytes());
        put_text(into, metadata.name());
        put_text(into, metadata.target());
        put_text(into, metadata.module_path().unwrap_or(""));
        put_text(into, metadata.file().unwrap_or(""));
        into.push(metadata.fields().len().min(u8::MAX.into()) as u8);
        for field in metadata.fields().iter().take(u8::MAX.into()) {
            put_text(into, field.name());
        }
    });
    into.len() - at <= CALLSITE_BYTES_MAX
}

/// Reads bytes that may be anything.
#[derive(Clone, Copy, Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        let length = self.array().map(u16::from_le_bytes)?;
        self.take(length.into()).map(String::from_utf8_lossy)
    }
}

/// What stands at the beginning of every record, for who sorts them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) is_event: bool,
    pub(super) is_closed: bool,
    pub(super) time: u64,
}

/// The label of a record.
pub(super) fn label(bytes: &[u8]) -> Option<Label> {
    let mut bytes = Bytes(bytes);
    let kind = bytes.u8()?;
    bytes.take(5)?;
    let time = bytes.u64()?;
    let is = |wanted: Kind| kind == wanted as u8;
    Some(Label { is_event: is(Kind::Event), is_closed: is(Kind::Closed), time })
}

/// A record that was read.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) level: u8,
    pub(super) pid: u32,
    pub(super) process: Cow<'a, str>,
    /// The outermost one first.
    pub(super) spans: Vec<SpanPart<'a>>,
    /// Of an event.
    pub(super) callsite: &'a [u8],
    /// Of an event.
    pub(super) fields: &'a [u8],
    /// Of a span that is no more.
    pub(super) closed: u64,
}

/// A span in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpanPart<'a> {
    pub(super) id: u64,
    pub(super) revision: u32,
    pub(super) callsite: &'a [u8],
    pub(super) fields: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let kind = match bytes.u8()? {
            1 => Kind::Event,
            2 => Kind::Span,
            3 => Kind::Closed,
            _ => return None,
        };
        let (level, pid, _) = (bytes.u8()?, bytes.u32()?, bytes.u64()?);
        let process = bytes.text()?;
        let (spans, callsite, fields, closed) = match kind {
            Kind::Event => (chain(&mut bytes)?, bytes.block()?, bytes.block()?, 0),
            Kind::Span => (chain(&mut bytes)?, &[][..], &[][..], 0),
            Kind::Closed => (Vec::new(), &[][..], &[][..], bytes.u64()?),
        };
        Some(Self { kind, level, pid, process, spans, callsite, fields, closed })
    }
}

fn chain<'a>(bytes: &mut Bytes<'a>) -> Option<Vec<SpanPart<'a>>> {
    let count = usize::from(bytes.u8()?);
    let mut spans = Vec::with_capacity(count.min(CHAIN_MAX));
    for _ in 0..count {
        let (id, revision) = (bytes.u64()?, bytes.u32()?);
        let (callsite, fields) = (bytes.block()?, bytes.block()?);
        spans.push(SpanPart { id, revision, callsite, fields });
    }
    spans.reverse();
    Some(spans)
}

/// What describes a callsite.
#[derive(Debug)]
pub(super) struct Callsite<'a> {
    pub(super) level: u8,
    pub(super) line: u32,
    pub(super) name: Cow<'a, str>,
    pub(super) target: Cow<'a, str>,
    pub(super) module: Cow<'a, str>,
    pub(super) file: Cow<'a, str>,
    pub(super) fields: Vec<Cow<'a, str>>,
}

impl<'a> Callsite<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > CALLSITE_BYTES_MAX {
            return None;
        }
        let mut bytes = Bytes(bytes);
        let (level, line) = (bytes.u8()?, bytes.u32()?);
        let (name, target) = (bytes.text()?, bytes.text()?);
        let (module, file) = (bytes.text()?, bytes.text()?);
        let count = bytes.u8()?;
        let fields = (0..count).map(|_| bytes.text()).collect::<Option<_>>()?;
        Some(Self { level, line, name, target, module, file, fields })
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    I128(i128),
    U128(u128),
    Str(Cow<'a, str>),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
}

/// The values of a block, with the indices of their fields, up to the first one that cannot be.
pub(super) fn values(block: &[u8]) -> impl Iterator<Item = (usize, Value<'_>)> {
    let mut bytes = Bytes(block);
    std::iter::from_fn(move || {
        let index = bytes.u8()?;
        let value = match bytes.u8()? {
            tag::BOOL => Value::Bool(bytes.u8()? != 0),
            tag::I64 => Value::I64(bytes.array().map(i64::from_le_bytes)?),
            tag::U64 => Value::U64(bytes.u64()?),
            tag::F64 => Value::F64(bytes.array().map(f64::from_le_bytes)?),
            tag::I128 => Value::I128(bytes.array().map(i128::from_le_bytes)?),
            tag::U128 => Value::U128(bytes.array().map(u128::from_le_bytes)?),
            tag::STR => Value::Str(String::from_utf8_lossy(bytes.block()?)),
            tag::TEXT => Value::Text(String::from_utf8_lossy(bytes.block()?)),
            tag::BYTES => Value::Bytes(bytes.block()?),
            _ => return None,
        };
        Some((index.into(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Vec<u8> {
        let mut bytes = vec![Kind::Event as u8, 2];
        bytes.extend_from_slice(&77u32.to_le_bytes());
        bytes.extend_from_slice(&5u64.to_le_bytes());
        put_text(&mut bytes, "Process-1");
        let callsite = |bytes: &mut Vec<u8>| {
            put_block(bytes, |bytes| {
                bytes.push(2);
                bytes.extend_from_slice(&9u32.to_le_bytes());
                for text in ["name", "target", "module", "file.rs"] {
                    put_text(bytes, text);
                }
                bytes.push(2);
                put_text(bytes, "message");
                put_text(bytes, "count");
            });
        };
        let fields = |bytes: &mut Vec<u8>| {
            put_block(bytes, |bytes| {
                bytes.extend_from_slice(&[0, tag::TEXT]);
                put_block(bytes, |bytes| bytes.extend_from_slice(b"hello"));
                bytes.extend_from_slice(&[1, tag::U64]);
                bytes.extend_from_slice(&3u64.to_le_bytes());
            });
        };
        bytes.push(2);
        for id in [8u64, 4] {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&1u32.to_le_bytes());
            callsite(&mut bytes);
            fields(&mut bytes);
        }
        callsite(&mut bytes);
        fields(&mut bytes);
        bytes
    }

    #[test]
    fn records_are_read_as_written() {
        let bytes = event();
        let record = Record::read(&bytes).expect("a record");
        assert_eq!((record.kind, record.level, record.pid), (Kind::Event, 2, 77));
        assert_eq!(record.process, "Process-1");
        assert_eq!(record.spans.iter().map(|span| span.id).collect::<Vec<_>>(), [4, 8]);
        let callsite = Callsite::read(record.callsite).expect("a callsite");
        assert_eq!((callsite.name.as_ref(), callsite.line), ("name", 9));
        assert_eq!(callsite.fields, ["message", "count"]);
        let values = values(record.fields).collect::<Vec<_>>();
        assert_eq!(values, [(0, Value::Text("hello".into())), (1, Value::U64(3))]);
        assert!(label(&bytes).is_some_and(|label| label.is_event && label.time == 5));
    }

    /// Whatever the bytes are, reading ends, and never outside of them.
    #[test]
    fn any_bytes_are_read() {
        let whole = event();
        let read = |bytes: &[u8]| {
            let _ = label(bytes);
            let Some(record) = Record::read(bytes) else { return false };
            let spans = record.spans.iter().flat_map(|span| [span.callsite, span.fields]);
            for block in spans.chain([record.callsite, record.fields]) {
                let _ = Callsite::read(block);
                let _ = values(block).count();
            }
            let mut line = String::new();
            crate::logging::stderr::line(&record, false, &mut line);
            true
        };
        assert!(read(&whole));
        assert!((0..whole.len()).all(|end| !read(&whole[..end])));
        for at in 0..whole.len() {
            for byte in [0, 1, 7, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                read(&bytes);
            }
        }
    }
}
