//! Programs under test, run with nobody's daemon but the one that the test names.

use std::path::Path;
use std::process::{Command, Stdio};

/// A command for a program that finds no daemon of the user's: its runtime directory is this one.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "tests start the programs under test")]
pub fn command(program: impl AsRef<Path>, directory: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .env("XDG_RUNTIME_DIR", directory)
        .env("MPSERVERD_SOCKET", directory.join("mpserverd.sock"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end and gives its standard output.
///
/// # Panics
/// With its standard error when it fails.
#[must_use]
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    text(&output.stdout)
}
