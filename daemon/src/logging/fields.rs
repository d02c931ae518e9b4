//! An event of `tracing` as text: its message, and its fields in the order in which they were
//! written. However long something is, no more than a bound of it is kept.

use mpserverd_proto::text::beginning;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};

/// Marks what was cut.
const CUT: char = '…';

/// What an event says.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, String)>,
    /// Bytes that may still be kept.
    room: usize,
}

impl Fields {
    /// Takes an event apart, and keeps so many bytes of it at most.
    pub(super) fn of(event: &tracing::Event<'_>, bytes_max: usize) -> Self {
        let mut fields = Self { room: bytes_max, ..Self::default() };
        event.record(&mut fields);
        fields
    }

    fn keep(&mut self, field: &Field, write: impl FnOnce(&mut Bounded) -> fmt::Result) {
        let mut text = Bounded { text: String::new(), room: self.room };
        // It fails only where the room ends, and that is marked.
        let _ = write(&mut text);
        self.room -= text.text.len().min(self.room);
        match field.name() {
            "message" => self.message = text.text,
            name => self.fields.push((name, text.text)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, |text| write!(text, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, |text| text.write_str(value));
    }
}

/// Text that stops growing at a bound.
struct Bounded {
    text: String,
    room: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.room {
            self.room -= text.len();
            self.text.push_str(text);
            return Ok(());
        }
        self.text.push_str(beginning(text, self.room));
        self.text.push(CUT);
        self.room = 0;
        Err(fmt::Error)
    }
}
