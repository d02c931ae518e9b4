//! Workers that are listened to, to the next image of the daemon.

use super::lines::LINE_BYTES_MAX;
use super::{Catcher, Catchers, LINGERING_MAX, Lines, Writer};
use crate::server::poller::Poller;
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use mpserverd_proto::death::{STDERR_LINE_BYTES_MAX, STDERR_LINES_MAX};
use mpserverd_proto::ids::WorkerId;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::os::fd::AsFd;

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct CatcherRow {
    worker: WorkerId,
    pid: u32,
    pipe: Option<Fd>,
    begun: ByteBuf,
    kept: Vec<String>,
    dropped: u64,
    was: Option<Writer>,
}

impl CatcherRow {
    /// Whether it can have come about.
    fn check(&self) -> Result<(), StateError> {
        let kept = self.kept.len() <= STDERR_LINES_MAX
            && self.kept.iter().all(|line| line.len() <= STDERR_LINE_BYTES_MAX);
        if kept && self.begun.len() <= LINE_BYTES_MAX {
            return Ok(());
        }
        Err(StateError::Senseless(format!("{} has written too much", self.worker)))
    }
}

/// Checks all of them without the descriptors.
pub(in crate::server) fn check(rows: &[CatcherRow]) -> Result<(), StateError> {
    let lingering = rows.iter().filter(|row| row.was.is_some()).count();
    if lingering > LINGERING_MAX {
        return Err(StateError::Senseless(format!("{lingering} that have ended are heard")));
    }
    rows.iter().try_for_each(CatcherRow::check)
}

impl Catchers {
    pub(in crate::server) fn carry<'a>(&'a self, to: &mut Carrier<'a>) -> Vec<CatcherRow> {
        let mut row = |(worker, catcher): (&WorkerId, &'a Catcher)| CatcherRow {
            worker: *worker,
            pid: catcher.pid,
            pipe: catcher.pipe.as_ref().map(|pipe| to.fd(pipe.as_fd())),
            begun: ByteBuf::from(catcher.lines.begun.clone()),
            kept: catcher.lines.kept.iter().cloned().collect(),
            dropped: catcher.dropped,
            was: catcher.was.clone(),
        };
        self.by_worker.iter().map(&mut row).collect()
    }

    /// Takes them back.
    pub(in crate::server) fn from_rows(
        rows: Vec<CatcherRow>,
        from: &mut Luggage,
        poller: &Poller,
    ) -> Result<Self, StateError> {
        let mut catchers = Self::default();
        for row in rows {
            let CatcherRow { worker, pid, pipe, begun, kept, dropped, was } = row;
            let pipe = pipe.map(|pipe| from.fd(pipe)).transpose()?;
            let lines = Lines { begun: begun.into_vec(), kept: kept.into() };
            let catcher = Catcher { lines, dropped, was, ..Catcher::new(pid, pipe) };
            catchers.insert(poller, worker, catcher).map_err(StateError::system("epoll"))?;
        }
        Ok(catchers)
    }
}
