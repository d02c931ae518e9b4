//! What is wrong with a configuration: every finding says where, which key, and what is allowed.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file, at this line and column (both counted from 1).
    File {
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// This environment variable.
    Environment(&'static str),
    /// The command line.
    CommandLine,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The configuration file, if one was read.
    pub file: Option<PathBuf>,
    /// Where the value came from.
    pub origin: Origin,
    /// The key, as the file spells it; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what is allowed.
    pub reason: String,
}

/// How a key is spelt on the command line.
pub fn option_name(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.origin, &self.file) {
            (Origin::CommandLine, _) => write!(f, "{}: ", option_name(&self.key))?,
            (Origin::Environment(name), _) => write!(f, "{name}: ")?,
            (Origin::File { line, column }, Some(file)) => {
                write!(f, "{}:{line}:{column}: ", file.display())?;
                if !self.key.is_empty() {
                    write!(f, "`{}`: ", printable(&self.key))?;
                }
            }
            (Origin::Default, Some(file)) if self.key.is_empty() => {
                write!(f, "{}: ", file.display())?;
            }
            (Origin::Default | Origin::File { .. }, _) => write!(f, "`{}`: ", self.key)?,
        }
        f.write_str(&printable(&self.reason))
    }
}

/// A text of the file that cannot hurt a terminal or end a line of a log.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// Line and column, both from 1, of a byte of a text.
pub fn locate(text: &str, offset: usize) -> Origin {
    let bytes = &text.as_bytes()[..offset.min(text.len())];
    let line_start = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + String::from_utf8_lossy(&bytes[line_start..]).chars().count();
    Origin::File { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_and_in_characters() {
        let text = "a = 1\nä = 2\n";
        assert_eq!(locate(text, 0), Origin::File { line: 1, column: 1 });
        assert_eq!(locate(text, 6), Origin::File { line: 2, column: 1 });
        assert_eq!(locate(text, 9), Origin::File { line: 2, column: 3 });
        assert_eq!(locate(text, 999), Origin::File { line: 3, column: 1 });
        assert_eq!(locate("", 3), Origin::File { line: 1, column: 1 });
    }
}
