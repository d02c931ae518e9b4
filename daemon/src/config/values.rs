//! What the values of options look like: one parser and one spelling for command line and file.

use crate::core::PoisonRule;
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::template::OnPreloadError;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// A value that is one of a few words.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// Every value with its word and one line of help.
    const ALL: &'static [(Self, &'static str, &'static str)];

    /// The word of this value.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(value, ..)| *value == self).map_or("?", |(_, word, _)| word)
    }

    /// The value of a word.
    ///
    /// # Errors
    ///
    /// Says which words there are.
    fn from_word(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, word, _)| *word == text);
        found.map(|(value, ..)| *value).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|(_, word, _)| *word).collect();
            format!("`{text}` is none of {}", words.join(", "))
        })
    }
}

impl Choice for OnPreloadError {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Self::Ignore, "ignore", "Go on without the module; only `mpctl modules` shows it"),
        (Self::Warn, "warn", "Go on without the module and log a warning"),
        (Self::Fail, "fail", "Refuse to start, and refuse a reload"),
    ];
}

impl Choice for StopPolicy {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Self::Wait, "wait", "Let workers finish for the grace, then SIGTERM, then SIGKILL"),
        (Self::Term, "term", "SIGTERM at once, SIGKILL after the grace"),
        (Self::Kill, "kill", "SIGKILL at once"),
    ];
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Self::Text, "text", "Lines for people"),
        (Self::Json, "json", "One JSON object a line, for log collectors"),
    ];
}

/// How many spares a template keeps: `MIN..MAX`, both ends included, or one number for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spares {
    /// Kept whatever the demand.
    pub min: u32,
    /// Kept when demand is high.
    pub max: u32,
}

impl FromStr for Spares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten().ok_or_else(|| {
                format!("`{text}` is not MIN..MAX, for example 2..32 (both numbers included)")
            })
        };
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let spares = Self { min: number(min)?, max: number(max)? };
        if spares.min > spares.max {
            return Err(format!("{} is more than {}: write the smaller number first", min, max));
        }
        Ok(spares)
    }
}

impl fmt::Display for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.min, self.max)
    }
}

/// On the command line: `DEATHS/WINDOW/BACKOFF`, or `off`.
impl FromStr for PoisonRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::default());
        }
        let wrong = || format!("`{text}` is not DEATHS/WINDOW/BACKOFF, for example 5/10m/1m");
        let parts: Vec<_> = text.split('/').collect();
        let [deaths, window, back_off] = parts[..] else { return Err(wrong()) };
        Ok(Self {
            deaths: deaths.parse().map_err(|_| wrong())?,
            window: duration(window)?,
            back_off: duration(back_off)?,
        })
    }
}

/// What is logged: a level, or `tracing` directives such as `warn,mpserverd::core=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// The plain levels, quietest first.
    pub const WORDS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// What a private daemon logs: the terminal belongs to its command.
    pub fn quiet() -> Self {
        Self("warn".to_owned())
    }

    /// The directives, known to parse.
    pub fn directives(&self) -> &str {
        &self.0
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = Self::WORDS.join(", ");
        if text.trim().is_empty() {
            return Err(format!("is empty; give one of {words}, or directives"));
        }
        // The parser of tracing-subscriber 0.3.23 panics on some characters of several bytes.
        if !text.is_ascii() {
            return Err(format!("`{text}` has characters beyond ASCII; give one of {words}"));
        }
        for part in text.split(',').map(str::trim) {
            // Without this, tracing would take a misspelt level for the name of a module.
            let plain = !part.contains(['=', '[']) && !part.contains("::");
            if plain && !Self::WORDS.contains(&part) {
                return Err(format!(
                    "`{part}` is none of {words}, and not a directive like mpserverd::core=debug"
                ));
            }
        }
        tracing_subscriber::EnvFilter::builder()
            .parse(text)
            .map_err(|error| format!("`{text}` is not a level or directive: {error}"))?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a duration such as `500ms`, `2s` or `1m 30s`.
///
/// # Errors
///
/// Says how a duration is written.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err(format!("`{text}` is not a duration like 500ms, 2s or 1m 30s: it is negative"));
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration like 500ms, 2s or 1m 30s: {error}"))
}

/// Reads an address with its port, such as `127.0.0.1:9273` or `[::1]:9273`.
///
/// # Errors
///
/// Says how an address is written.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an IP address with a port, like 127.0.0.1:9273 or [::1]:9273")
    })
}

/// Writes a duration as [`duration`] reads it.
pub fn spell(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, milliseconds) in
            [("500ms", 500), ("2s", 2000), ("1m", 60_000), ("1m 30s", 90_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "-1s", "1 parsec", "9999999999999999999999s", "1.s"] {
            let reason = duration(text).expect_err(text);
            assert!(reason.contains("500ms, 2s"), "{reason}");
        }
    }

    #[test]
    fn spares() {
        assert_eq!("2..32".parse(), Ok(Spares { min: 2, max: 32 }));
        assert_eq!("4".parse(), Ok(Spares { min: 4, max: 4 }));
        for text in ["", "..", "2..", "..3", "+1..2", "1..2..3", "5..2", "1..99999999999", "a..b"] {
            assert!(text.parse::<Spares>().is_err(), "{text}");
        }
    }

    #[test]
    fn levels_and_directives() {
        for text in ["off", "trace", "warn,mpserverd::core=debug", "mpserverd=info", "a::b"] {
            assert!(text.parse::<LogLevel>().is_ok(), "{text}");
        }
        for text in ["", "inof", "info,verbose", "mpserverd=loud", "a=[b", "\ta¡="] {
            assert!(text.parse::<LogLevel>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn spelling_is_read_back(ms in 0u64..10_000_000_000, min in 0u32..99, more in 0u32..99) {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(duration(&spell(time)), Ok(time));
            let spares = Spares { min, max: min + more };
            prop_assert_eq!(spares.to_string().parse(), Ok(spares));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = duration(&text);
            let _ = text.parse::<Spares>();
            let _ = text.parse::<LogLevel>();
        }
    }
}
