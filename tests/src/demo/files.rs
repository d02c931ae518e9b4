//! Which files there are, and the page that lists the results.

use super::{Job, Run};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Extensions of the files that are taken out of a directory.
const EXTENSIONS: [&str; 12] =
    ["c", "h", "json", "md", "py", "rs", "service", "sh", "socket", "toml", "yaml", "yml"];

/// All source files below a directory, in order. Hidden ones and build results are left out.
///
/// # Errors
/// When a directory cannot be read.
pub fn below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden || entry.file_name() == "target" {
            continue;
        }
        if kind.is_dir() {
            files.extend(below(&path)?);
        } else if kind.is_file() && path.extension().and_then(OsStr::to_str).is_some_and(known) {
            files.push(path);
        }
    }
    Ok(files)
}

fn known(extension: &str) -> bool {
    EXTENSIONS.contains(&extension)
}

/// The jobs for these files: the pages lie below `out` as the files lie below `base`.
///
/// # Errors
/// When a relative path has no meaning because there is no current directory.
pub fn jobs(files: &[PathBuf], base: &Path, out: &Path) -> io::Result<Vec<Job>> {
    files
        .iter()
        .map(|file| {
            let source = std::path::absolute(file)?;
            // A file that lies elsewhere keeps its whole path, without the root.
            let plain = |part: &Component<'_>| matches!(part, Component::Normal(_));
            let shown = match source.strip_prefix(base) {
                Ok(relative) => relative.to_owned(),
                Err(_) => source.components().filter(plain).collect(),
            };
            let out_dir = out.join(shown.parent().unwrap_or(Path::new("")));
            Ok(Job { source, out_dir, shown })
        })
        .collect()
}

/// Writes `index.html`, which lists all pages of a run.
///
/// # Errors
/// When the system refuses.
pub fn write_index(out: &Path, run: &Run) -> io::Result<PathBuf> {
    let mut rows = String::new();
    for outcome in &run.outcomes {
        let name = escape(&outcome.job.shown.to_string_lossy());
        rows += &match &outcome.result {
            Ok(rendered) => {
                let link = rendered.written.strip_prefix(out).unwrap_or(&rendered.written);
                let link = escape(&percent(&link.to_string_lossy()));
                let (language, lines) = (escape(&rendered.language), rendered.lines);
                format!("<tr><td><a href=\"{link}\">{name}</a><td>{language}<td class=n>{lines}\n")
            }
            Err(reason) => format!("<tr><td>{name}<td colspan=2>{}\n", escape(reason)),
        };
    }
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Rendered by warm workers</title>\n<style>body {{ font-family: sans-serif }} \
         td {{ padding-right: 2em }} .n {{ text-align: right }}</style></head>\n<body>\
         <h1>{} files</h1>\n<table>\n{rows}</table></body></html>\n",
        run.outcomes.len()
    );
    std::fs::create_dir_all(out)?;
    let index = out.join("index.html");
    std::fs::write(&index, page)?;
    Ok(index)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// A path as part of a link.
fn percent(path: &str) -> String {
    path.replace('%', "%25").replace('#', "%23").replace('?', "%3F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lie_as_their_files_do() {
        let files = ["/base/src/a.rs", "/elsewhere/b.rs"].map(PathBuf::from);
        let jobs = jobs(&files, Path::new("/base"), Path::new("/out")).unwrap();
        assert_eq!(jobs[0].out_dir, Path::new("/out/src"));
        assert_eq!(jobs[1].out_dir, Path::new("/out/elsewhere"));
    }

    #[test]
    fn only_sources_are_taken() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["b.rs", "a.c", "x.bin", ".hidden.rs", "target/c.rs", "sub/d.md"] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = below(directory.path()).unwrap();
        let names = found.iter().map(|path| path.strip_prefix(directory.path()).unwrap());
        let names = names.map(|path| path.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(names, ["a.c", "b.rs", "sub/d.md"]);
    }
}
