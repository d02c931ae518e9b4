//! The command lines of both programs: one definition each, for parsing, completions and man pages.
//!
//! | file | holds |
//! |---|---|
//! | [`mpserverd`] | the daemon's command line |
//! | [`options`] | its options, and how they lie over the configuration file |
//! | [`mpctl`] | the command line of `mpctl` |
//! | `mpctl_texts` | the examples in its help |
//! | [`parsers`] | parsers of values with their words |
//! | [`pages`] | completions and man pages |
//!
//! Definitions only: nothing here does what a command line asks for.

pub mod mpctl;
mod mpctl_texts;
pub mod mpserverd;
pub mod options;
pub mod pages;
pub mod parsers;

use std::process::ExitCode;

/// Exit code for wrong usage or configuration: trying again will not help.
pub const EXIT_USAGE: u8 = 100;

/// Exit code for a refusal of the system: trying again may help.
pub const EXIT_SYSTEM: u8 = 111;

/// Parses the command line of this process, and prints help, version or what is wrong with it.
///
/// # Errors
///
/// The exit code, if there is nothing left to do: 0 for help and version, else [`EXIT_USAGE`].
pub fn parse<T: clap::Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        // Whoever closed our output does not want to know.
        let _ = error.print();
        ExitCode::from(exit_code(&error))
    })
}

fn exit_code(error: &clap::Error) -> u8 {
    if parsers::is_failure(error) { EXIT_USAGE } else { 0 }
}

/// The command lines in a help text: lines that begin with a program, a pipe in front cut off.
#[cfg(test)]
fn examples(text: &str) -> Vec<String> {
    let examples = text.split("\n\n").next().unwrap_or_default();
    let commands = examples.lines().filter_map(|line| line.strip_prefix("  "));
    commands
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.rsplit(" | ").next().unwrap_or(line).replace(['\'', '"'], ""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn only_help_and_version_are_no_failure() {
        for (line, code) in [
            ("mpctl --help", 0),
            ("mpctl --version", 0),
            ("mpctl map --help", 0),
            ("mpctl", EXIT_USAGE),
            ("mpctl --nonsense", EXIT_USAGE),
        ] {
            let error = mpctl::Mpctl::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(exit_code(&error), code, "{line}");
        }
    }
}
