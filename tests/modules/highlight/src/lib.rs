//! Syntax highlighting as a module: seconds to warm, milliseconds to use.
//!
//! Loading the grammars is quick, but each compiles its regular expressions when a text first
//! needs them, and a program that highlights one file pays for that every time. Here the template
//! pays once: [`load`] reads grammars and themes, [`warm`] highlights a snippet of each language,
//! and every worker is born with the compiled state.
//!
//! | file | holds |
//! |---|---|
//! | this | hooks and tasks |
//! | `engine` | grammars and themes, and what they make of a text |
//! | `source` | reading a file that may be anything |
//! | `snippets` | a few lines of many languages |
//!
//! # Where `module!` stands
//!
//! `module!` exports the symbol `mp_module_v1`, once a shared object. This package is built both
//! as a shared object and as a library, which is fine as long as no program links a second such
//! library: the two symbols would clash, and both libraries' hooks would run in each worker of
//! that program. Tasks that programs shall share belong into a plain library, and `module!` into
//! a thin `cdylib` beside it.

mod engine;
mod snippets;
mod source;

pub use engine::{load, warm};
pub use source::{BYTES_MAX, SourceError};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

mp::module! {
    name: "highlight",
    init: load,
    warm: warm,
}

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The file, as it was asked for.
    pub path: PathBuf,
    /// The language it was taken for.
    pub language: String,
    /// Its lines.
    pub lines: u64,
    /// Length of the HTML page.
    pub html_bytes: u64,
    /// The page itself, unless it was written to a file.
    pub html: Option<String>,
    /// Where the page was written, if it was.
    pub written: Option<PathBuf>,
    /// `CLOCK_MONOTONIC` at the task's first instruction, in nanoseconds.
    pub begun_ns: u64,
}

/// Renders a source file as an HTML page, which comes back with the result.
///
/// # Errors
/// [`SourceError`]: not a text file, too large, not readable.
#[mp::task]
pub fn render(path: PathBuf) -> Result<Rendered, mp::TaskError> {
    let begun_ns = monotonic_ns();
    Ok(page(&path, begun_ns)?)
}

/// Renders a source file into `out_dir`, as `NAME.html`, and tells what it was.
///
/// The directory is made if there is none.
///
/// # Errors
/// [`SourceError`], or what the system says about writing.
#[mp::task]
pub fn render_to(path: PathBuf, out_dir: PathBuf) -> Result<Rendered, mp::TaskError> {
    let begun_ns = monotonic_ns();
    let mut rendered = page(&path, begun_ns)?;
    let mut name = path.file_name().unwrap_or("unnamed".as_ref()).to_owned();
    name.push(".html");
    let target = out_dir.join(name);
    let written = std::fs::create_dir_all(&out_dir)
        .and_then(|()| std::fs::write(&target, rendered.html.take().unwrap_or_default()));
    written.map_err(|error| SourceError::Io { path: target.clone(), error })?;
    rendered.written = Some(target);
    Ok(rendered)
}

/// Names of the languages it knows.
#[mp::task]
pub fn languages() -> Vec<String> {
    engine::languages()
}

/// The language of a file, by its name or its first line; `Plain Text` if neither tells.
#[mp::task]
pub fn detect(path: &Path) -> String {
    let head = source::first_line(path).unwrap_or_default();
    engine::language(path, &head).to_owned()
}

fn page(path: &Path, begun_ns: u64) -> Result<Rendered, SourceError> {
    let text = source::read(path)?;
    let (language, html) = engine::page(path, &text)?;
    Ok(Rendered {
        path: path.to_owned(),
        language: language.to_owned(),
        lines: text.lines().count() as u64,
        html_bytes: html.len() as u64,
        html: Some(html),
        written: None,
        begun_ns,
    })
}

/// `CLOCK_MONOTONIC`, which all processes of a machine share.
#[cfg(target_os = "linux")]
fn monotonic_ns() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    now.map_or(0, |now| now.as_nanos() as u64)
}

/// No such clock that processes could share.
#[cfg(not(target_os = "linux"))]
fn monotonic_ns() -> u64 {
    0
}

#[cfg(test)]
mod tests;
