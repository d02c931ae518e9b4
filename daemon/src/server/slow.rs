//! What a worker does whose task runs long, as its board and the kernel tell: one record in the log.
//!
//! Everything is read from `/proc`; nobody is stopped or traced. Where the kernel does not show its
//! own stack (that is root's to see), the system call and what it waits in must do.

use super::Server;
use crate::core::Event;
use mpserverd_proto::death::LastWords;
use mpserverd_proto::ids::WorkerId;
use std::fmt::Write;
use std::time::Duration;
use tracing::warn;

/// Threads that a record tells of.
const THREADS_MAX: usize = 16;
/// Bytes of any file that is read for it, and functions of a stack.
const TEXT_BYTES_MAX: usize = 2048;
const FRAMES_MAX: usize = 6;

/// What is known of how long a worker's task has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Slow: it runs that long, or longer.
    Slow(Duration),
    /// Not yet: to be looked at again.
    Not(Duration),
}

/// Judges a worker by its words; `round` is the one that it was in when it was last looked at.
fn pace(
    words: Option<&LastWords>,
    round: Option<u32>,
    now_ms: u64,
    after: Duration,
    leased: Duration,
) -> Pace {
    // Without a board it is only known how long its client has had it.
    let Some(words) = words else { return Pace::Slow(leased) };
    if words.task.is_empty() || words.finished {
        return Pace::Not(after);
    }
    if words.round > 0 {
        // In a pool, where nobody looks at the clock for each task.
        return if round == Some(words.round) { Pace::Slow(after) } else { Pace::Not(after) };
    }
    let runs = Duration::from_millis(now_ms.saturating_sub(words.began_ms)).min(leased);
    if runs >= after { Pace::Slow(runs) } else { Pace::Not(after - runs) }
}

impl Server<'_> {
    /// Looks at a worker whose task may run long.
    pub(super) fn look_at_slow(&mut self, worker: WorkerId, after: Duration, leased: Duration) {
        let Some((pid, words, round)) = self.workers.look(worker) else { return };
        match pace(words.as_ref(), round, super::epoch_ms(), after, leased) {
            Pace::Not(again) => self.events.push_back(Event::NotSlow { worker, again }),
            Pace::Slow(runs) => tell(worker, pid, &words.unwrap_or_default(), runs),
        }
    }
}

fn tell(worker: WorkerId, pid: u32, words: &LastWords, runs: Duration) {
    let LastWords { task, name, .. } = words;
    let trace = words.trace.map(|trace| trace.to_string()).unwrap_or_default();
    let age_ms = runs.as_millis() as u64;
    let threads = threads(pid);
    warn!(%worker, pid, task, name, trace, age_ms, threads, "slow task");
}

/// One line on each thread: name, state, where in the kernel it is.
fn threads(pid: u32) -> String {
    let mut text = String::new();
    let folder = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut ids: Vec<u32> =
        folder.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    for id in ids.iter().take(THREADS_MAX) {
        let look = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/task/{id}/{file}")).unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
            String::from_utf8_lossy(bytes).trim().to_owned()
        };
        let Some((name, state)) = name_and_state(&look("stat")) else { continue };
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{name} {state}");
        let within = look("wchan");
        if !matches!(within.as_str(), "" | "0") {
            let _ = write!(text, " in {within}");
        }
        if let Some(call) = system_call(&look("syscall")) {
            let _ = write!(text, " (system call {call})");
        }
        let frames = frames(&look("stack"));
        if !frames.is_empty() {
            let _ = write!(text, " [{frames}]");
        }
    }
    if ids.len() > THREADS_MAX {
        let _ = write!(text, "; and {} more", ids.len() - THREADS_MAX);
    }
    text
}

/// Out of `/proc/PID/stat`. The name, in parentheses, may hold anything.
fn name_and_state(stat: &str) -> Option<(String, char)> {
    let (begin, rest) = stat.rsplit_once(") ")?;
    let (_, name) = begin.split_once('(')?;
    let name = name.replace(char::is_control, "\u{fffd}");
    Some((name, rest.chars().next()?))
}

/// The number of the system call, out of `/proc/PID/syscall`; a thread that computes is in none.
fn system_call(line: &str) -> Option<u32> {
    line.split(' ').next()?.parse().ok()
}

/// The innermost functions, out of `/proc/PID/stack`: lines like `[<0>] do_nanosleep+0x6d/0x180`.
fn frames(stack: &str) -> String {
    let names = stack.lines().filter_map(|line| line.split_once("] ")?.1.split('+').next());
    names.take(FRAMES_MAX).collect::<Vec<_>>().join(" < ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(5);

    fn words(task: &str, began_ms: u64) -> LastWords {
        LastWords { task: task.into(), began_ms, ..LastWords::default() }
    }

    #[test]
    fn a_task_is_slow_by_its_own_time_not_by_that_of_the_lease() {
        let leased = Duration::from_secs(60);
        let judge = |words: &LastWords, round| pace(Some(words), round, 100_000, AFTER, leased);
        assert_eq!(judge(&words("a", 90_000), None), Pace::Slow(Duration::from_secs(10)));
        assert_eq!(judge(&words("a", 98_000), None), Pace::Not(Duration::from_secs(3)));
        assert_eq!(judge(&words("", 0), None), Pace::Not(AFTER), "no job yet");
        let over = LastWords { finished: true, ..words("a", 1) };
        assert_eq!(judge(&over, None), Pace::Not(AFTER));
        assert_eq!(judge(&words("a", 1), None), Pace::Slow(leased), "a clock that was set");
        assert_eq!(judge(&words("a", u64::MAX), None), Pace::Not(AFTER));
        assert_eq!(pace(None, None, 0, AFTER, leased), Pace::Slow(leased));
    }

    #[test]
    fn a_worker_of_a_pool_is_slow_if_it_is_in_the_same_round_as_before() {
        let busy = LastWords { round: 7, ..words("a", 1) };
        let judge = |round| pace(Some(&busy), round, 100_000, AFTER, Duration::from_secs(60));
        assert_eq!(judge(None), Pace::Not(AFTER));
        assert_eq!(judge(Some(6)), Pace::Not(AFTER));
        assert_eq!(judge(Some(7)), Pace::Slow(AFTER));
    }

    #[test]
    fn what_the_kernel_shows_is_read() {
        let stat = "17 (a ) b) (c) S 1 17 17";
        assert_eq!(name_and_state(stat), Some(("a ) b) (c".to_owned(), 'S')));
        assert_eq!((system_call("202 0x7f 0x80"), system_call("running")), (Some(202), None));
        let stack = "[<0>] futex_wait_queue+0x5d/0x90\n[<0>] __futex_wait+0x13c/0x1b0\n";
        assert_eq!(frames(stack), "futex_wait_queue < __futex_wait");
        assert_eq!(frames(""), "");
        assert!(threads(std::process::id()).contains(" S") || threads(1).is_empty());
    }
}
