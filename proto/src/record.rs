//! Lines of the daemon's log, as it remembers the last of them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How important a record is; the most important comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something may break.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All of them, the most important first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct LogRecord {
    /// Its number: one more than that of the record before. A new daemon begins at 1.
    pub number: u64,
    /// When it was written, milliseconds since the epoch.
    pub at_ms: u64,
    /// How important it is.
    pub level: LogLevel,
    /// The part of the daemon that wrote it.
    pub target: String,
    /// What happened.
    pub message: String,
    /// To whom: names and values, in the order in which they were written.
    pub fields: Vec<(String, String)>,
}

impl LogRecord {
    /// About as many bytes as it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| 32 + name.len() + value.len());
        64 + self.target.len() + self.message.len() + fields.sum::<usize>()
    }
}

/// Records of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct LogReport {
    /// The oldest first.
    pub records: Vec<LogRecord>,
    /// Ask for those after this number next.
    pub after: u64,
    /// Records of whatever level that were wanted, and that the daemon does not remember any more.
    pub lost: u64,
}
