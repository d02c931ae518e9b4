//! Completions and man pages, out of the same definitions that parse.

use super::EXIT_SYSTEM;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// The completion script of a program for a shell.
pub fn completions<T: CommandFactory>(shell: Shell) -> Vec<u8> {
    let mut command = T::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// The man page of a program.
///
/// # Errors
///
/// Only if memory cannot be written to.
pub fn man<T: CommandFactory>() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(manual(T::command())).render(&mut page)?;
    Ok(page)
}

/// Writes one man page for the program and one for each of its commands; makes the folder.
///
/// # Errors
///
/// What the system said about the folder or a file.
pub fn man_pages<T: CommandFactory>(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(manual(T::command()), folder)
}

/// `help` needs no page of its own.
fn manual(command: Command) -> Command {
    command.disable_help_subcommand(true)
}

/// Prints completions.
pub fn print_completions<T: CommandFactory>(shell: Shell) -> ExitCode {
    print(&completions::<T>(shell))
}

/// Prints the man page, or writes all of them into a folder.
pub fn print_man<T: CommandFactory>(folder: Option<&Path>) -> ExitCode {
    let Some(folder) = folder else {
        return man::<T>()
            .map_or_else(|error| refused("cannot render", &error), |page| print(&page));
    };
    match man_pages::<T>(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refused(&format!("cannot write to {}", folder.display()), &error),
    }
}

/// Writes to standard output; that nobody reads it to the end is no failure.
pub fn print(bytes: &[u8]) -> ExitCode {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            refused("cannot write to standard output", &error)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn refused(what: &str, error: &io::Error) -> ExitCode {
    // If standard error is closed as well, the exit code must do.
    let _ = writeln!(io::stderr(), "error: {what}: {error}");
    ExitCode::from(EXIT_SYSTEM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{mpctl::Mpctl, mpserverd::Mpserverd};

    #[test]
    fn completions_know_commands_and_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = String::from_utf8(completions::<Mpctl>(shell)).expect("text");
            for word in ["map", "unordered", "wait"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            let script = String::from_utf8(completions::<Mpserverd>(shell)).expect("text");
            for word in ["on-preload-error", "spares", "completions"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn man_pages_render() {
        let page = String::from_utf8(man::<Mpserverd>().expect("page")).expect("text");
        for part in [".TH mpserverd 1", "preload", "MPSERVERD_SOCKET"] {
            assert!(page.contains(part), "{part}");
        }
        let folder = tempfile::tempdir().expect("folder");
        man_pages::<Mpctl>(&folder.path().join("man1")).expect("pages");
        for name in ["mpctl.1", "mpctl-map.1", "mpctl-bench.1"] {
            let page = std::fs::read_to_string(folder.path().join("man1").join(name)).expect(name);
            assert!(page.contains(".TH"), "{name}");
        }
    }
}
