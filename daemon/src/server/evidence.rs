//! What the core cannot know of a worker: which task it runs.

use super::Server;
use crate::core::SessionId;
use mpserverd_proto::client::Reply;
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::report::{ProcessFilter, ProcessesReport};

impl Server<'_> {
    /// Answers with workers, of which the filter has to judge the tasks.
    pub(super) fn list(
        &mut self,
        session: SessionId,
        id: RequestId,
        mut report: ProcessesReport,
        filter: &ProcessFilter,
    ) {
        report.rows.retain(|row| filter.admits_task(row.task.as_deref()));
        self.answer(session, id, Reply::Processes(report));
    }
}
