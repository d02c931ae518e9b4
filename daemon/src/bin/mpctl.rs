//! The `main` of `mpctl`.

use mpserverd::cli::mpctl::{Command, Mpctl};
use mpserverd::cli::{self, EXIT_SYSTEM, pages};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // `bench` starts this very program as a worker.
    mp::freeze_support();
    let parsed = match cli::parse::<Mpctl>() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match parsed.command {
        Command::Completions { shell } => pages::print_completions::<Mpctl>(shell),
        Command::Man { out } => pages::print_man::<Mpctl>(out.as_deref()),
        _ => {
            // Without a standard error the exit code must do.
            let _ = writeln!(std::io::stderr(), "error: this build of mpctl cannot connect yet");
            ExitCode::from(EXIT_SYSTEM)
        }
    }
}
