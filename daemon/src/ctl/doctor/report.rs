//! How findings look: a table of all, then those that are not well in sentences.

use super::files::Subject;
use super::finding::{Finding, State};
use crate::ctl::screen::Screen;
use crate::ctl::table::{Column, Mood, plain, render, words};
use crate::ctl::units;
use serde_json::{Value, json};
use std::fmt::Write;

const COLUMNS: [Column; 3] = [words("STATE", 0), words("WHAT", 0), words("FOUND", 0)];
/// Version of the document: it grows only when a name or a meaning changes.
const SCHEMA: u32 = 1;

/// The document for programs.
pub(super) fn document(subject: Subject, usable: bool, findings: &[Finding]) -> Value {
    json!({
        "schema": SCHEMA,
        "usable": usable,
        "mpctl": env!("CARGO_PKG_VERSION"),
        "subject": { "pid": subject.pid, "uid": subject.uid, "daemon": subject.is_daemon },
        "findings": findings,
    })
}

/// The text for people.
pub(super) fn text(screen: &Screen, subject: Subject, findings: &[Finding]) -> String {
    let headline = format!("Limits are those of {}.", subject.name());
    let mut text = screen.cut(&headline) + "\n\n";
    let rows = findings.iter().map(|finding| {
        let (word, mood) = word(finding.state);
        vec![(word.to_owned(), mood), plain(finding.title), plain(&finding.found)]
    });
    text += &render(screen, &COLUMNS, rows.collect());
    for bad in [State::Fail, State::Warn, State::Note] {
        for finding in findings.iter().filter(|finding| finding.state == bad) {
            let (word, _) = word(bad);
            let Finding { title, found, cost, remedy, .. } = finding;
            text.push('\n');
            text += &screen.wrap(&format!("{word}: "), &format!("{title}: {found}"));
            text += &screen.wrap("  cost: ", cost);
            text += &screen.wrap("  do:   ", remedy);
        }
    }
    let _ = writeln!(text, "\n{}", screen.cut(&verdict(findings)));
    text
}

fn word(state: State) -> (&'static str, Mood) {
    match state {
        State::Ok => ("ok", Mood::Good),
        State::Note => ("note", Mood::Plain),
        State::Warn => ("warn", Mood::Passing),
        State::Fail => ("fail", Mood::Bad),
    }
}

fn verdict(findings: &[Finding]) -> String {
    let count = |state| findings.iter().filter(|finding| finding.state == state).count() as u64;
    let counts = [
        units::count(count(State::Fail), "failure"),
        units::count(count(State::Warn), "warning"),
        units::count(count(State::Note), "note"),
    ];
    let usable = count(State::Fail) == 0;
    let verdict = if usable { "usable" } else { "something needed is missing" };
    format!("{}: {verdict}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Thing;
    use super::*;
    use unicode_width::UnicodeWidthStr;

    const SUBJECT: Subject = Subject { pid: 7, uid: 0, is_daemon: true };

    fn findings() -> Vec<Finding> {
        vec![
            Thing("a.one", "one thing").ok("6.18"),
            Thing("a.two", "two").warn("never", &"it takes long ".repeat(20), "echo 1 > /x"),
            Thing("b.three", "three").fail("no \x1b[31m", "nothing works", "start it"),
        ]
    }

    #[test]
    fn it_reads_from_bad_to_better() {
        let screen = Screen { width: Some(80), colours: false, json: false };
        let text = text(&screen, SUBJECT, &findings());
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
        assert!(at("the daemon (pid 7)") < at("ok     one thing  6.18"));
        assert!(at("fail: three") < at("warn: two: never"));
        assert!(at("  do:   start it") < at("  cost: it takes long"));
        assert!(text.ends_with("1 failure, 1 warning, 0 notes: something needed is missing\n"));
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn it_fits() {
        for width in [30, 80, 120] {
            let screen = Screen { width: Some(width), colours: false, json: false };
            let text = text(&screen, SUBJECT, &findings());
            let widest = text.lines().map(UnicodeWidthStr::width).max();
            assert!(widest <= Some(usize::from(width)), "{width}:\n{text}");
        }
    }

    #[test]
    fn json_has_stable_names() {
        let document = document(SUBJECT, false, &findings());
        assert_eq!(document["schema"], 1);
        assert_eq!(document["usable"], false);
        assert_eq!(document["subject"]["daemon"], true);
        let found = &document["findings"][1];
        assert_eq!((&found["id"], &found["state"]), (&"a.two".into(), &"warn".into()));
        for name in ["title", "found", "cost", "remedy"] {
            assert!(found[name].is_string(), "{found}");
        }
    }
}
