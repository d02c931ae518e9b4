//! What is printed where.

use super::super::failure::Kind;
use super::super::plan::Item;
use super::*;
use std::io::Read;
use std::sync::Arc;

fn done(index: u64, result: Result<Value, Failure>) -> Done {
    let text = format!("input-{index}\n");
    let item = Arc::new(Item { index, text, arguments: Vec::new(), attempt: 2 });
    Done { item, result, took: Duration::from_micros(1500), pid: Some(7) }
}

fn died(message: &str) -> Failure {
    Failure { kind: Kind::Died, message: message.to_owned(), code: 137, temporary: true }
}

fn printed(json: bool, all: Vec<Done>) -> String {
    let (mut reader, writer) = io::pipe().expect("pipe");
    let mut report = Report::new(Output::new(writer.into()), json, None, false);
    for one in all {
        report.done(one);
    }
    report.flush().expect("written");
    assert!(report.watch().is_some_and(|(_, flags)| flags.is_empty()));
    drop(report);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    text
}

#[test]
fn only_results_are_results() {
    let all =
        vec![done(0, Ok(json!({"a": [1]}))), done(1, Err(died("x"))), done(2, Ok(json!("b")))];
    assert_eq!(printed(false, all), "{\"a\":[1]}\n\"b\"\n");
}

#[test]
fn json_has_a_line_for_every_input() {
    let all = vec![done(0, Ok(json!(49))), done(1, Err(died("killed")))];
    let lines: Vec<Value> =
        printed(true, all).lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let first = json!({
        "index": 0, "input": "input-0\n", "ok": true, "result": 49, "attempts": 2, "ms": 1.5,
        "pid": 7,
    });
    assert_eq!(lines[0], first);
    assert_eq!(lines[1]["error"], json!({"kind": "died", "message": "killed"}));
    assert_eq!((lines[1]["ok"].as_bool(), lines.len()), (Some(false), 2));
}

#[test]
fn failures_are_grouped() {
    let null = std::fs::File::options().write(true).open("/dev/null").expect("null");
    let mut report = Report::new(Output::new(null.into()), true, Some(100), false);
    for index in 0..30 {
        report.done(done(index, Err(died(if index % 3 == 0 { "rare" } else { "often" }))));
    }
    for index in 0..20 {
        report.done(done(index, Err(died(&format!("message {index}")))));
    }
    let summary = Summary { end: End::Done, done: 50, failed: 50, killed: 0 };
    let text = report.closing(&summary, Some(100));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "50 of 100 done, 50 failed:");
    assert_eq!(lines[1], "  20 × often (input-1 | , input-2 | , input-4 | , …)");
    assert_eq!(lines[2], "  10 × rare (input-0 | , input-3 | , input-6 | , …)");
    assert_eq!(lines.last(), Some(&"  12 × something else"));
    assert_eq!(lines.len(), 1 + GROUPS_MAX + 1);
}

#[test]
fn nothing_to_say_when_all_is_well() {
    let null = || std::fs::File::options().write(true).open("/dev/null").expect("null");
    let mut report = Report::new(Output::new(null().into()), false, None, false);
    let summary = |end| Summary { end, done: 3, failed: 0, killed: 2 };
    assert_eq!(report.closing(&summary(End::Done), None), "");
    assert_eq!(report.closing(&summary(End::Unread), None), "");
    let text = report.closing(&summary(End::Stopped(2)), None);
    assert_eq!(text, "stopped: 3 done, 0 failed, 2 workers killed\n");
}

#[test]
fn inputs_in_messages_are_short() {
    assert_eq!(quote(""), "\"\"");
    assert_eq!(quote("a\nb\x1b"), "a | b\u{fffd}");
    assert_eq!(quote(&"x".repeat(99)).chars().count(), INPUT_CHARS_MAX + 1);
}
