//! The descriptors of spares and workers, to the next image of the daemon.

use super::{SpareFds, Worker, Workers};
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use mpserverd_proto::ids::{TemplateId, WorkerId};
use mpserverd_proto::template::Spare;
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;

/// A spare's own descriptors.
#[derive(Debug, Serialize, Deserialize)]
struct SpareRow {
    job: Fd,
    status: Fd,
}

/// A worker or spare.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct WorkerRow {
    worker: WorkerId,
    template: TemplateId,
    pid: u32,
    status_write: Fd,
    pidfd: Fd,
    spare: Option<SpareRow>,
    /// Its template's board, and its place there.
    place: Option<(Fd, u32)>,
    round: Option<u32>,
}

impl Workers {
    pub(in crate::server) fn carry<'a>(&'a self, to: &mut Carrier<'a>) -> Vec<WorkerRow> {
        let mut row = |(id, worker): (&WorkerId, &'a Worker)| WorkerRow {
            worker: *id,
            template: worker.template,
            pid: worker.pid,
            status_write: to.fd(worker.status_write.as_fd()),
            pidfd: to.fd(worker.pidfd.as_fd()),
            spare: worker.spare.as_ref().map(|spare| SpareRow {
                job: to.fd(spare.job.as_fd()),
                status: to.fd(spare.status.as_fd()),
            }),
            round: worker.round,
            place: worker.place.as_ref().map(|(board, slot)| (to.board(board), *slot)),
        };
        self.by_id.iter().map(&mut row).collect()
    }

    /// Takes one back; tells its id and its template.
    pub(in crate::server) fn add_row(
        &mut self,
        row: WorkerRow,
        from: &mut Luggage,
    ) -> Result<(WorkerId, TemplateId), StateError> {
        let spare = match row.spare {
            None => None,
            Some(spare) => {
                Some(SpareFds { job: from.fd(spare.job)?, status: from.fd(spare.status)? })
            }
        };
        let (write, pidfd) = (from.fd(row.status_write)?, from.fd(row.pidfd)?);
        let (board, slot) = match row.place {
            None => (None, None),
            Some((board, slot)) => (Some(from.board(board)?), Some(slot)),
        };
        let newborn = Spare { worker: row.worker, pid: row.pid, slot, stderr: false };
        if !self.add(row.template, newborn, board.as_ref(), write, pidfd, spare) {
            return Err(StateError::Senseless(format!("{} comes twice", row.worker)));
        }
        if let Some(worker) = self.by_id.get_mut(&row.worker) {
            worker.round = row.round;
        }
        Ok((row.worker, row.template))
    }
}
