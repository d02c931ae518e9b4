//! Where log lines go and what they look like.
//!
//! | file | holds |
//! |---|---|
//! | `fields` | an event of `tracing`, with its fields as text |
//! | `ring` | the last records, for `mpctl logs` |
//! | `journal` | native entries for systemd's journal (Linux) |
//!
//! Called once, after the daemon went into the background and before anything is worth a line.
//! What is logged where is decided by whoever logs.

use crate::config::LogConfig;
use crate::config::values::{LogFormat, LogLevel};
use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry};

mod fields;
#[cfg(target_os = "linux")]
mod journal;
mod ring;

#[cfg(target_os = "linux")]
pub(crate) use ring::RING;

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Somebody else has set a subscriber already.
    #[error("logging was set up twice")]
    Twice,
}

/// What a line looks like, beyond its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// For people: with the time, and with colours on a terminal.
    Text { colours: bool },
    /// For the journal: entries with fields or, where its socket is not to be had, lines with the
    /// level in a `<N>` in front; it knows the time.
    Journal,
    /// One object a line.
    Json,
}

/// Sends the log lines of this process where the configuration wants them.
///
/// # Errors
///
/// If the log file cannot be opened, or on a second call.
pub fn init(log: &LogConfig) -> Result<(), LogError> {
    let (writer, style) = match &log.file {
        Some(path) => {
            let opened = std::fs::File::options().create(true).append(true).open(path);
            let file = opened.map_err(|error| LogError::File { path: path.clone(), error })?;
            (BoxMakeWriter::new(Arc::new(file)), style(log.format, false, false))
        }
        None => {
            let colours = std::io::stderr().is_terminal();
            let style = style(log.format, stderr_is_journal(), colours);
            (BoxMakeWriter::new(std::io::stderr), style)
        }
    };
    let lines = native(style).unwrap_or_else(|| lines(style, writer));
    let subscriber = subscriber(&log.level, lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

/// Something that takes events.
type Sink = Box<dyn Layer<Registry> + Send + Sync>;

/// The journal's own entrance, if lines are for the journal and it is open.
fn native(style: Style) -> Option<Sink> {
    #[cfg(target_os = "linux")]
    if style == Style::Journal {
        let journal = journal::Journal::open(std::path::Path::new(journal::SOCKET)).ok()?;
        return Some(Box::new(journal));
    }
    let _ = style;
    None
}

fn style(format: LogFormat, journal: bool, terminal: bool) -> Style {
    match format {
        LogFormat::Json => Style::Json,
        LogFormat::Text if journal => Style::Journal,
        LogFormat::Text => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            Style::Text { colours: terminal && !plain }
        }
    }
}

fn subscriber(level: &LogLevel, sink: Sink) -> Box<dyn Subscriber + Send + Sync> {
    let filter = EnvFilter::builder().parse_lossy(level.directives());
    Box::new(
        tracing_subscriber::registry().with(sink).with(ring::Recorder(&ring::RING)).with(filter),
    )
}

/// Lines of text.
fn lines(style: Style, writer: BoxMakeWriter) -> Sink {
    // A log that cannot be written (a full disk, a closed pipe) is no reason to do anything else;
    // the words about it would go to standard error, and fail in a panic where that is the log.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false).with_writer(writer);
    match style {
        Style::Text { colours } => Box::new(layer.with_ansi(colours)),
        Style::Json => Box::new(layer.json().flatten_event(true)),
        Style::Journal => {
            let lines = Format::default().without_time().with_level(false).with_ansi(false);
            Box::new(layer.with_ansi(false).event_format(Prioritised(lines)))
        }
    }
}

/// A level as `syslog(3)` has it.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Whether standard error is the journal: the manager says in `JOURNAL_STREAM` which device and
/// inode that is, and another program may have redirected us since.
#[cfg(unix)]
fn stderr_is_journal() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let metadata = stderr.and_then(|fd| std::fs::File::from(fd).metadata());
    metadata.is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn stderr_is_journal() -> bool {
    false
}

/// Lines with the level as the journal reads it (`sd-daemon(3)`).
struct Prioritised(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Prioritised
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("sink").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(level: &str, style: Style) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let writer = BoxMakeWriter::new(move || writer.clone());
        let subscriber = subscriber(&level.parse().expect("level"), lines(style, writer));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(pid = 7, "worker is slow");
            tracing::debug!("details");
        });
        let bytes = sink.0.lock().expect("sink").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn text_has_a_time_and_colours_only_on_a_terminal() {
        let plain = written("info", Style::Text { colours: false });
        assert!(plain.starts_with("20") && plain.contains("WARN"), "{plain}");
        assert!(plain.contains("worker is slow pid=7") && !plain.contains('\x1b'), "{plain}");
        assert!(!plain.contains("details"), "{plain}");
        assert!(written("info", Style::Text { colours: true }).contains("\x1b["));
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        let text = written("debug", Style::Journal);
        let found: Vec<_> = text.lines().collect();
        assert!(found[0].starts_with("<4>mpserverd::logging"), "{text}");
        assert!(found[1].starts_with("<7>") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = written("info", Style::Json);
        let object: serde_json::Value = serde_json::from_str(text.trim()).expect("one object");
        assert_eq!(object["message"], "worker is slow");
        assert_eq!(object["pid"], 7);
        assert_eq!(object["level"], "WARN");
    }

    #[test]
    fn directives_choose_by_module() {
        assert_eq!(written("off", Style::Json), "");
        assert_eq!(written("info,mpserverd=error", Style::Json), "");
        assert_eq!(written("warn,mpserverd=trace", Style::Json).lines().count(), 2);
    }

    #[test]
    fn the_surroundings_choose_the_style() {
        assert_eq!(style(LogFormat::Json, true, true), Style::Json);
        assert_eq!(style(LogFormat::Text, true, false), Style::Journal);
        assert_eq!(style(LogFormat::Text, false, false), Style::Text { colours: false });
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let log = LogConfig { file: Some("/no/such/folder/log".into()), ..LogConfig::default() };
        let error = init(&log).expect_err("no folder").to_string();
        assert!(error.contains("/no/such/folder/log"), "{error}");
    }
}
