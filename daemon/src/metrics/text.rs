//! Writes the format: families, samples, labels, numbers.

use crate::core::measures::Histogram;
use std::fmt::Write as _;
use std::time::Duration;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its samples end in `_total`.
    Counter,
    /// It is what it is.
    Gauge,
    /// How often something took how long.
    Histogram,
    /// Words that do not change; its samples end in `_info`.
    Info,
}

/// A number as the format writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// Seconds.
    Seconds(Duration),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Self::Whole(yes.into())
    }
}

impl From<Duration> for Number {
    fn from(time: Duration) -> Self {
        Self::Seconds(time)
    }
}

/// Labels of a sample.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text so far.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
    name: &'static str,
    suffix: &'static str,
}

impl Text {
    /// Begins a family. A unit is the last part of its name.
    pub fn family(&mut self, name: &'static str, kind: Kind, unit: &str, help: &str) {
        let (word, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
            Kind::Info => ("info", "_info"),
        };
        (self.name, self.suffix) = (name, suffix);
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# TYPE {name} {word}");
        if !unit.is_empty() {
            debug_assert!(name.ends_with(&format!("_{unit}")), "{name} is not in {unit}");
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {}", Escaped(help));
    }

    /// Adds a sample to the family.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Into<Number>) {
        self.line(self.suffix, labels, None, value.into());
    }

    /// Adds all samples of a histogram.
    pub fn histogram(&mut self, histogram: &Histogram) {
        for (bound, count) in histogram.cumulated() {
            self.line("_bucket", &[], Some(&seconds_of_micros(bound)), count.into());
        }
        self.line("_bucket", &[], Some("+Inf"), histogram.count().into());
        self.line("_count", &[], None, histogram.count().into());
        self.line("_sum", &[], None, histogram.sum().into());
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: Number) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let bound = bound.map(|bound| ("le", bound));
        for (index, (name, value)) in labels.iter().copied().chain(bound).enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{}\"", Escaped(value));
        }
        if bound.is_some() || !labels.is_empty() {
            self.text.push('}');
        }
        let _ = match value {
            Number::Whole(number) => writeln!(self.text, " {number}"),
            Number::Seconds(time) => {
                writeln!(self.text, " {}.{:09}", time.as_secs(), time.subsec_nanos())
            }
        };
    }

    /// The whole text, with its end.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

/// A text in which nothing ends a value or a line before its time.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                // Allowed, but readers that split lines elsewhere would stumble.
                other if other.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A bound in seconds, in the one spelling that the format calls canonical: that of Go.
fn seconds_of_micros(micros: u64) -> String {
    match micros {
        0 => "0.0".to_owned(),
        1..10 => format!("{micros}e-06"),
        10..100 if micros.is_multiple_of(10) => format!("{}e-05", micros / 10),
        10..100 => format!("{}.{}e-05", micros / 10, micros % 10),
        _ => format!("{:?}", Duration::from_micros(micros).as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_canonical() {
        for (micros, text) in [
            (0, "0.0"),
            (7, "7e-06"),
            (10, "1e-05"),
            (25, "2.5e-05"),
            (100, "0.0001"),
            (2_500, "0.0025"),
            (1_000_000, "1.0"),
            (120_000_000, "120.0"),
        ] {
            assert_eq!(seconds_of_micros(micros), text);
            let float: f64 = text.parse().unwrap();
            assert!((float * 1e6 - micros as f64).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.family("m", Kind::Counter, "", "says \"a\\b\"\nand more");
        text.sample(&[("a", "x\"\\\n\r\u{0}ä"), ("b", "")], 5);
        text.sample(&[], 6);
        let want = "# TYPE m counter\n\
                    # HELP m says \\\"a\\\\b\\\"\\nand more\n\
                    m_total{a=\"x\\\"\\\\\\n\u{fffd}\u{fffd}ä\",b=\"\"} 5\n\
                    m_total 6\n\
                    # EOF\n";
        assert_eq!(text.finish(), want);
    }

    proptest::proptest! {
        #[test]
        fn no_label_breaks_its_line(value: String) {
            let mut text = Text::default();
            text.family("m", Kind::Gauge, "", "");
            text.sample(&[("a", &value)], true);
            proptest::prop_assert_eq!(text.finish().lines().count(), 4);
        }
    }
}
