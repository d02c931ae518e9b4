//! `mpctl run`: one task, by the engine of `map` with a single input.

use super::error::{CtlError, exit_by_signal};
use super::map::engine;
use super::map::plan::{Done, End, Plan, Sink};
use super::map::report::record;
use super::map::source::{Input, Source};
use super::map::stop::Stop;
use super::screen::Screen;
use super::{arguments, complain, locate};
use crate::cli::mpctl::Run;
use std::path::Path;
use std::time::Duration;

/// How long the start may wait for a worker, if the command has no limit of its own.
const START: Duration = Duration::from_secs(60);

/// Keeps the one result.
#[derive(Debug, Default)]
struct Keep(Option<Done>);

impl Sink for Keep {
    fn done(&mut self, done: Done) {
        self.0 = Some(done);
    }
}

/// `mpctl run`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen, options: &Run) -> Result<u8, CtlError> {
    let stop = Stop::by_signals()?;
    let (context, task) = locate::open(socket, &options.task, &options.modules)?;
    let plan = Plan {
        context,
        name: Some(options.name.clone().unwrap_or_else(|| short(&task))),
        task,
        jobs: 1,
        ordered: true,
        timeout: options.timeout,
        retries: 0,
        start_timeout: Some(options.timeout.unwrap_or(START).min(START)),
        sandbox: sandbox(&options.sandbox)?,
        patience: Duration::ZERO,
    };
    let arguments = options.args.iter().map(|word| arguments::value(word)).collect();
    let input = Input { text: options.args.join(" "), arguments: Ok(arguments) };
    let mut kept = Keep::default();
    let summary = engine::run(&plan, &mut Source::given([input]), &mut kept, &stop)?;
    match (kept.0, summary.end) {
        (Some(done), _) => report(&done, screen),
        (None, End::Stopped(signal)) => Ok(exit_by_signal(signal)),
        (None, End::Broken(error)) => Err(error),
        (None, End::Done | End::Unread) => Err(CtlError::system("the task gave no result")),
    }
}

/// What the words of the command line come to.
pub(in crate::ctl) fn sandbox(words: &[String]) -> Result<Option<mp::Sandbox>, CtlError> {
    if words.is_empty() {
        return Ok(None);
    }
    let sandbox = words.iter().try_fold(mp::Sandbox::new(), |sandbox, word| sandbox.word(word));
    sandbox.map(Some).map_err(|error| CtlError::usage(error.to_string()))
}

fn short(task: &str) -> String {
    mp::registry::names::short(task).to_owned()
}

/// Prints the result; gives the exit code.
fn report(done: &Done, screen: &Screen) -> Result<u8, CtlError> {
    let code = match &done.result {
        Ok(_) => 0,
        Err(failure) => failure.code,
    };
    if screen.json {
        let mut record = record(done);
        if let Some(record) = record.as_object_mut() {
            // There is only one input, and it has many arguments.
            record.remove("index");
            record.remove("input");
            record.remove("attempts");
        }
        let shown = screen.show(&record, String::new)?;
        return Ok(if code == 0 { shown } else { code });
    }
    match &done.result {
        Ok(value) => screen.show(value, || format!("{value}\n")),
        Err(failure) => {
            let mut error = CtlError::usage(failure.message.clone());
            error.code = code;
            complain(&error);
            Ok(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::failure::Failure;
    use super::super::map::plan::Item;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn exit_codes() {
        let screen = Screen { width: None, colours: false, json: false };
        let item = Item { index: 0, text: "1 2".into(), arguments: Vec::new(), attempt: 1 };
        let item = Arc::new(item);
        let done = |result| {
            let (item, took) = (Arc::clone(&item), Duration::ZERO);
            Done { item, result, took, pid: None }
        };
        let late = Failure::timeout(Duration::from_secs(1));
        assert_eq!(report(&done(Ok(serde_json::json!(null))), &screen), Ok(0));
        assert_eq!(report(&done(Err(late)), &screen), Ok(124));
        assert_eq!(report(&done(Err(Failure::rejected("no".into()))), &screen), Ok(100));
    }
}
