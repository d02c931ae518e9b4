//! Parsers between clap and the types of values: they carry the words for help and completion.

use crate::config::values::{Choice, LogLevel};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

/// A parser for one of a few words.
pub(super) fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    let words = T::ALL.iter().map(|(_, word, help)| PossibleValue::new(*word).help(*help));
    PossibleValuesParser::new(words).try_map(|word| T::from_word(&word))
}

/// A parser for a level or directives; completion offers the levels.
#[derive(Clone, Debug)]
pub(super) struct LevelParser;

impl TypedValueParser for LevelParser {
    type Value = LogLevel;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<LogLevel, clap::Error> {
        let parse: fn(&str) -> Result<LogLevel, String> = |text| text.parse();
        TypedValueParser::parse_ref(&parse, command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(LogLevel::WORDS.iter().map(PossibleValue::new)))
    }
}

/// A signal, by name (with or without `SIG`) or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalNumber(pub i32);

impl SignalNumber {
    /// The polite one.
    pub const TERM: Self = Self(15);
}

impl fmt::Display for SignalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SignalNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { signal_by_name(text) };
        number.filter(|number| (1..=64).contains(number)).map(Self).ok_or_else(|| {
            format!("`{text}` is no signal: give a name like TERM or SIGUSR1, or 1 to 64")
        })
    }
}

#[cfg(unix)]
fn signal_by_name(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

#[cfg(not(unix))]
fn signal_by_name(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "TERM" => Some(15),
        "KILL" => Some(9),
        "INT" => Some(2),
        _ => None,
    }
}

/// A worker, by id (`w17`) or pid (`4711`).
pub(super) fn worker(text: &str) -> Result<mpserverd_proto::client::WorkerRef, String> {
    use mpserverd_proto::{client::WorkerRef, ids::WorkerId};
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parsed = match text.strip_prefix('w') {
        Some(id) if all_digits(id) => id.parse().ok().map(|id| WorkerRef::Id(WorkerId(id))),
        None if all_digits(text) => text.parse().ok().filter(|pid| *pid > 0).map(WorkerRef::Pid),
        _ => None,
    };
    parsed.ok_or_else(|| format!("`{text}` is neither a worker like w17 nor a pid like 4711"))
}

/// What can be explained: a worker (`w17`), a template (`t3`), or anybody by pid.
pub(super) fn subject(text: &str) -> Result<mpserverd_proto::explain::Subject, String> {
    use mpserverd_proto::{client::WorkerRef, explain::Subject, ids::TemplateId};
    let template = text.strip_prefix('t').filter(|id| id.bytes().all(|b| b.is_ascii_digit()));
    if let Some(id) = template.and_then(|id| id.parse().ok()) {
        return Ok(Subject::Template(TemplateId(id)));
    }
    match worker(text) {
        Ok(WorkerRef::Id(id)) => Ok(Subject::Worker(id)),
        Ok(WorkerRef::Pid(pid)) => Ok(Subject::Pid(pid)),
        Err(_) => Err(format!(
            "`{text}` is neither a worker like w17, nor a template like t3, nor a pid like 4711"
        )),
    }
}

/// A time between two looks.
pub(super) fn interval(text: &str) -> Result<std::time::Duration, String> {
    use std::time::Duration;
    let time = crate::config::values::duration(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(3600);
    if allowed.contains(&time) { Ok(time) } else { Err("must be from 100ms to 1h".to_owned()) }
}

/// Levels of the log, from what is broken to everything.
impl Choice for mpserverd_proto::record::LogLevel {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Self::Error, "error", "Something is broken"),
        (Self::Warn, "warn", "Something may break"),
        (Self::Info, "info", "What an operator wants to know"),
        (Self::Debug, "debug", "What a developer wants to know"),
        (Self::Trace, "trace", "Everything"),
    ];
}

/// Says what clap found to be wrong in the words and with the exit code of this program.
pub(super) fn is_failure(error: &clap::Error) -> bool {
    !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpserverd_proto::{client::WorkerRef, ids::WorkerId};

    #[test]
    fn workers() {
        assert_eq!(worker("w17"), Ok(WorkerRef::Id(WorkerId(17))));
        assert_eq!(worker("4711"), Ok(WorkerRef::Pid(4711)));
        for text in ["", "w", "0", "-1", "w-1", "+5", "t1", "99999999999"] {
            assert!(worker(text).is_err(), "{text}");
        }
    }

    #[test]
    fn subjects() {
        use mpserverd_proto::{explain::Subject, ids::TemplateId};
        assert_eq!(subject("w17"), Ok(Subject::Worker(WorkerId(17))));
        assert_eq!(subject("t3"), Ok(Subject::Template(TemplateId(3))));
        assert_eq!(subject("4711"), Ok(Subject::Pid(4711)));
        for text in ["", "t", "t-1", "t+1", "0", "p3", "t99999999999999999999"] {
            assert!(subject(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn signals() {
        for (text, number) in [("TERM", 15), ("sigkill", 9), ("SIGHUP", 1), ("34", 34)] {
            assert_eq!(text.parse(), Ok(SignalNumber(number)), "{text}");
        }
        for text in ["", "0", "65", "-9", "SIG", "NOPE", "SIGSIGTERM"] {
            assert!(text.parse::<SignalNumber>().is_err(), "{text}");
        }
    }
}
