//! A subscriber that remembers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Values, each as what kind it came and as a text.
pub(crate) type Fields = BTreeMap<String, (&'static str, String)>;

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) module: String,
    pub(crate) fields: Fields,
    /// The outermost one first.
    pub(crate) spans: Vec<(String, Fields)>,
}

impl Line {
    pub(crate) fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |(_, text)| text)
    }

    pub(crate) fn message(&self) -> &str {
        self.get("message")
    }

    pub(crate) fn process(&self) -> &str {
        self.get("process.name")
    }
}

/// What a test does at each event.
pub(crate) type Also = Option<fn()>;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    lines: Arc<Mutex<Vec<Line>>>,
    /// Names of spans that were closed.
    closed: Arc<Mutex<Vec<String>>>,
    /// Called at each event.
    pub(crate) also: Arc<Mutex<Also>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// Events of workers, but those of the library.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let all = self.all();
        all.into_iter().filter(|line| line.target != mp::logging::TARGET).collect()
    }

    pub(crate) fn all(&self) -> Vec<Line> {
        lock(&self.lines).clone()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.lines().iter().map(|line| line.message().to_owned()).collect()
    }

    pub(crate) fn closed(&self) -> Vec<String> {
        lock(&self.closed).clone()
    }

    /// How many events were said to be lost.
    pub(crate) fn lost(&self) -> u64 {
        let all = self.all();
        all.iter().filter_map(|line| line.get("lost").parse::<u64>().ok()).sum()
    }

    pub(crate) fn count(&self) -> usize {
        let lines = lock(&self.lines);
        lines.iter().filter(|line| line.target != mp::logging::TARGET).count()
    }
}

pub(crate) struct Recorder(Seen);

impl Recorder {
    pub(crate) fn subscriber(seen: &Seen) -> impl Subscriber + Send + Sync + use<> {
        Registry::default().with(Self(seen.clone()))
    }
}

struct Collect<'a>(&'a mut Fields);

impl Collect<'_> {
    fn put(&mut self, field: &Field, kind: &'static str, text: String) {
        self.0.insert(field.name().to_owned(), (kind, text));
    }
}

impl Visit for Collect<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, "bool", value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, "i64", value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, "u64", value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, "f64", value.to_string());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, "i128", value.to_string());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, "u128", value.to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, "str", value.to_owned());
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.put(field, "bytes", format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, "debug", format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Collect(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut Collect(span.extensions_mut().get_mut::<Fields>().unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        lock(&self.0.closed).push(context.span(&id).unwrap().name().to_owned());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Collect(&mut fields));
        let metadata = event.metadata();
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans = spans.map(|span| {
            (span.name().to_owned(), span.extensions().get::<Fields>().cloned().unwrap_or_default())
        });
        lock(&self.0.lines).push(Line {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            file: metadata.file().unwrap_or("").to_owned(),
            line: metadata.line().unwrap_or(0),
            module: metadata.module_path().unwrap_or("").to_owned(),
            fields,
            spans: spans.collect(),
        });
        let also = *lock(&self.0.also);
        if let Some(also) = also {
            also();
        }
    }
}
