//! Clients: accepting them, hearing them, and turning what they ask into events.

use super::Server;
use super::access::{guard, identify, own_uid};
use super::attach::Offer;
use super::logs::Wanted;
use super::owners::Owner;
use super::poller::{Readiness, Source};
use super::recipes::{Asker, is_program};
use super::session::{Fault, Session};
use super::templates::{Confinement, TemplateProcess};
use crate::config::Config;
use crate::core::{Ask, Event, Origin, PoolKey, PoolSpec, SessionId};
use mp::sys::board::Board;
use mpserverd_proto::client::{Call, Pong, Reply, Request, TemplateSpec};
use mpserverd_proto::codec;
use mpserverd_proto::death::short_task;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::template::Attach;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// A configuration that is being reloaded.
#[derive(Debug)]
pub(super) struct Next {
    config: Config,
    /// The generation that it will be.
    generation: u32,
    /// What is worth a warning to whoever asked.
    notes: Vec<String>,
}

/// Connections accepted at one wake-up at most.
const ACCEPTS: usize = 256;
/// Templates that may attach themselves, whatever the limit of those that are built.
const ATTACHED_MAX: usize = 64;
/// Clients beyond the limit that are being told so.
const REFUSED_MAX: usize = 64;

/// Sections that somebody may rely on, and that confine nobody.
fn warn_of_idle(config: &Config) {
    let own = own_uid();
    for uid in config.sandbox.idle_uids(own) {
        warn!("[sandbox.uid.{uid}] confines nobody: all workers of this daemon run as uid {own}");
    }
}

/// Whether the other end of a socket is closed.
fn is_hung_up(socket: &OwnedFd) -> bool {
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    let _ = poll(&mut sockets, PollTimeout::ZERO);
    sockets[0].revents().is_some_and(|seen| seen.contains(PollFlags::POLLHUP))
}

impl Server<'_> {
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            let Some(listener) = &mut self.listener else { return };
            if self.sessions.len() >= self.config.clients_max + REFUSED_MAX {
                self.pause_listener();
                return;
            }
            match listener.accept() {
                Ok(socket) => self.welcome(socket),
                Err(Errno::EAGAIN) => return,
                Err(Errno::ECONNABORTED | Errno::EINTR) => {}
                Err(errno) => {
                    warn!(error = %errno, "cannot accept a client; trying again shortly");
                    self.pause_listener();
                    return;
                }
            }
        }
    }

    fn pause_listener(&mut self) {
        if let Some(listener) = &mut self.listener {
            self.poller.remove(listener.fd());
            listener.pause();
        }
    }

    fn resume_listener(&mut self) {
        if let Some(listener) = &mut self.listener
            && listener.resume()
            && let Err(error) = self.poller.add(listener.fd(), Source::Listener, false)
        {
            warn!(%error, "cannot watch the listener");
        }
    }

    fn welcome(&mut self, socket: OwnedFd) {
        let Ok((peer, client)) = identify(&socket) else { return };
        let session = Session::new(socket, peer, client, self.config.hello_deadline);
        let id = SessionId(self.next_session);
        if self.poller.add(session.fd(), Source::Session(id), false).is_ok() {
            self.next_session += 1;
            self.sessions.insert(id, session);
        }
    }

    pub(super) fn on_session(&mut self, id: SessionId, readiness: Readiness) {
        if readiness.readable {
            self.read_session(id);
        }
        self.write_session(id);
    }

    fn read_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let (peer, clients) = (session.peer, self.sessions.len());
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.read(self.config.frame_deadline) {
            Ok(true) => {
                let limit = self.config.clients_max;
                let room = Refusal::TooManyClients { limit: limit as u64 };
                let room = if clients > limit { Err(room) } else { Ok(()) };
                let admitted = self.config.access.admit(&session.client, own_uid());
                if let Err(refusal) = admitted.and(room) {
                    self.core.note_refusal(&refusal);
                    let _ = session.refuse(refusal.clone());
                    self.audit_stranger(id, &refusal);
                    return;
                }
                self.events.push_back(Event::SessionOpened { session: id, peer });
            }
            Ok(false) => {}
            Err(fault) => {
                // What came whole before the end still counts.
                self.read_frames(id);
                self.close_session(id, &fault);
                return;
            }
        }
        self.read_frames(id);
    }

    fn read_frames(&mut self, id: SessionId) {
        loop {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            let (frame, fds) = match session.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(fault) => {
                    let (uid, why) = (session.peer.uid, fault.to_string());
                    self.events.push_back(Event::Misbehaved { uid, why: why.clone() });
                    let refusal = Refusal::BadRequest(why);
                    self.core.note_refusal(&refusal);
                    let _ = session.refuse(refusal);
                    return;
                }
            };
            match codec::decode::<Call>(&frame.payload) {
                Ok(call) => self.request(id, call, fds),
                Err(error) => {
                    let (uid, why) = (session.peer.uid, format!("malformed request: {error}"));
                    self.events.push_back(Event::Misbehaved { uid, why: why.clone() });
                    let refusal = Refusal::BadRequest(why);
                    self.core.note_refusal(&refusal);
                    let _ = session.refuse(refusal);
                    return;
                }
            }
        }
    }

    /// Writes what is queued, and watches for room if some is left.
    pub(super) fn write_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Err(fault) = session.write() {
            self.close_session(id, &fault);
            return;
        }
        let writes = session.wants_to_write();
        if writes != session.watched_writes {
            session.watched_writes = writes;
            let _ = self.poller.change(session.fd(), Source::Session(id), writes);
        }
    }

    pub(super) fn close_session(&mut self, id: SessionId, fault: &Fault) {
        let Some(session) = self.sessions.remove(&id) else { return };
        match fault {
            Fault::Closed => debug!(pid = session.peer.pid, "client left"),
            fault => {
                debug!(pid = session.peer.pid, uid = session.peer.uid, "client dropped: {fault}")
            }
        }
        self.followers.forget(id);
        if fault.is_misdeed() {
            let (uid, why) = (session.peer.uid, fault.to_string());
            self.events.push_back(Event::Misbehaved { uid, why });
        }
        self.events.push_back(Event::SessionClosed { session: id });
        self.resume_listener();
    }

    /// Drops those who took too long, sends what was put off, and does what else waited for a time.
    pub(super) fn expire_sessions(&mut self) {
        let now = Instant::now();
        let due = self.sessions.iter().filter(|(_, s)| s.due().is_some_and(|at| at <= now));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            match self.sessions.get(&id).and_then(|session| session.lateness(now)) {
                Some(fault) => self.close_session(id, &fault),
                None => self.write_session(id),
            }
        }
        self.resume_listener();
        self.retry_orphans();
    }

    /// Answers, and drops a client that does not take it.
    pub(super) fn answer(&mut self, session: SessionId, id: RequestId, reply: Reply) {
        self.audit_answer(session, id, &reply);
        let Some(client) = self.sessions.get_mut(&session) else { return };
        if let Reply::Refused(refusal) = &reply {
            self.core.note_refusal(refusal);
        }
        if let Err(fault) = client.answer(id, reply, &[]) {
            self.close_session(session, &fault);
            return;
        }
        if client.wants_to_write() {
            self.write_session(session);
        }
    }

    fn request(&mut self, session: SessionId, call: Call, fds: Vec<OwnedFd>) {
        let Call { id, request } = call;
        self.note(session, id, &request);
        if let Err(refusal) = self.permit(session, &request) {
            self.answer(session, id, Reply::Refused(refusal));
            return;
        }
        let millis = |ms: u32| Duration::from_millis(ms.into());
        let ask = match request {
            Request::Ping => {
                let pong = Pong {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    pid: std::process::id(),
                    uptime_ms: self.started.elapsed().as_millis() as u64,
                };
                return self.answer(session, id, Reply::Pong(pong));
            }
            Request::Reload => return self.reload(Some((session, id))),
            Request::Stop { policy, grace_ms } => {
                let policy = policy.unwrap_or(self.config.stop_policy);
                let grace = grace_ms.map_or(self.config.stop_grace, Duration::from_millis);
                info!(?policy, ?grace, "stopping, as a client asked");
                let origin = Some((session, id));
                self.events.push_back(Event::StopAsked { origin, policy, grace });
                return;
            }
            Request::Attach(attach) => return self.attach(session, id, attach, fds),
            Request::Upgrade { binary } => {
                let path = binary.map(|path| PathBuf::from(OsString::from_vec(path)));
                return self.upgrade(Some((session, id)), path);
            }
            Request::OpenTemplate(spec) => match self.recipe_for(session, spec, fds) {
                Ok(spec) => Ask::Open(spec),
                Err(refusal) => return self.answer(session, id, Reply::Refused(refusal)),
            },
            Request::Lease { pool, wait_ms, task, trace } => {
                let task = task.map(|task| short_task(&task).to_owned());
                Ask::Lease { pool, wait: millis(wait_ms), task, trace }
            }
            Request::LeaseWith { pool, wait_ms, bounds, task, trace } => {
                let task = task.map(|task| short_task(&task).to_owned());
                Ask::LeaseWith { pool, wait: millis(wait_ms), bounds, task, trace }
            }
            Request::Cancel(request) => {
                self.stop_following(session, request);
                Ask::Cancel(request)
            }
            Request::TemplateModules { pool, wait_ms } => {
                Ask::PoolModules { pool, wait: millis(wait_ms) }
            }
            Request::Metrics => {
                let text = self.metrics_text();
                return self.answer(session, id, Reply::Metrics(text));
            }
            Request::Status => Ask::Status,
            Request::Processes { after, limit, filter } => Ask::Processes { after, limit, filter },
            Request::Modules => Ask::Modules,
            Request::Deaths(query) => {
                let uid = self.sessions.get(&session).map(|session| session.client.uid);
                let is_operator = |uid| self.config.access.is_operator(uid, own_uid());
                Ask::Deaths { query, all: uid.is_some_and(is_operator) }
            }
            Request::Signals { worker, signal } => Ask::Signals { worker, signal },
            Request::Kill { worker, signal } => Ask::Kill { worker, signal },
            Request::Explain(subject) => Ask::Explain(subject),
            Request::Logs { after, limit, level, wait_ms } => {
                let wanted = Wanted { after, limit, level, wait: millis(wait_ms) };
                return self.show_log(session, id, wanted);
            }
        };
        self.events.push_back(Event::Asked { session, id, ask });
    }

    fn recipe_for(
        &mut self,
        session: SessionId,
        spec: TemplateSpec,
        fds: Vec<OwnedFd>,
    ) -> Result<PoolSpec, Refusal> {
        let Some(session) = self.sessions.get(&session) else { return Err(Refusal::Cancelled) };
        let asker = Asker { client: &session.client, access: &self.config.access, own: own_uid() };
        self.recipes.of_client(spec, fds, asker)
    }

    /// Reads the configuration again; the core builds beside the old, and switches or refuses.
    pub(super) fn reload(&mut self, origin: Origin) {
        let why = match self.next_config() {
            Ok((config, notes)) => {
                info!("reloading");
                self.supervisor.reloading();
                let preload = self.recipes.of_configuration(&config);
                let settings = config.settings.clone();
                self.limiter.warn_of_unheld(&config);
                warn_of_idle(&config);
                let generation = self.core.generation() + 1;
                self.next = Some(Next { config, generation, notes });
                self.events.push_back(Event::Configured {
                    origin,
                    settings: Box::new(settings),
                    preload,
                });
                return;
            }
            Err(why) => {
                if self.next.is_none() {
                    self.reopen_audit();
                    self.events.push_back(Event::ReloadRefused { why: why.clone() });
                }
                why
            }
        };
        warn!("reload refused, everything is as it was: {why}");
        if let Some((session, id)) = origin {
            self.answer(session, id, Reply::Refused(Refusal::ReloadFailed(why)));
        }
    }

    /// What the file says now, with everything found that can be found without loading anything.
    fn next_config(&mut self) -> Result<(Config, Vec<String>), String> {
        if self.next.is_some() {
            return Err("a reload is already in progress".to_owned());
        }
        let mut config = self.config.reload().map_err(|findings| findings.to_string())?;
        config.check_modules().map_err(|findings| findings.to_string())?;
        self.open_audit(config.audit_log.as_deref())?;
        self.scrapes.prepare(&config).map_err(|error| error.to_string())?;
        let kept = self.config.kept_by_reload(&config).into_iter();
        let notes: Vec<_> =
            kept.map(|key| format!("`{key}` has changed, which takes a restart")).collect();
        notes.iter().for_each(|note| warn!("{note}"));
        // It is bound already, and templates come back to it.
        self.config.socket.clone_into(&mut config.socket);
        Ok((config, notes))
    }

    /// What templates of a generation are built by.
    pub(super) fn config_of(&self, generation: u32) -> &Config {
        match &self.next {
            Some(next) if generation >= next.generation => &next.config,
            _ => &self.config,
        }
    }

    /// The reload in progress is over.
    pub(super) fn end_reload(&mut self, switched: bool) {
        let Some(next) = self.next.take() else { return };
        self.supervisor.reloaded();
        self.scrapes.settle(switched, &self.poller);
        if switched {
            self.config = next.config;
            self.notes = next.notes;
            guard(&self.config.access);
            self.call_off_outdated();
        } else {
            self.recipes.of_configuration(&self.config);
            self.reopen_audit();
        }
    }

    /// The first configuration.
    pub(super) fn configure_first(&mut self) {
        guard(&self.config.access);
        warn_of_idle(&self.config);
        let preload = self.recipes.of_configuration(&self.config);
        let settings = self.config.settings.clone();
        self.events.push_back(Event::Configured {
            origin: None,
            settings: Box::new(settings),
            preload,
        });
    }

    /// A template of an earlier daemon offers itself.
    fn attach(&mut self, session: SessionId, id: RequestId, attach: Attach, fds: Vec<OwnedFd>) {
        let Some(client) = self.sessions.get(&session) else { return };
        let peer = client.peer.pid;
        let refuse = |why: &str| Reply::Refused(Refusal::BadRequest(why.to_owned()));
        let mut fds = fds.into_iter();
        let (Some(control), board, None) = (fds.next(), fds.next(), fds.next()) else {
            return self.answer(session, id, refuse("expected one or two descriptors"));
        };
        let board = match board.map(Board::of).transpose() {
            Ok(board) => board,
            Err(error) => return self.answer(session, id, refuse(&format!("its board: {error}"))),
        };
        if attach.pid != peer {
            return self.answer(session, id, refuse("only a template itself can attach"));
        }
        if is_hung_up(&control) {
            // The attempt ran out of time while its offer lay here: the template will come again,
            // and what it left is no sign that it ended.
            return self.answer(session, id, refuse("the other end of the control socket is gone"));
        }
        let Some(owner) = Owner::of_key(&attach.boot.key, &client.client, own_uid()) else {
            return self.answer(session, id, refuse("not a template of this user's pools"));
        };
        if self.templates.len() >= ATTACHED_MAX.max(2 * self.config.settings.templates_max) {
            return self.answer(session, id, refuse("too many templates are attached"));
        }
        let pidfd = match client.process() {
            Ok(pidfd) => pidfd,
            Err(error) => return self.answer(session, id, refuse(&error.to_string())),
        };
        let mut key = PoolKey(attach.boot.key.clone());
        let mut names = attach.boot.modules.iter().map(|m| m.name.clone()).collect::<Vec<_>>();
        names.extend(is_program(&key).then(|| attach.boot.name.clone()));
        // It runs as whoever shows it: the owner was held against that.
        let confinement =
            Confinement { uid: client.client.uid, names, forced: attach.boot.sandbox.clone() };
        if confinement.is_outdated(&self.config.sandbox) {
            // Its workers go on, but what it forks would be confined by the old configuration: it
            // serves nobody, and is dropped when it is idle.
            key.0.extend(b" (confined otherwise)");
        }
        let template = self.core.new_template_id();
        let _ = mp::sys::fd::set_nonblocking(control.as_fd(), true);
        let process = TemplateProcess::new(peer, attach.boot.name.clone(), control, pidfd);
        let process = process.with_board(board).confined(confinement);
        let process = process.with_offer(Offer { key, owner, attach });
        if let Err(error) = self.add_template(template, process) {
            self.core.forget_template_id(template);
            return self.answer(session, id, refuse(&error.to_string()));
        }
        // From its first word on it is one of ours.
        self.answer(session, id, Reply::Done);
    }
}
