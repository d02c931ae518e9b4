//! Records as lines.

use super::level;
use super::record::{Callsite, Kind, Record, Value, values};
use std::fmt::Write as _;
use std::io::Write as _;

/// Appends the line of an event; of another process with its pid.
pub(super) fn line(record: &Record<'_>, is_own: bool, into: &mut String) {
    let _ = write!(into, "[{}/{}] ", level::name(record.level), record.process);
    for (at, span) in record.spans.iter().enumerate() {
        let Some(callsite) = Callsite::read(span.callsite) else { continue };
        let _ = write!(into, "{}", callsite.name);
        let before = into.len();
        fields(&callsite, span.fields, into);
        if into.len() > before {
            into.replace_range(before..=before, "{");
            into.push('}');
        }
        into.push_str(if at + 1 < record.spans.len() { ":" } else { ": " });
    }
    if let Some(callsite) = Callsite::read(record.callsite) {
        for (index, value) in values(record.fields) {
            if callsite.fields.get(index).is_some_and(|name| name == "message") {
                put(&value, true, into);
            }
        }
        fields(&callsite, record.fields, into);
    }
    if !is_own {
        let _ = write!(into, " pid={}", record.pid);
    }
    into.push('\n');
}

/// Appends ` name=value` for each field but the message; of several values the last one.
fn fields(callsite: &Callsite<'_>, block: &[u8], into: &mut String) {
    let all = values(block).collect::<Vec<_>>();
    for (at, (index, value)) in all.iter().enumerate() {
        let Some(name) = callsite.fields.get(*index).filter(|name| *name != "message") else {
            continue;
        };
        if all[at + 1..].iter().any(|(later, _)| later == index) {
            continue;
        }
        let _ = write!(into, " {name}=");
        put(value, false, into);
    }
}

fn put(value: &Value<'_>, plain: bool, into: &mut String) {
    let _ = match value {
        Value::Bool(value) => write!(into, "{value}"),
        Value::I64(value) => write!(into, "{value}"),
        Value::U64(value) => write!(into, "{value}"),
        Value::F64(value) => write!(into, "{value}"),
        Value::I128(value) => write!(into, "{value}"),
        Value::U128(value) => write!(into, "{value}"),
        Value::Str(value) if !plain => write!(into, "{value:?}"),
        Value::Str(value) | Value::Text(value) => write!(into, "{value}"),
        Value::Bytes(value) => write!(into, "{value:?}"),
    };
}

/// Appends the line of a record of another process, if it is an event.
pub(super) fn event(record: &Record<'_>, into: &mut String) {
    if record.kind == Kind::Event {
        line(record, false, into);
    }
}

/// What stands where events are missing.
pub(super) const LOST: &str = "events of this process were lost";

/// Appends the line that says so.
pub(super) fn report(process: &str, pid: u32, lost: u64, into: &mut String) {
    let _ = writeln!(into, "[WARNING/{process}] {LOST} lost={lost} pid={pid}");
}

/// The values of a block as one text, for who cannot have them one by one.
pub(super) fn text(callsite: &Callsite<'_>, block: &[u8]) -> String {
    let mut text = String::new();
    fields(callsite, block, &mut text);
    text.split_off(text.len().min(1))
}

/// Writes lines. Nobody can be told that nobody reads them.
pub(super) fn write(lines: &str) {
    if !lines.is_empty() {
        let _ = std::io::stderr().lock().write_all(lines.as_bytes());
    }
}
