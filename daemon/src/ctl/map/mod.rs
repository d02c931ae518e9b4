//! `mpctl map`: a task for every input, on several workers at once.
//!
//! | file | holds |
//! |---|---|
//! | [`engine`] | the loop: inputs in, workers between, results out |
//! | [`plan`] | what goes into it, and what comes out |
//! | [`source`] | inputs: words, or lines as they come |
//! | [`window`] | the order of results, and how many may be under way |
//! | [`failure`] | why an input has no result, and whether to try again |
//! | `crew` | workers that run, and those that leave |
//! | `starter` | the thread that starts them |
//! | [`stop`] | the user's signal |
//! | `output` | standard output without waiting for it |
//! | `report` | what is printed where |
//!
//! The engine knows neither the daemon nor the terminal: it takes any context and any sink.

mod crew;
pub mod engine;
pub mod failure;
mod output;
pub mod plan;
pub(super) mod report;
pub mod source;
mod starter;
pub mod stop;
pub mod window;

use super::error::{CtlError, EXIT_FAILED, exit_by_signal};
use super::screen::Screen;
use super::{complain, locate};
use crate::cli::mpctl::Map;
use nix::sys::resource::{Resource, getrlimit};
use output::Output;
use plan::{End, Plan, Summary};
use report::Report;
use source::{Input, Source};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use stop::Stop;

/// How long starts may be refused before that ends everything: a daemon may be restarted.
const PATIENCE: Duration = Duration::from_secs(60);
/// Descriptors of a worker: job socket, status, pidfd.
const FDS_PER_WORKER: u64 = 3;
/// Descriptors of all else: standard streams, connection, workers that leave.
const FDS_BESIDE: u64 = 100;

/// `mpctl map`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen, options: &Map) -> Result<u8, CtlError> {
    let jobs = options.jobs.map_or_else(mp::available_cpus, |jobs| jobs as usize);
    check_descriptors(jobs)?;
    let stop = Stop::by_signals()?;
    let (context, task) = locate::open(socket, &options.task, &options.modules)?;
    let plan = Plan {
        context,
        task,
        name: None,
        jobs,
        ordered: !options.unordered,
        timeout: options.timeout,
        retries: options.retries,
        start_timeout: None,
        sandbox: super::run::sandbox(&options.sandbox)?,
        patience: PATIENCE,
    };
    let mut source = if options.inputs.is_empty() {
        Source::lines(std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?))
    } else {
        Source::given(options.inputs.iter().cloned().map(Input::of_word))
    };
    let total = source.total();
    let output = Output::new(std::io::stdout().as_fd().try_clone_to_owned()?);
    let mut report = Report::new(output, screen.json, total, !options.no_progress);
    let summary = engine::run(&plan, &mut source, &mut report, &stop)?;
    report.conclude(&summary, total);
    Ok(exit_code(&summary))
}

fn exit_code(summary: &Summary) -> u8 {
    match &summary.end {
        End::Done | End::Unread if summary.failed > 0 => EXIT_FAILED,
        End::Done | End::Unread => 0,
        End::Stopped(signal) => exit_by_signal(*signal),
        End::Broken(error) => {
            complain(error);
            error.code
        }
    }
}

/// So many workers at once must not run out of descriptors half-way.
fn check_descriptors(jobs: usize) -> Result<(), CtlError> {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let needed = (jobs as u64).saturating_mul(FDS_PER_WORKER).saturating_add(FDS_BESIDE);
    if needed <= limit {
        return Ok(());
    }
    Err(CtlError::usage(format!(
        "{jobs} workers at once need {needed} descriptors, the limit is {limit}: use fewer --jobs, \
         or `ulimit -n {needed}`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let summary = |end, failed| Summary { end, done: 3, failed, killed: 0 };
        for (end, failed, code) in [
            (End::Done, 0, 0),
            (End::Done, 1, 1),
            (End::Unread, 0, 0),
            (End::Stopped(2), 0, 130),
            (End::Stopped(15), 1, 143),
            (End::Broken(CtlError::usage("no such task")), 0, 100),
            (End::Broken(CtlError::system("no daemon")), 1, 111),
        ] {
            assert_eq!(exit_code(&summary(end.clone(), failed)), code, "{end:?}");
        }
    }

    #[test]
    fn more_workers_than_descriptors() {
        assert!(check_descriptors(1).is_ok());
        let error = check_descriptors(usize::MAX).expect_err("too many");
        assert!(error.code == 100 && error.to_string().contains("ulimit -n"), "{error}");
    }
}
