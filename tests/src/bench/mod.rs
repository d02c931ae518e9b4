//! What the benchmarks share.
//!
//! | file | holds |
//! |---|---|
//! | [`options`] | the command line of those that measure in rounds |
//! | [`driver`] | a program that is measured, and obeys one line after the other |
//! | [`measure`] | rounds, in which all who do an operation take turns |
//! | [`report`] | tables, ratios, goals |
//! | [`machine`] | what is printed about the machine and its processes |
//! | [`raw`] | the primitives of the system, without anything of ours |
//!
//! Nothing here knows what is measured, and nothing asserts a time.

pub mod driver;
pub mod machine;
pub mod measure;
pub mod options;
pub mod raw;
pub mod report;

use nix::time::{ClockId, clock_gettime};
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

/// How long anybody may take for an answer that takes milliseconds: a sign that it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the same in all processes.
#[must_use]
pub fn now() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds that this thread has run.
#[must_use]
pub fn worked() -> u64 {
    nanos(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// For `map_err`.
pub fn text(error: impl Display) -> String {
    error.to_string()
}

/// The rest of a benchmark's `main`: does what the command line says, or says what is wrong with
/// it. `None` is a wish for the text about the options.
pub fn main<C>(
    command: Result<Option<C>, String>,
    usage: &str,
    run: impl FnOnce(C) -> Result<(), String>,
) -> ExitCode {
    let done = match command {
        Ok(None) => {
            println!("{usage}");
            Ok(())
        }
        Ok(Some(command)) => run(command),
        Err(error) => {
            eprintln!("error: {error}\n\n{usage}");
            return ExitCode::from(100);
        }
    };
    done.map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::from(111)
        },
        |()| ExitCode::SUCCESS,
    )
}
