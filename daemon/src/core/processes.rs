//! `ps`, page by page, in the order of the workers' ids: whoever comes meanwhile comes last. Which
//! task a worker runs only the loop can see.

use super::Core;
use super::report::{REPORT_BYTES_MAX, ROW_BYTES, millis};
use super::sight::Sight;
use super::workers::{Owner, Worker};
use mpserverd_proto::ids::WorkerId;
use mpserverd_proto::limits::{NAME_BYTES_MAX, PROCESS_ROWS_MAX, PROCESS_ROWS_SEEN_MAX};
use mpserverd_proto::report::{ProcessFilter, ProcessRow, ProcessesReport};
use std::ops::Bound::{Excluded, Unbounded};

impl Core {
    /// Workers after this one that are seen and that the filter admits, whatever they run.
    pub(super) fn processes_report(
        &self,
        sight: Sight,
        after: Option<WorkerId>,
        limit: u32,
        filter: &ProcessFilter,
    ) -> ProcessesReport {
        let limit = limit.clamp(1, PROCESS_ROWS_MAX) as usize;
        let total = match sight {
            Sight::All => self.workers.len() as u64,
            Sight::Of(_) => self.leased_in(sight),
        };
        let mut report = ProcessesReport { total, ..ProcessesReport::default() };
        let mut bytes = 0;
        let mut last = after;
        let from = after.map_or(Unbounded, Excluded);
        for (seen, (&id, worker)) in self.workers.range((from, Unbounded)).enumerate() {
            // With room for the name of the task, which comes later.
            let row_bytes = ROW_BYTES + worker.template_name.len() + NAME_BYTES_MAX;
            if report.rows.len() == limit
                || seen == PROCESS_ROWS_SEEN_MAX
                || bytes + row_bytes > REPORT_BYTES_MAX
            {
                report.next = last;
                return report;
            }
            last = Some(id);
            if !sight.has_worker(worker) {
                continue;
            }
            let row = self.process_row(id, worker);
            if filter.admits(&row) {
                bytes += row_bytes;
                report.rows.push(row);
            }
        }
        report
    }

    pub(super) fn process_row(&self, id: WorkerId, worker: &Worker) -> ProcessRow {
        let client_pid = worker.owner.client();
        ProcessRow {
            worker: id,
            pid: worker.pid,
            template: worker.template,
            template_name: worker.template_name.to_string(),
            spare: !matches!(worker.owner, Owner::Client { .. }),
            age_ms: millis(self.now.since(worker.since)),
            client_pid,
            generation: worker.generation,
            uid: self
                .pools
                .get(&worker.pool)
                .and_then(|pool| pool.spec.uid)
                .unwrap_or(self.identity.uid),
            task: None,
            trace: worker.trace,
        }
    }
}
