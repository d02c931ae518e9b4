//! Programs under test, run with nobody's daemon but the one that the test names; and copies of
//! programs, made so that they can be executed at once.

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

/// Copies a program, with its mode. Another program does that: what this process has open for
/// writing a fork of another test may have open too, and nobody can execute it meanwhile.
///
/// # Panics
/// When it cannot be copied.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let (from, to) = (from.as_ref(), to.as_ref());
    let output = shell("exec cp -p \"$1\" \"$2\"").arg(from).arg(to).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "cannot copy {}: {said}", from.display());
}

/// Writes a script with this mode, in the same way.
///
/// # Panics
/// When it cannot be written.
pub fn script(path: impl AsRef<Path>, text: &str, mode: u32) {
    let path = path.as_ref();
    let line = "printf %s \"$2\" >\"$1\" && exec chmod \"$3\" \"$1\"";
    let status = shell(line).arg(path).args([text, &format!("{mode:o}")]).status().unwrap();
    assert!(status.success(), "cannot write {}", path.display());
}

#[allow(clippy::disallowed_methods, reason = "what is written by others is not open here")]
fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line, "sh"]).stdin(Stdio::null());
    command
}
