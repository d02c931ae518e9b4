//! What the commands of `mpctl` do, on Linux. Their definitions stand in [`crate::cli::mpctl`].
//!
//! | file | holds |
//! |---|---|
//! | [`error`] | why a command failed, and its exit code |
//! | `connect` | finding the daemon |
//! | `upgrade` | `upgrade` |
//! | `control` | `ping`, `metrics`, `kill`, `reload`, `stop` |
//! | `status`, `ps`, `modules` | the reports |
//! | `explain` | why somebody waits, what he does |
//! | `logs` | the daemon's log |
//! | `top` | the live screen |
//! | `deaths` | why workers ended |
//! | `proc` | what the kernel says about a worker |
//! | `table`, `screen`, `units` | how all that looks |
//! | `arguments` | arguments of tasks out of words |
//! | `locate` | which template has the task |
//! | `run` | `run`: one task |
//! | [`map`] | `map`: a task for every input, and the engine under it |
//! | `bench` | `bench` |
//! | `install` | `install-units` |
//! | `doctor` | `doctor` |
//! | `group` | `release-group`, for units |
//!
//! `schemas.md` tells what `--json` prints; it stands at the end of this page.
//!
//! # Invariants
//!
//! Standard output carries what was asked for and nothing else; all else goes to standard error.
//! Whatever ends a command, no worker that it started outlives it. What must never be in here: a
//! thread for each worker, or a wait that the user cannot interrupt.
#![doc = include_str!("schemas.md")]

mod arguments;
mod bench;
mod connect;
mod control;
mod deaths;
mod doctor;
pub mod error;
mod explain;
mod group;
mod install;
mod locate;
mod logs;
pub mod map;
mod modules;
mod proc;
mod ps;
mod run;
mod screen;
mod status;
mod table;
mod top;
mod units;
mod upgrade;

use crate::cli::mpctl::{Command, Mpctl};
use crate::cli::pages;
use error::CtlError;
use screen::Screen;
use std::io::Write;
use std::process::ExitCode;

/// Does what the command line says; gives the exit code.
pub fn main(parsed: Mpctl) -> ExitCode {
    let screen = Screen::of_stdout(parsed.json);
    let socket = parsed.socket.as_deref();
    let done = match &parsed.command {
        Command::Status => status::main(socket, &screen),
        Command::Ps(options) => ps::main(socket, &screen, options),
        Command::Deaths(options) => deaths::main(socket, &screen, options),
        Command::Modules => modules::main(socket, &screen),
        Command::Run(options) => run::main(socket, &screen, options),
        Command::Map(options) => map::main(socket, &screen, options),
        Command::Metrics => control::metrics(socket, &screen),
        Command::Kill(options) => control::kill(socket, &screen, options),
        Command::Reload => control::reload(socket, &screen),
        Command::Upgrade(options) => upgrade::main(socket, &screen, options),
        Command::Stop(options) => control::stop(socket, &screen, options),
        Command::Ping => control::ping(socket, &screen),
        Command::Top(options) => top::main(socket, &screen, options),
        Command::Explain(options) => explain::main(socket, &screen, options),
        Command::Logs(options) => logs::main(socket, &screen, options),
        Command::Bench(options) => bench::main(socket, &screen, options),
        Command::Doctor(options) => doctor::main(socket, &screen, options),
        Command::ReleaseGroup => group::main(&screen),
        Command::InstallUnits(options) => install::main(&screen, options),
        Command::Completions { shell } => return pages::print_completions::<Mpctl>(*shell),
        Command::Man { out } => return pages::print_man::<Mpctl>(out.as_deref()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error);
            ExitCode::from(error.code)
        }
    }
}

/// One line on standard error.
fn complain(error: &CtlError) {
    // Without a standard error the exit code must do.
    let _ = writeln!(std::io::stderr(), "mpctl: {error}");
}
