//! Where output goes: how wide it is, whether it has colours, whether it is for programs.

use super::error::CtlError;
use crate::cli::pages;
use serde::Serialize;
use std::io::IsTerminal;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Standard output, as reports see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Columns; `None` where nobody counts them: a file, a pipe.
    pub(super) width: Option<u16>,
    /// Whether colours are welcome.
    pub(super) colours: bool,
    /// Whether a program reads it.
    pub(super) json: bool,
}

impl Screen {
    /// What standard output is now. `COLUMNS` has the last word about the width.
    pub(super) fn of_stdout(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let measured = || comfy_table::Table::new().width().filter(|_| terminal);
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        // A serial line has no size, and says 0.
        let some = |width: &u16| *width > 0;
        let width = columns.filter(some).or_else(measured).filter(some);
        Self { width, colours: terminal && !plain && !dumb, json }
    }

    /// Prints a report: one JSON document, or the text.
    pub(super) fn show<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<u8, CtlError> {
        let text = if self.json { json(value)? } else { text() };
        // Says itself what goes wrong; nobody reading to the end is no failure.
        match pages::print(text.as_bytes()) {
            code if code == std::process::ExitCode::SUCCESS => Ok(0),
            _ => Ok(crate::cli::EXIT_SYSTEM),
        }
    }

    /// Text after a lead, as lines that fit: the further ones stand below the first.
    pub(super) fn wrap(&self, lead: &str, words: &str) -> String {
        let width = self.width.map_or(usize::MAX, usize::from);
        // A lead as wide as the screen leaves no room to stand below.
        let indent = " ".repeat(lead.width().clamp(2, 8.max(width / 4)));
        let (mut text, mut line, mut empty) = (String::new(), lead.to_owned(), true);
        for word in words.split_whitespace() {
            if !empty && line.width() + 1 + word.width() > width {
                text += &(self.cut(&line) + "\n");
                (line, empty) = (indent.clone(), true);
            }
            if !empty {
                line.push(' ');
            }
            line += word;
            empty = false;
        }
        text + &self.cut(&line) + "\n"
    }

    /// Cuts a line that does not fit, with a sign that something is missing.
    pub(super) fn cut(&self, line: &str) -> String {
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        let Some(width) = self.width.map(usize::from).filter(|width| line.width() > *width) else {
            return line;
        };
        let (mut kept, mut columns) = (String::new(), 0);
        for character in line.chars() {
            columns += character.width().unwrap_or(0);
            if columns + 1 > width {
                break;
            }
            kept.push(character);
        }
        if width > 0 {
            kept.push('…');
        }
        kept
    }
}

/// One JSON document on lines of its own.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, CtlError> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| CtlError::system(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(width: u16) -> Screen {
        Screen { width: Some(width), colours: false, json: false }
    }

    #[test]
    fn lines_are_cut_by_columns() {
        assert_eq!(wide(5).cut("short"), "short");
        assert_eq!(wide(5).cut("longer"), "long…");
        assert_eq!(wide(5).cut("漢字漢字"), "漢字…");
        assert_eq!(wide(9).cut("a\tb\x1b[1m"), "a\u{fffd}b\u{fffd}[1m");
        let nobody_counts = Screen { width: None, ..wide(0) };
        assert_eq!(nobody_counts.cut("longer"), "longer");
    }

    #[test]
    fn text_is_wrapped_below_its_lead() {
        assert_eq!(wide(12).wrap("do: ", "one two three"), "do: one two\n    three\n");
        assert_eq!(wide(9).wrap("", "one two three"), "one two\n  three\n");
        let nobody_counts = Screen { width: None, ..wide(0) };
        assert_eq!(nobody_counts.wrap("do: ", "one  two"), "do: one two\n");
        assert_eq!(wide(5).wrap("", "longer"), "long…\n");
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_wider(line: String, width in 1u16..60) {
            assert!(wide(width).cut(&line).width() <= usize::from(width));
        }
    }
}
