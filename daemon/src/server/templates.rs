//! The templates' control sockets.

pub(super) mod carry;

use super::Server;
use super::attach::Offer;
use super::poller::{Readiness, Source};
use super::stderr::last_lines;
use super::workers::{SpareFds, shortened};
use crate::config::sandbox::SandboxTable;
use crate::core::{Event, Obituary};
use mp::sys::board::Board;
use mp::sys::packet::{self, Packet};
use mp::sys::wait;
use mpserverd_proto::codec;
use mpserverd_proto::ids::TemplateId;
use mpserverd_proto::limits::FDS_PER_SPARE;
use mpserverd_proto::packet::Kind;
use mpserverd_proto::sandbox::Forced;
use mpserverd_proto::status::Reporter;
use mpserverd_proto::template::{Ended, FromTemplate, Heard, Lessee, Missed, Spare, ToTemplate};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tracing::{debug, warn};

/// Messages of one wake-up at most, so that nobody keeps the loop for itself.
const MESSAGES: usize = 64;
/// Leases that a template is told of at once, whether or not there is anything else to say.
const UNTOLD_MAX: usize = 64;
/// Messages that wait for a template that does not read: it gets a handful in its life.
const OUTBOX_MAX: usize = 1024;

/// What the workers of a template are confined by, and for whose sake.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Confinement {
    /// The user that they run as.
    pub(super) uid: u32,
    /// Names by which the configuration may mean them.
    pub(super) names: Vec<String>,
    /// What the template was told to force on them.
    pub(super) forced: Vec<Forced>,
}

impl Confinement {
    /// Whether the configuration says something else by now.
    pub(super) fn is_outdated(&self, table: &SandboxTable) -> bool {
        self.forced != table.forced(self.uid, &self.names)
    }
}

/// A template's process.
#[derive(Debug)]
pub(super) struct TemplateProcess {
    pub(super) pid: u32,
    pub(super) name: String,
    control: OwnedFd,
    pidfd: OwnedFd,
    /// What its workers say about themselves; a template may have none.
    board: Option<Arc<Board>>,
    confinement: Confinement,
    /// Leases that it was not told of yet.
    untold: Vec<Lessee>,
    /// What it could not take yet: kind, body and descriptor.
    outbox: VecDeque<(Kind, Vec<u8>, Option<OwnedFd>)>,
    /// It has offered itself, and said nothing since.
    pub(super) offer: Option<Box<Offer>>,
}

impl TemplateProcess {
    pub(super) fn new(pid: u32, name: String, control: OwnedFd, pidfd: OwnedFd) -> Self {
        Self {
            pid,
            name,
            control,
            pidfd,
            board: None,
            confinement: Confinement::default(),
            untold: Vec::new(),
            outbox: VecDeque::new(),
            offer: None,
        }
    }

    /// It is one of an earlier daemon.
    pub(super) fn with_offer(mut self, offer: Offer) -> Self {
        self.offer = Some(Box::new(offer));
        self
    }

    /// Gives it a board.
    pub(super) fn with_board(mut self, board: Option<Board>) -> Self {
        self.board = board.map(Arc::new);
        self
    }

    /// Notes what its workers are confined by.
    pub(super) fn confined(self, confinement: Confinement) -> Self {
        Self { confinement, ..self }
    }

    /// Kills it. Its workers live on.
    pub(super) fn kill(&self) {
        if let Err(error) = wait::signal(self.pidfd.as_fd(), libc::SIGKILL) {
            warn!(pid = self.pid, %error, "cannot kill a template");
        }
    }

    /// Queues a message and sends what can be sent; false when the template is beyond reach.
    fn send(&mut self, kind: Kind, body: Vec<u8>, fd: Option<OwnedFd>) -> bool {
        self.outbox.push_back((kind, body, fd));
        self.outbox.len() <= OUTBOX_MAX && self.flush()
    }

    fn flush(&mut self) -> bool {
        while let Some((kind, body, fd)) = self.outbox.front() {
            let fds = fd.iter().map(AsFd::as_fd).collect::<Vec<_>>();
            match packet::send(self.control.as_fd(), *kind, &[body], &fds, true) {
                Ok(()) => {
                    self.outbox.pop_front();
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// What a template says of a death that no daemon has seen.
fn obituary(missed: Missed) -> Obituary {
    let Missed { worker, pid, record, last, ended_ms, lessee, stderr } = missed;
    let (last, stderr) = (last.map(shortened), last_lines(&stderr));
    Obituary { worker, pid, record, last, ended_ms, lessee, stderr }
}

impl Server<'_> {
    /// Another configuration serves: what clients hold of workers that it would confine otherwise
    /// they are not to use any more.
    pub(super) fn call_off_outdated(&mut self) {
        for (id, process) in &self.templates {
            if process.confinement.is_outdated(&self.config.sandbox) {
                self.events.push_back(Event::TemplateOutdated { template: *id });
            }
        }
    }

    /// Watches a new template.
    pub(super) fn add_template(
        &mut self,
        template: TemplateId,
        process: TemplateProcess,
    ) -> io::Result<()> {
        self.poller.add(process.control.as_fd(), Source::Control(template), false)?;
        self.poller.add(process.pidfd.as_fd(), Source::TemplateEnd(template), false)?;
        self.templates.insert(template, process);
        Ok(())
    }

    /// Tells a template something; one that cannot be told is killed.
    pub(super) fn tell(&mut self, template: TemplateId, message: &ToTemplate) {
        match codec::encode(message) {
            Ok(body) => self.send_to_template(template, Kind::ToTemplate, body, None),
            Err(error) => warn!(%template, %error, "cannot encode a message"),
        }
    }

    /// A worker was handed over: its template is told when it is told something anyway, so that the
    /// next daemon can ask it should this one die.
    pub(super) fn note_lease(&mut self, template: TemplateId, lessee: Lessee) {
        let Some(process) = self.templates.get_mut(&template) else { return };
        process.untold.push(lessee);
        if process.untold.len() >= UNTOLD_MAX {
            self.tell_leases(template);
        }
    }

    /// Tells a template of the leases that it was not told of yet.
    pub(super) fn tell_leases(&mut self, template: TemplateId) {
        let Some(process) = self.templates.get_mut(&template) else { return };
        let untold = std::mem::take(&mut process.untold);
        if !untold.is_empty() {
            self.tell(template, &ToTemplate::Leased(untold));
        }
    }

    pub(super) fn send_to_template(
        &mut self,
        template: TemplateId,
        kind: Kind,
        body: Vec<u8>,
        fd: Option<OwnedFd>,
    ) {
        let Some(process) = self.templates.get_mut(&template) else { return };
        if !process.send(kind, body, fd) {
            process.kill();
        }
        let writes = !process.outbox.is_empty();
        let control = process.control.as_fd();
        // Only fails for a descriptor that is not watched, and this one is.
        let _ = self.poller.change(control, Source::Control(template), writes);
    }

    pub(super) fn on_control(&mut self, template: TemplateId, readiness: Readiness) {
        if readiness.writable {
            let Some(process) = self.templates.get_mut(&template) else { return };
            if !process.flush() {
                process.kill();
            }
            let writes = !process.outbox.is_empty();
            let control = process.control.as_fd();
            let _ = self.poller.change(control, Source::Control(template), writes);
        }
        if readiness.readable {
            self.hear(template);
        }
    }

    /// Reads what a template said. One that makes no sense, or hung up, is killed.
    fn hear(&mut self, template: TemplateId) {
        for _ in 0..MESSAGES {
            let Some(process) = self.templates.get(&template) else { return };
            let error = match packet::receive(process.control.as_fd(), true) {
                Ok(Some(packet)) => {
                    self.take_offer(template);
                    match self.understand(template, packet) {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Ok(None) => "it closed its control socket".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => error.to_string(),
            };
            if self.withdraw_offer(template) {
                return;
            }
            let Some(process) = self.templates.get(&template) else { return };
            debug!(%template, pid = process.pid, error, "template is beyond reach");
            process.kill();
            // Its end comes over the pidfd; until then there is nothing to hear.
            self.poller.remove(process.control.as_fd());
            return;
        }
    }

    fn understand(&mut self, template: TemplateId, packet: Packet) -> Result<(), String> {
        if packet.kind != Kind::FromTemplate {
            return Err(format!("unexpected {:?}", packet.kind));
        }
        let message =
            codec::decode::<FromTemplate>(&packet.body).map_err(|error| error.to_string())?;
        let event = match message {
            FromTemplate::Hello { .. } => Event::TemplateHello { template },
            FromTemplate::Loading { module, stage } => {
                self.supervisor.loading();
                Event::TemplateLoading { template, module, stage }
            }
            FromTemplate::Ready { modules, memory } => {
                Event::TemplateReady { template, modules, memory }
            }
            FromTemplate::Failed(error) => Event::TemplateFailed { template, error },
            FromTemplate::Memory(memory) => Event::TemplateMemory { template, memory },
            FromTemplate::ForkFailed { missing, errno } => {
                let message = io::Error::from_raw_os_error(errno).to_string();
                Event::ForkFailed { template, missing, message }
            }
            FromTemplate::Ended(ended) => {
                for Ended { worker, record, last } in ended {
                    self.worker_ended(worker, record, last);
                }
                return Ok(());
            }
            FromTemplate::Spares(spares) => return self.take_spares(template, spares, packet.fds),
            FromTemplate::Leases(lessees) => Event::LesseesKnown { template, lessees },
            FromTemplate::Adopt(workers) => return self.adopt(template, workers, packet.fds),
            FromTemplate::Heard(heard) => {
                self.catch_up_with(template, heard);
                return Ok(());
            }
            FromTemplate::Missed { deaths, forgotten } => {
                let deaths = deaths.into_iter().map(obituary).collect();
                Event::Missed { template, deaths, forgotten }
            }
        };
        self.events.push_back(event);
        Ok(())
    }

    fn take_spares(
        &mut self,
        template: TemplateId,
        spares: Vec<Spare>,
        fds: Vec<OwnedFd>,
    ) -> Result<(), String> {
        let caught = spares.iter().filter(|spare| spare.stderr).count();
        if fds.len() != spares.len() * FDS_PER_SPARE + caught {
            return Err(format!("{} descriptors for {} spares", fds.len(), spares.len()));
        }
        let board = self.templates.get(&template).and_then(|process| process.board.clone());
        let mut fds = fds.into_iter();
        let mut known = Vec::with_capacity(spares.len());
        for spare in spares {
            let [Some(job), Some(status), Some(write), Some(pidfd)] =
                std::array::from_fn(|_| fds.next())
            else {
                return Err("descriptors are missing".to_owned());
            };
            let stderr = if spare.stderr { fds.next() } else { None };
            let own = Some(SpareFds { job, status });
            if !self.workers.add(template, spare, board.as_ref(), write, pidfd, own) {
                return Err(format!("{} exists already", super::describe(spare.worker, spare.pid)));
            }
            known.push((spare.worker, spare.pid));
            if let Some(pipe) = stderr {
                self.catch(spare.worker, spare.pid, pipe);
            }
        }
        self.events.push_back(Event::Spares { template, spares: known });
        Ok(())
    }

    fn adopt(
        &mut self,
        template: TemplateId,
        workers: Vec<Spare>,
        fds: Vec<OwnedFd>,
    ) -> Result<(), String> {
        let caught = workers.iter().filter(|worker| worker.stderr).count();
        if fds.len() != workers.len() * 2 + caught {
            return Err(format!("{} descriptors for {} workers", fds.len(), workers.len()));
        }
        let board = self.templates.get(&template).and_then(|process| process.board.clone());
        let mut fds = fds.into_iter();
        for spare in workers {
            let Spare { worker, pid, .. } = spare;
            let (Some(pidfd), Some(write)) = (fds.next(), fds.next()) else {
                return Err("descriptors are missing".to_owned());
            };
            let stderr = if spare.stderr { fds.next() } else { None };
            if self.workers.add(template, spare, board.as_ref(), write, pidfd, None) {
                if let Some(pipe) = stderr {
                    self.catch(worker, pid, pipe);
                }
                self.events.push_back(Event::WorkerAdopted { template, worker, pid });
            }
        }
        let sandbox = &self.config.sandbox;
        let is_outdated = |process: &TemplateProcess| process.confinement.is_outdated(sandbox);
        if self.templates.get(&template).is_some_and(is_outdated) {
            self.events.push_back(Event::TemplateOutdated { template });
        }
        Ok(())
    }

    /// What adopted workers wrote while no daemon was there.
    fn catch_up_with(&mut self, template: TemplateId, heard: Vec<Heard>) {
        for Heard { worker, stderr } in heard {
            if self.workers.template_of(worker) == Some(template) {
                self.catch_up(worker, &stderr);
            }
        }
    }

    /// A template's process has ended: hears its last words, reaps it, watches its orphans.
    pub(super) fn on_template_end(&mut self, template: TemplateId) {
        self.hear(template);
        let Some(process) = self.templates.remove(&template) else { return };
        let record =
            match wait::ended(wait::Whom::Pidfd(process.pidfd.as_fd()), true, Reporter::Daemon) {
                Ok(Some((_, record))) => Some(record),
                // Somebody else's child: a template of an earlier daemon.
                Ok(None) | Err(_) => wait::exit_behind_pidfd(process.pidfd.as_fd()),
            };
        let code = record.map(|record| record.code);
        debug!(%template, name = process.name, pid = process.pid, ?code, "template ended");
        for worker in self.workers.of_template(template) {
            self.watch_orphan(worker);
        }
        self.events.push_back(Event::TemplateGone { template, code });
    }
}
