//! What `map` prints: results on standard output, failures and progress on standard error.

use super::super::units;
use super::failure::Failure;
use super::output::Output;
use super::plan::{Done, End, Progress, Sink, Summary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::poll::PollFlags;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Failures that are told as they come; the rest is in the summary.
const TOLD_MAX: u64 = 20;
/// Kinds of failures that the summary tells apart.
const GROUPS_MAX: usize = 10;
/// Inputs that the summary names for each.
const SAMPLES_MAX: usize = 3;
/// Characters of an input in a message.
const INPUT_CHARS_MAX: usize = 60;
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(200);

/// Failures with the same words.
#[derive(Debug)]
struct Group {
    message: String,
    count: u64,
    samples: Vec<String>,
}

/// The sink of `mpctl map`.
#[derive(Debug)]
pub(super) struct Report {
    output: Output,
    json: bool,
    bar: ProgressBar,
    shown_failed: u64,
    ticked: Instant,
    told: u64,
    groups: Vec<Group>,
    others: u64,
}

impl Report {
    /// Shows progress if that is wanted and standard error is a terminal.
    pub(super) fn new(output: Output, json: bool, total: Option<u64>, progress: bool) -> Self {
        let target =
            if progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "[{elapsed}] {wide_bar} {pos}/{len} {per_sec} ETA {eta}{msg}",
            None => "{spinner} [{elapsed}] {pos} done {per_sec}{msg}",
        };
        // Without its style it is still a progress bar.
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            output,
            json,
            bar,
            shown_failed: 0,
            ticked: Instant::now(),
            told: 0,
            groups: Vec::new(),
            others: 0,
        }
    }

    fn tell(&self, text: &str) {
        // Without a standard error the exit code must do.
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "mpctl: {text}");
        });
    }

    fn failed(&mut self, input: &str, failure: &Failure) {
        let input = quote(input);
        self.told += 1;
        match self.told {
            ..=TOLD_MAX if !self.json => self.tell(&format!("{input}: {}", flat(&failure.message))),
            told if told == TOLD_MAX + 1 && !self.json => {
                self.tell("further failures are counted only");
            }
            _ => {}
        }
        let known = self.groups.iter().position(|group| group.message == failure.message);
        match known {
            Some(at) => {
                let group = &mut self.groups[at];
                group.count += 1;
                if group.samples.len() < SAMPLES_MAX {
                    group.samples.push(input);
                }
            }
            None if self.groups.len() < GROUPS_MAX => {
                let (message, samples) = (failure.message.clone(), vec![input]);
                self.groups.push(Group { message, count: 1, samples });
            }
            None => self.others += 1,
        }
    }

    /// Says what was not as it should be; nothing if all was well.
    pub(super) fn conclude(&mut self, summary: &Summary, total: Option<u64>) {
        self.bar.finish_and_clear();
        for line in self.closing(summary, total).lines() {
            self.tell(line);
        }
    }

    fn closing(&mut self, summary: &Summary, total: Option<u64>) -> String {
        let mut text = String::new();
        let Summary { end, done, failed, killed } = summary;
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let done = format!("{done}{of} done, {failed} failed");
        let killed = units::count(*killed as u64, "worker");
        let _ = match end {
            End::Done if *failed == 0 => Ok(()),
            End::Done => writeln!(text, "{done}:"),
            End::Stopped(_) => writeln!(text, "stopped: {done}, {killed} killed"),
            End::Broken(_) => writeln!(text, "broken off: {done}, {killed} killed"),
            End::Unread => return text,
        };
        self.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        for Group { message, count, samples } in &self.groups {
            let more = if *count > samples.len() as u64 { ", …" } else { "" };
            let samples = samples.join(", ");
            let _ = writeln!(text, "  {count} × {} ({samples}{more})", flat(message));
        }
        if self.others > 0 {
            let _ = writeln!(text, "  {} × something else", self.others);
        }
        text
    }
}

/// An input as a message shows it: one line, not too long.
fn quote(input: &str) -> String {
    let mut shown: String = flat(input).chars().take(INPUT_CHARS_MAX).collect();
    if input.chars().nth(INPUT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    if shown.is_empty() { "\"\"".to_owned() } else { shown }
}

fn flat(text: &str) -> String {
    text.replace('\n', " | ").replace(char::is_control, "\u{fffd}")
}

/// What `--json` says about an input.
pub(in super::super) fn record(done: &Done) -> Value {
    let mut record = json!({
        "index": done.item.index,
        "input": done.item.text,
        "ok": done.result.is_ok(),
        "attempts": if done.pid.is_some() { done.item.attempt } else { 0 },
        "ms": done.took.as_micros() as f64 / 1e3,
        "pid": done.pid,
    });
    match &done.result {
        Ok(value) => record["result"] = value.clone(),
        Err(failure) => record["error"] = json!(failure),
    }
    record
}

impl Sink for Report {
    fn done(&mut self, done: Done) {
        if self.json {
            self.output.push(&record(&done).to_string());
        }
        match &done.result {
            Ok(_) if self.json => {}
            Ok(value) => self.output.push(&value.to_string()),
            Err(failure) => self.failed(&done.item.text, failure),
        }
    }

    fn watch(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        Some(self.output.watch())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bar.is_hidden() || self.output.watch().1.is_empty() {
            return self.output.flush();
        }
        let output = &mut self.output;
        self.bar.suspend(|| output.flush())
    }

    fn is_full(&self) -> bool {
        self.output.is_full()
    }

    fn show(&mut self, progress: Progress) -> Option<Duration> {
        if self.bar.is_hidden() {
            return None;
        }
        if progress.failed != self.shown_failed {
            self.shown_failed = progress.failed;
            self.bar.set_message(format!(", {} failed", progress.failed));
        }
        if progress.done != self.bar.position() {
            self.bar.set_position(progress.done);
        }
        // Time passes though nothing happens.
        let left = TICK.saturating_sub(self.ticked.elapsed());
        if left.is_zero() {
            self.ticked = Instant::now();
            self.bar.tick();
            return Some(TICK);
        }
        Some(left)
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
