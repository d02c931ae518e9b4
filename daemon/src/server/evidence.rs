//! What the core cannot know of a worker: the task that it runs, which it says on its board.

use super::Server;
use crate::core::SessionId;
use mpserverd_proto::client::Reply;
use mpserverd_proto::explain::{Explanation, Facts};
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::report::{ProcessFilter, ProcessRow, ProcessesReport};
use mpserverd_proto::trace::TraceId;

impl Server<'_> {
    /// Answers with workers, of which the filter has to judge the tasks.
    pub(super) fn list(
        &mut self,
        session: SessionId,
        id: RequestId,
        mut report: ProcessesReport,
        filter: &ProcessFilter,
    ) {
        report.rows.iter_mut().for_each(|row| self.complete(row));
        report.rows.retain(|row| filter.admits_task(row.task.as_deref()));
        self.answer(session, id, Reply::Processes(report));
    }

    /// Adds to an answer of the core what only the loop knows.
    pub(super) fn completed(&mut self, mut reply: Reply) -> Reply {
        match &mut reply {
            Reply::Reloaded(reloaded) => reloaded.warnings.append(&mut self.notes),
            Reply::Explained(explanation) => self.add_tasks(explanation),
            _ => {}
        }
        reply
    }

    /// Adds what workers say that they do.
    fn add_tasks(&self, explanation: &mut Explanation) {
        for finding in &mut explanation.findings {
            let Facts::Worker(row) = &mut finding.facts else { continue };
            self.complete(row);
            if let Some(task) = &row.task {
                finding.sentences.push(works(task, row.trace));
            }
        }
    }

    /// Adds the task, while there is one.
    fn complete(&self, row: &mut ProcessRow) {
        let Some(said) = self.workers.words_of(row.worker) else { return };
        if row.spare || said.finished || said.task.is_empty() {
            return;
        }
        row.task = Some(said.task);
        row.trace = said.trace.or(row.trace);
    }
}

/// What a worker says that it does.
fn works(task: &str, trace: Option<TraceId>) -> String {
    match trace {
        Some(trace) => format!("It runs {task}, for the trace {trace}."),
        None => format!("It runs {task}."),
    }
}
