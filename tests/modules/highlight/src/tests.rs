//! What a file becomes, without any process around it.

use super::*;

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn error(path: PathBuf) -> String {
    render(path).unwrap_err().to_string()
}

#[test]
fn a_rust_file_becomes_spans() {
    let (_directory, path) = file("a.rs", b"fn main() { let x = \"<b>\"; }\n");
    let rendered = render(path).unwrap();
    assert_eq!((rendered.language.as_str(), rendered.lines), ("Rust", 1));
    let html = rendered.html.unwrap();
    assert!(html.contains("<span style="), "{html}");
    assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"), "{html}");
    assert_eq!(rendered.html_bytes, html.len() as u64);
}

#[test]
fn a_page_is_written_where_it_was_asked_for() {
    let (directory, path) = file("a.py", b"print(1)\n");
    let rendered = render_to(path, directory.path().join("x/y")).unwrap();
    assert_eq!(rendered.written, Some(directory.path().join("x/y/a.py.html")));
    assert_eq!(rendered.html, None);
    assert!(std::fs::read_to_string(rendered.written.unwrap()).unwrap().contains("<span"));
}

#[test]
fn what_is_no_text_is_refused() {
    assert!(error("/nonexistent/a.rs".into()).contains("No such file"));
    let (_directory, path) = file("a.rs", b"a\0b");
    assert!(error(path).contains("NUL byte at offset 1"));
    let (_directory, path) = file("a.rs", b"ab\xff");
    assert!(error(path).contains("not UTF-8 (at offset 2)"));
    let (_directory, path) = file("a.rs", &vec![b'a'; BYTES_MAX as usize + 1]);
    assert!(error(path).contains("exceeds the limit"));
    assert!(error("/dev/zero".into()).contains("not a regular file"));
    assert!(error("/".into()).contains("not a regular file"));
}

#[test]
fn languages_are_told_by_name_and_by_first_line() {
    let (_directory, path) = file("script", b"#!/usr/bin/env python\n");
    assert_eq!(detect(&path), "Python");
    assert_eq!(detect(Path::new("Makefile")), "Makefile");
    assert_eq!(detect(Path::new("/nonexistent/a.c")), "C");
    assert_eq!(detect(Path::new("x.unknown")), "Plain Text");
    assert!(languages().iter().any(|name| name == "Rust"));
}

#[test]
fn hooks_succeed() {
    load().unwrap();
    warm().unwrap();
}
