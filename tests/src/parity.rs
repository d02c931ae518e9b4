//! The same scenario under CPython, as an oracle.
//!
//! A script prints a line `NAME: OUTCOME` for each thing that it tries; the test tries the same
//! here. Outcomes must be equal, but for differences on purpose, which are listed with their
//! reason. A listed difference that is none any more fails too.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An outcome that is not that of CPython, on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// What is tried.
    pub name: &'static str,
    /// What CPython does.
    pub theirs: &'static str,
    /// What happens here.
    pub ours: &'static str,
    /// What is better about it, with the issue of CPython that it cures, where there is one.
    pub why: &'static str,
}

/// One scenario at a time in a process. A child that another test has forked and that has not
/// executed yet holds a copy of every descriptor: an end that was closed is not closed for so long,
/// and whoever looks just then sees another outcome.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The newest interpreter from 3.12 on that works here, or any `python3`; prints why there is none.
#[must_use]
pub fn python() -> Option<&'static str> {
    let works = |name: &&str| version(name).is_some();
    let found = ["python3.14", "python3.13", "python3.12", "python3"].into_iter().find(works);
    if found.is_none() {
        crate::skip("there is no python3 here");
    }
    found
}

/// Major and minor version of an interpreter, if it works.
#[must_use]
pub fn version(python: &str) -> Option<(u32, u32)> {
    let script = "import sys; print(*sys.version_info[:2])";
    let output = command(python).args(["-c", script]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[allow(clippy::disallowed_methods, reason = "the oracle is a program of its own")]
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// What a script says, by name; `None` where there is no python3.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn outcomes(script: &Path) -> Option<BTreeMap<String, String>> {
    let output = command(python()?).arg(script).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{}: {}\n{said}", script.display(), output.status);
    let lines = text(&output.stdout);
    let pairs = lines.lines().filter_map(|line| line.split_once(": "));
    Some(pairs.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect())
}

/// Compares what happened here with what the script beside the tests says.
///
/// # Panics
/// When they differ in another way than is listed.
pub fn compare(script: &Path, ours: &[(&str, String)], differences: &[Difference]) {
    let Some(mut theirs) = outcomes(script) else { return };
    for (name, ours) in ours {
        let theirs = theirs.remove(*name);
        let theirs = theirs.unwrap_or_else(|| panic!("{}: no {name}", script.display()));
        match differences.iter().find(|difference| difference.name == *name) {
            Some(known) => {
                assert_eq!(
                    (&*theirs, &**ours),
                    (known.theirs, known.ours),
                    "{name}: {}",
                    known.why
                );
            }
            None => assert_eq!(*ours, theirs, "{name}: ours, then CPython's"),
        }
    }
    assert!(theirs.is_empty(), "not tried here: {theirs:?}");
}
