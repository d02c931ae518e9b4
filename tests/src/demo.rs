//! The parts of the program `demo`: what it renders, in which processes, and what it measures.
//!
//! | module | holds |
//! |---|---|
//! | this | jobs, and running them with so many in flight |
//! | [`files`] | which files there are, and the page that lists the results |
//! | [`table`] | the comparison of two runs |

pub mod files;
pub mod table;

use nix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One file to be rendered.
#[derive(Clone, Debug)]
pub struct Job {
    /// The file.
    pub source: PathBuf,
    /// Where its page goes.
    pub out_dir: PathBuf,
    /// Its name for people, relative to where all of them are.
    pub shown: PathBuf,
}

/// What the task `highlight.render_to` returns, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub struct Rendered {
    /// The language of the file.
    pub language: String,
    /// Its lines.
    pub lines: u64,
    /// Where its page is.
    pub written: PathBuf,
    /// `CLOCK_MONOTONIC` at the task's first instruction, in nanoseconds.
    begun_ns: u64,
}

/// How one job went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The job.
    pub job: Job,
    /// What came of it, or what went wrong.
    pub result: Result<Rendered, String>,
    /// From before the start to the task's first instruction.
    pub first: Duration,
    /// From before the start until the result was there.
    pub total: Duration,
}

/// How all of them went.
#[derive(Clone, Debug)]
pub struct Run {
    /// In the order of the jobs.
    pub outcomes: Vec<Outcome>,
    /// From the first start to the last result.
    pub took: Duration,
}

impl Run {
    /// Jobs that failed, with the reason.
    pub fn failures(&self) -> impl Iterator<Item = (&Job, &str)> {
        self.outcomes.iter().filter_map(|outcome| {
            outcome.result.as_ref().err().map(|reason| (&outcome.job, reason.as_str()))
        })
    }
}

/// Runs each job in a process of its own, so many at a time.
#[must_use]
pub fn run(context: &mp::Context, jobs: &[Job], in_flight: usize) -> Run {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcomes = Mutex::new(vec![None; jobs.len()]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..in_flight.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { break };
                    let outcome = run_one(context, job);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(outcome);
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
                }
            });
        }
    });
    let took = begun.elapsed();
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    Run { outcomes: outcomes.into_iter().flatten().collect(), took }
}

fn run_one(context: &mp::Context, job: &Job) -> Outcome {
    let asked = monotonic();
    let result = render(context, job);
    let total = monotonic() - asked;
    let begun = result.as_ref().map_or(0, |rendered| rendered.begun_ns);
    let first = Duration::from_nanos(begun).saturating_sub(asked);
    Outcome { job: job.clone(), result, first, total }
}

fn render(context: &mp::Context, job: &Job) -> Result<Rendered, String> {
    let args = [json!(job.source.to_str()), json!(job.out_dir.to_str())];
    let process = context
        .process_named("highlight.render_to", &args)
        .name(format!("render {}", job.shown.display()))
        .start()
        .map_err(|error| error.to_string())?;
    let value = process.result().map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// `CLOCK_MONOTONIC`, which a worker reads the same.
fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// One line that is written over and over, on a terminal only.
fn progress(done: usize, all: usize) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let end = if done == all { "\r\x1b[K" } else { "" };
        // Whoever closed it does not want to see it.
        let _ = write!(stderr, "\r{done}/{all} files{end}");
    }
}
