//! Grammars and themes, and what they make of a text.
//!
//! Nothing here starts a thread or keeps a descriptor: the grammars are part of this object.

use crate::snippets::SNIPPETS;
use crate::source::SourceError;
use std::path::Path;
use std::sync::OnceLock;
use syntect::highlighting::{Theme, ThemeSet};
use syntect::html::highlighted_html_for_string;
use syntect::parsing::{SyntaxReference, SyntaxSet};

/// The theme of all pages.
const THEME: &str = "InspiredGitHub";

struct Engine {
    syntaxes: SyntaxSet,
    theme: Theme,
}

static ENGINE: OnceLock<Engine> = OnceLock::new();

/// The engine; a process that never ran [`load`] loads it at the first use.
fn engine() -> &'static Engine {
    ENGINE.get_or_init(|| Engine {
        syntaxes: SyntaxSet::load_defaults_newlines(),
        theme: ThemeSet::load_defaults().themes.remove(THEME).unwrap_or_default(),
    })
}

/// Loads grammars and themes: the `init` hook.
///
/// # Errors
/// When the theme is not among those that the highlighter brings along.
pub fn load() -> Result<(), String> {
    match engine().theme.name {
        Some(_) => Ok(()),
        None => Err(format!("no theme named {THEME}")),
    }
}

/// Highlights a snippet of each language, so that its regular expressions are compiled: the `warm`
/// hook.
///
/// # Errors
/// When a language is unknown or its grammar is broken.
pub fn warm() -> Result<(), String> {
    for (extension, text) in SNIPPETS {
        let name = format!("snippet.{extension}");
        if engine().syntaxes.find_syntax_by_extension(extension).is_none() {
            return Err(format!("no grammar for {extension}"));
        }
        page(Path::new(&name), text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn syntax(path: &Path, first_line: &str) -> &'static SyntaxReference {
    let syntaxes = &engine().syntaxes;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    // Some grammars are bound to whole names: Makefile, Rakefile.
    syntaxes
        .find_syntax_by_extension(&name)
        .or_else(|| syntaxes.find_syntax_by_extension(&extension))
        .or_else(|| syntaxes.find_syntax_by_first_line(first_line))
        .unwrap_or_else(|| syntaxes.find_syntax_plain_text())
}

/// The language of a file.
pub(crate) fn language(path: &Path, first_line: &str) -> &'static str {
    &syntax(path, first_line).name
}

/// All languages but those that exist only inside of others.
pub(crate) fn languages() -> Vec<String> {
    let shown = engine().syntaxes.syntaxes().iter().filter(|syntax| !syntax.hidden);
    let mut names = shown.map(|syntax| syntax.name.clone()).collect::<Vec<_>>();
    names.sort_unstable();
    names
}

/// Renders a text as a whole page; gives the language too.
pub(crate) fn page(path: &Path, text: &str) -> Result<(&'static str, String), SourceError> {
    let syntax = syntax(path, text.lines().next().unwrap_or_default());
    let Engine { syntaxes, theme } = engine();
    let code = highlighted_html_for_string(text, syntaxes, syntax, theme).map_err(|error| {
        SourceError::Grammar { path: path.to_owned(), reason: error.to_string() }
    })?;
    let title = escape(&path.file_name().unwrap_or_default().to_string_lossy());
    let html = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n{code}</body></html>\n"
    );
    Ok((&syntax.name, html))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
