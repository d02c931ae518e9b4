//! The table of names in the documentation has every name that CPython has.

use mpserverd_tests::parity::{alone, outcomes, python, version};
use std::collections::BTreeSet;
use std::path::Path;

/// Names that came with a version, by it.
const NEWER: [(u32, &[&str]); 1] = [(
    14,
    &[
        "Process.interrupt",
        "Lock.locked",
        "RLock.locked",
        "Semaphore.locked",
        "BoundedSemaphore.locked",
        "Condition.locked",
        "AcquirerProxy.locked",
        "ConditionProxy.locked",
        "SyncManager.set",
        "ListProxy.clear",
        "ListProxy.copy",
        "DictProxy.fromkeys",
    ],
)];

/// The names in the first column of a table: code, of which what begins with a dot belongs to the
/// class before it.
fn names_of(row: &str) -> Vec<String> {
    let Some(cell) = row.strip_prefix("| ").and_then(|row| row.split(" | ").next()) else {
        return Vec::new();
    };
    let mut class = "";
    let mut names = Vec::new();
    for name in cell.split('`').skip(1).step_by(2) {
        match name.strip_prefix('.') {
            Some(member) => names.push(format!("{class}.{member}")),
            None => {
                class = name.split_once('.').map_or(name, |(class, _)| class);
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn table() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/src/python.md");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().flat_map(names_of).collect()
}

#[test]
fn rows_are_read_as_they_are_meant() {
    let row = "| `Lock.acquire`, `.release` of `mp`; `Event` | [`mp::Lock`] | `nothing` |";
    assert_eq!(names_of(row), ["Lock.acquire", "Lock.release", "mp", "Event"]);
    assert_eq!(names_of("| Python | here |"), [""; 0]);
    assert_eq!(names_of("`text` | `text`"), [""; 0]);
}

#[test]
fn every_name_is_in_the_table() {
    let _turn = alone();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/names.py");
    let Some(theirs) = outcomes(&script) else { return };
    let table = table();
    let missing = theirs.keys().filter(|name| !table.contains(*name)).collect::<Vec<_>>();
    assert!(missing.is_empty(), "not in client/src/python.md: {missing:?}");

    // Members in the table that there are not: misspelt, or newer than the interpreter.
    let (_, minor) = python().and_then(version).unwrap();
    let newer = NEWER.iter().filter(|(since, _)| *since > minor);
    let newer = newer.flat_map(|(_, names)| names.iter().copied()).collect::<BTreeSet<_>>();
    let is_known = |class: &str| theirs.keys().any(|name| name == class);
    let odd = table.iter().filter(|name| {
        let class = name.split_once('.').map(|(class, _)| class);
        class.is_some_and(is_known) && !theirs.contains_key(*name) && !newer.contains(&***name)
    });
    let odd = odd.collect::<Vec<_>>();
    assert!(odd.is_empty(), "in client/src/python.md only: {odd:?}");
}
