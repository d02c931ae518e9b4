//! What the commands of `mpctl` do where there is no daemon (yet): they say so.

use crate::cli::mpctl::{Command, Mpctl};
use crate::cli::{EXIT_SYSTEM, pages};
use std::io::Write;
use std::process::ExitCode;

/// Does what needs no daemon, and says of all else that it cannot be done here.
pub fn main(parsed: Mpctl) -> ExitCode {
    match parsed.command {
        Command::Completions { shell } => pages::print_completions::<Mpctl>(shell),
        Command::Man { out } => pages::print_man::<Mpctl>(out.as_deref()),
        _ => {
            let what = "mpctl: this platform is not supported: there is no mpserverd to talk to";
            // Without a standard error the exit code must do.
            let _ = writeln!(std::io::stderr(), "{what}");
            ExitCode::from(EXIT_SYSTEM)
        }
    }
}
