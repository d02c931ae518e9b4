//! The descriptors of spares and workers, and how orphans end.
//!
//! The daemon keeps a copy of the write end of every worker's status pipe: if the template dies,
//! its workers become the daemon's children, and the daemon writes how they ended.

pub(super) mod carry;

use super::Server;
use super::poller::{Readiness, Source};
use crate::core::Event;
use mp::sys::board::Board;
use mp::sys::wait;
use mpserverd_proto::death::{Cause, LastWords, short_task};
use mpserverd_proto::ids::{TemplateId, WorkerId};
use mpserverd_proto::job::END_IF_IDLE;
use mpserverd_proto::status::{ExitRecord, Reporter, Usage};
use mpserverd_proto::template::Spare;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// How long the kernel's record of somebody else's ended child is waited for.
const RECORD_GRACE: Duration = Duration::from_millis(500);
/// How often it is looked for meanwhile.
const RECORD_PAUSE: Duration = Duration::from_millis(5);

/// Of what a panic said.
const PANIC_CHARS_MAX: usize = 256;

/// What a client gets of a spare, beside its pidfd.
#[derive(Debug)]
pub(super) struct SpareFds {
    pub(super) job: OwnedFd,
    pub(super) status: OwnedFd,
}

#[derive(Debug)]
struct Worker {
    template: TemplateId,
    pid: u32,
    status_write: OwnedFd,
    pidfd: OwnedFd,
    spare: Option<SpareFds>,
    /// Its place on its template's board, which outlives the template here.
    place: Option<(Arc<Board>, u32)>,
    /// The round that it was in when it was last looked at.
    round: Option<u32>,
}

impl Worker {
    /// What it says about itself.
    fn words(&self, id: WorkerId) -> Option<LastWords> {
        self.place.as_ref().and_then(|(board, slot)| board.read(*slot, id))
    }
}

/// What a template tells is no longer than what its board can hold.
pub(super) fn shortened(mut last: LastWords) -> LastWords {
    last.task = short_task(&last.task).to_owned();
    last.name = short_task(&last.name).to_owned();
    last.panic = last.panic.map(|text| text.chars().take(PANIC_CHARS_MAX).collect());
    last
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Workers {
    by_id: HashMap<WorkerId, Worker>,
    by_pid: HashMap<u32, WorkerId>,
    /// Orphans that have ended as somebody else's children, and until when their record is awaited.
    awaited: Vec<(WorkerId, Instant)>,
}

impl Workers {
    /// Adds one; false if its id is taken.
    pub(super) fn add(
        &mut self,
        template: TemplateId,
        newborn: Spare,
        board: Option<&Arc<Board>>,
        status_write: OwnedFd,
        pidfd: OwnedFd,
        spare: Option<SpareFds>,
    ) -> bool {
        let Spare { worker: id, pid, slot, .. } = newborn;
        if self.by_id.contains_key(&id) {
            return false;
        }
        self.by_pid.insert(pid, id);
        let place = board.cloned().zip(slot);
        self.by_id
            .insert(id, Worker { template, pid, status_write, pidfd, spare, place, round: None });
        true
    }

    /// Removes one that ended; false if it was not there.
    fn end(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.by_id.remove(&id) else { return false };
        if self.by_pid.get(&worker.pid) == Some(&id) {
            self.by_pid.remove(&worker.pid);
        }
        true
    }

    /// The template that forked it.
    pub(super) fn template_of(&self, id: WorkerId) -> Option<TemplateId> {
        self.by_id.get(&id).map(|worker| worker.template)
    }

    /// What a worker says about itself, if it is there and has said anything.
    pub(super) fn words_of(&self, id: WorkerId) -> Option<LastWords> {
        self.by_id.get(&id)?.words(id)
    }

    /// Takes what a client gets.
    pub(super) fn take_spare(&mut self, id: WorkerId) -> Option<(SpareFds, BorrowedFd<'_>)> {
        let worker = self.by_id.get_mut(&id)?;
        let spare = worker.spare.take()?;
        Some((spare, worker.pidfd.as_fd()))
    }

    /// Looks at a worker: its pid, what it says, and the round that it was in the last time.
    pub(super) fn look(&mut self, id: WorkerId) -> Option<(u32, Option<LastWords>, Option<u32>)> {
        let worker = self.by_id.get_mut(&id)?;
        let words = worker.words(id);
        let before = std::mem::replace(&mut worker.round, words.as_ref().map(|words| words.round));
        Some((worker.pid, words, before))
    }

    /// Lets a spare go: it ends when its job socket closes.
    pub(super) fn release(&mut self, id: WorkerId) {
        if let Some(worker) = self.by_id.get_mut(&id) {
            worker.spare = None;
        }
    }

    /// The process of a worker that has not been reported ended.
    pub(super) fn process(&self, id: WorkerId) -> Option<(u32, BorrowedFd<'_>)> {
        let worker = self.by_id.get(&id)?;
        Some((worker.pid, worker.pidfd.as_fd()))
    }

    pub(super) fn signal(&self, id: WorkerId, number: i32) {
        if let Some(worker) = self.by_id.get(&id)
            && let Err(error) = wait::signal(worker.pidfd.as_fd(), number)
        {
            warn!(pid = worker.pid, number, %error, "cannot signal a worker");
        }
    }

    /// Ends those that wait for a job which their client may never send.
    pub(super) fn end_idle(&self) {
        for id in self.by_id.keys() {
            self.signal(*id, END_IF_IDLE);
        }
    }

    pub(super) fn kill_all(&self) {
        for id in self.by_id.keys() {
            self.signal(*id, libc::SIGKILL);
        }
    }

    pub(super) fn of_template(&self, template: TemplateId) -> Vec<WorkerId> {
        let of = self.by_id.iter().filter(|(_, worker)| worker.template == template);
        of.map(|(id, _)| *id).collect()
    }

    pub(super) fn of_pid(&self, pid: u32) -> Option<WorkerId> {
        self.by_pid.get(&pid).copied()
    }

    /// When to look again for records of orphans.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        (!self.awaited.is_empty()).then(|| Instant::now() + RECORD_PAUSE)
    }
}

impl Server<'_> {
    /// The template of this worker is gone: its end comes over its pidfd.
    pub(super) fn watch_orphan(&mut self, worker: WorkerId) {
        let Some(orphan) = self.workers.by_id.get(&worker) else { return };
        let watched = self.poller.add(orphan.pidfd.as_fd(), Source::OrphanEnd(worker), false);
        if let Err(error) = watched {
            warn!(%worker, %error, "cannot watch an orphan");
        }
    }

    /// An orphan has ended: its status goes into its pipe, then it is reaped.
    pub(super) fn on_orphan_end(&mut self, worker: WorkerId) {
        let Some(orphan) = self.workers.by_id.get(&worker) else { return };
        let pidfd = orphan.pidfd.as_fd();
        let record = match wait::ended(wait::Whom::Pidfd(pidfd), false, Reporter::Daemon) {
            Ok(None) => return,
            Ok(Some((_, record))) => Some(record),
            Err(_) => wait::exit_behind_pidfd(pidfd),
        };
        self.poller.remove(pidfd);
        let Some(record) = record else {
            let until = Instant::now() + RECORD_GRACE;
            if !self.workers.awaited.iter().any(|(awaited, _)| *awaited == worker) {
                self.workers.awaited.push((worker, until));
            }
            return;
        };
        // A client that is gone does not need it.
        let _ = nix::unistd::write(&orphan.status_write, &record.encode());
        let _ = wait::ended(wait::Whom::Pidfd(pidfd), true, Reporter::Daemon);
        debug!(%worker, code = record.code, "orphan ended");
        self.worker_ended(worker, record, None);
    }

    /// A worker has ended, and its status was delivered.
    pub(super) fn worker_ended(
        &mut self,
        worker: WorkerId,
        record: ExitRecord,
        told: Option<LastWords>,
    ) {
        // Who reaped it read the board before the place was given away.
        let last = told.map(shortened).or_else(|| self.workers.words_of(worker));
        if !self.workers.end(worker) {
            return;
        }
        if record.signal().is_some() {
            self.hear_client_of(worker);
        }
        let stderr = self.last_lines_of(worker, last.as_ref());
        self.examine(worker, &record, last.as_ref());
        self.events.push_back(Event::WorkerEnded { worker, record, last, stderr });
    }

    /// A client says which signal it sends before it sends it. Of two sockets that became readable
    /// one after the other, the later may be read first.
    fn hear_client_of(&mut self, worker: WorkerId) {
        let Some(client) = self.core.client_of(worker) else { return };
        let its = self.sessions.iter().filter(|(_, session)| session.peer.pid == client);
        for session in its.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.on_session(session, Readiness { writable: false, readable: true });
        }
    }

    /// Looks again for records of orphans that somebody else reaps.
    pub(super) fn retry_orphans(&mut self) {
        for (worker, until) in std::mem::take(&mut self.workers.awaited) {
            if Instant::now() < until {
                self.on_orphan_end(worker);
                if self.workers.by_id.contains_key(&worker)
                    && !self.workers.awaited.iter().any(|(awaited, _)| *awaited == worker)
                {
                    self.workers.awaited.push((worker, until));
                } else if let Some(again) =
                    self.workers.awaited.iter_mut().find(|(awaited, _)| *awaited == worker)
                {
                    again.1 = until;
                }
            } else {
                // Its pipe closes without a record: the client reports the end as unknown.
                let (usage, reporter) = (Usage::default(), Reporter::Daemon);
                let record =
                    ExitRecord { code: 255, core: false, usage, reporter, out_of_cpu: false };
                self.core.accuse(worker, Cause::Unknown);
                self.worker_ended(worker, record, None);
            }
        }
    }

    /// Reaps children that nobody else waits for: descendants of workers, which the daemon
    /// inherits as a subreaper.
    pub(super) fn reap_strangers(&mut self) {
        use super::sweep::zombies;
        for pid in zombies() {
            if let Some(worker) = self.workers.of_pid(pid) {
                // Of a living template's worker this pid cannot be: that one is not our child.
                self.on_orphan_end(worker);
            } else if self.templates.values().all(|template| template.pid != pid)
                && self.command.as_ref().is_none_or(|command| command.pid() != Some(pid))
                && self.upgrade.as_ref().is_none_or(|upgrade| upgrade.pid() != Some(pid))
            {
                let _ = wait::ended(wait::Whom::Pid(pid), true, Reporter::Daemon);
            }
        }
    }
}
