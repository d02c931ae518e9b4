//! Doing what the core wants done.

use super::access::own_uid;
use super::exec::{self, Started};
use super::recipes::{self, Recipe};
use super::templates::{Confinement, TemplateProcess};
use super::{ServeError, Server};
use crate::core::{Action, Event, Peer, PoolKey, SessionId, Settings};
use mp::sys::board::{Board, SLOTS_MAX};
use mp::sys::code;
use mpserverd_proto::bounds::Birth;
use mpserverd_proto::client::{Grant, Reply};
use mpserverd_proto::codec;
use mpserverd_proto::error::{Fault, PreloadError, Stage};
use mpserverd_proto::ids::{PoolId, RequestId, TemplateId};
use mpserverd_proto::packet::Kind;
use mpserverd_proto::template::{Lessee, ModulePath, TemplateBoot, ToTemplate};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use tracing::{info, warn};

impl Server<'_> {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Reply { session, id, reply } => {
                let reply = self.completed(reply);
                self.answer(session, id, reply);
            }
            Action::Processes { session, id, report, filter } => {
                self.list(session, id, report, &filter);
            }
            Action::Grant { session, id, grant } => self.hand_over(session, id, grant),
            Action::Build { template, pool, key, generation, without, birth } => {
                let started = self.build(template, pool, &key, generation, &without, birth);
                if let Err(error) = started {
                    self.events.push_back(Event::TemplateNotStarted { template, error });
                }
            }
            Action::Fork { template, first, count } => {
                self.tell_leases(template);
                self.tell(template, &ToTemplate::Fork { first, count });
            }
            Action::Retire { template } => {
                self.tell_leases(template);
                self.tell(template, &ToTemplate::Retire);
            }
            Action::StopTemplate { template } => self.tell(template, &ToTemplate::Stop),
            Action::KillTemplate { template } => {
                if let Some(process) = self.templates.get(&template) {
                    process.kill();
                }
            }
            Action::ReleaseSpare { worker } => self.workers.release(worker),
            Action::Signal { worker, signal } => self.workers.signal(worker, signal),
            Action::Limit { worker, bounds } => self.limit(worker, &bounds),
            Action::Measure { worker, what } => self.measure(worker, what),
            Action::AskToEnd { worker, signal } => self.ask_to_end(worker, signal),
            Action::KillTree { worker } => self.kill_tree(worker),
            Action::Unlimit { worker, kill } => self.unlimit(worker, kill),
            Action::LookAtSlow { worker, after, leased } => {
                self.look_at_slow(worker, after, leased);
            }
            Action::ForgetPool { key } => self.recipes.forget(&key),
            Action::Settled { failed } => self.settled(&failed),
            Action::StartFailed { error } => self.fail(ServeError::Preload(error)),
            Action::ReloadEnded { switched } => self.end_reload(switched),
            Action::Proven => self.supervisor.proven(),
            Action::StopListening => {
                // Dropping it removes the socket file.
                self.cancel_upgrade();
                drop(self.listener.take());
                self.store.empty();
                self.supervisor.stopping();
                self.workers.end_idle();
            }
            Action::Finished => {
                self.end.get_or_insert(Ok(()));
            }
        }
    }

    /// Gives a spare to a client. If the client is gone by now, the spare ends with its socket.
    fn hand_over(&mut self, session: SessionId, id: RequestId, grant: Grant) {
        self.audit_grant(session, id, grant);
        let template = self.workers.template_of(grant.worker);
        let Some((spare, pidfd)) = self.workers.take_spare(grant.worker) else { return };
        let Some(client) = self.sessions.get_mut(&session) else { return };
        let Grant { worker, pid, .. } = grant;
        let Peer { pid: client_pid, uid: client_uid, .. } = client.peer;
        let fds = [spare.job.as_fd(), spare.status.as_fd(), pidfd];
        match client.answer(id, Reply::Lease(grant), &fds) {
            Ok(()) if client.wants_to_write() => self.write_session(session),
            Ok(()) => {}
            Err(fault) => {
                warn!(pid = client_pid, "cannot hand a worker over: {fault}");
                // It would wait in vain.
                self.close_session(session, &fault);
            }
        }
        if let Some(template) = template {
            self.note_lease(template, Lessee { worker, pid, client_pid, client_uid });
        }
    }

    fn build(
        &mut self,
        template: TemplateId,
        pool: PoolId,
        key: &PoolKey,
        generation: u32,
        without: &[String],
        birth: Birth,
    ) -> Result<(), PreloadError> {
        let Some(recipe) = self.recipes.get(key) else {
            return Err(PreloadError {
                module: String::from_utf8_lossy(&key.0).into_owned(),
                stage: Stage::Find,
                fault: Fault::NotFound { searched: Vec::new() },
            });
        };
        let config = self.config_of(generation);
        let modules = recipes::find_modules(recipe, without, &config.module_path)?;
        let Started { pid, control, pidfd } = exec::start(recipe, config.hugepages)?;
        let mut boot = self.boot(template, pool, key, generation, recipe, modules);
        boot.birth = birth;
        let board = self.new_board();
        let fd = board.as_ref().and_then(|board| board.fd().try_clone_to_owned().ok());
        let process = TemplateProcess::new(pid, recipe.name.clone(), control, pidfd);
        let confinement = Confinement {
            uid: recipe.runs_as(own_uid()),
            names: recipe.names(),
            forced: boot.sandbox.clone(),
        };
        let process = process.with_board(board).confined(confinement);
        let system = |error: &dyn std::fmt::Display| PreloadError {
            module: boot.name.clone(),
            stage: Stage::Exec,
            fault: Fault::System { call: "start".to_owned(), message: error.to_string() },
        };
        info!(%template, pid, name = boot.name, generation, "template started");
        self.add_template(template, process).map_err(|error| system(&error))?;
        let body = codec::encode(&boot).map_err(|error| system(&error))?;
        self.send_to_template(template, Kind::Boot, body, fd);
        self.events.push_back(Event::TemplateStarted { template, pid });
        Ok(())
    }

    /// A board with a place for every worker that one template may have. Without, certificates say
    /// less.
    fn new_board(&self) -> Option<Board> {
        let Settings { workers_max, spares_max, .. } = self.config.settings;
        let slots = workers_max.saturating_add(2 * u64::from(spares_max));
        match Board::new(u32::try_from(slots).unwrap_or(SLOTS_MAX)) {
            Ok(board) => Some(board),
            Err(error) => {
                warn!(%error, "a template has no board");
                None
            }
        }
    }

    fn boot(
        &self,
        template: TemplateId,
        pool: PoolId,
        key: &PoolKey,
        generation: u32,
        recipe: &Recipe,
        modules: Vec<ModulePath>,
    ) -> TemplateBoot {
        let config = self.config_of(generation);
        TemplateBoot {
            sandbox: config.sandbox.forced(recipe.runs_as(own_uid()), &recipe.names()),
            template,
            pool,
            key: key.0.clone(),
            generation,
            name: recipe.name.clone(),
            modules,
            socket: config.socket.as_os_str().as_bytes().to_vec(),
            orphan_grace_ms: config.orphan_grace.as_millis() as u64,
            canary_ms: config.canary_timeout.as_millis() as u64,
            birth: Birth::default(),
            catch_stderr: config.catch_stderr.catches(&recipe.names()),
        }
    }

    /// Every preloaded template has had its verdict: the service is ready.
    fn settled(&mut self, failed: &[PreloadError]) {
        for error in failed {
            warn!("preload: {error}");
        }
        info!(failed = failed.len(), "ready");
        self.launch.ready();
        self.supervisor.ready(failed.len());
        self.start_command();
        // Most of what a start takes is not needed again.
        code::let_go();
    }
}
