//! Going on as another program, in place: the same pid, the same children, the same sockets.
//!
//! | file | holds |
//! |---|---|
//! | [`binary`] | the file of the new program, and whether it is still the same |
//! | [`trial`] | running it to see what it says, without waiting |
//! | [`former`] | the file of the program before, which is given up late |
//! | [`image`] | what one image tells the next, and the descriptors that come along |
//! | [`exec`] | the step itself, and the way back if the system refuses it |
//! | [`resume`] | the other side: from an image to a daemon that serves |
//!
//! Until the step everything is as it was: the new program has to read the configuration
//! (`--check`), then a copy of the state (`--check-state`), each within a time and beside the daemon
//! that goes on. A reload in progress is waited for. What the step needs is a few milliseconds in
//! which nobody listens; clients wait in the socket.
//!
//! What must never be in here: a wait that blocks the loop, or a step after which only a part of the
//! daemon's possessions is known to somebody.

pub(super) mod binary;
pub(super) mod exec;
mod former;
pub(super) mod image;
mod resume;
#[cfg(test)]
mod tests;
mod trial;

pub use resume::{Handed, check_state};

use super::Server;
use super::poller::Source;
use crate::core::{Event, Origin};
use binary::Binary;
use mpserverd_proto::client::Reply;
use mpserverd_proto::error::Refusal;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::{info, warn};
use trial::Trial;

/// How far an upgrade is.
#[derive(Debug)]
enum Stage {
    /// The new program reads the configuration.
    Configuration(Trial),
    /// It reads a copy of the state.
    State(Trial),
    /// It may take over.
    Proven,
}

/// An upgrade in progress. Dropped, the new program's trial ends with it.
#[derive(Debug)]
pub(super) struct Upgrade {
    asker: Origin,
    binary: Binary,
    /// Asked for by path, so that the command line says so.
    named: bool,
    stage: Stage,
}

impl Upgrade {
    fn trial(&self) -> Option<&Trial> {
        match &self.stage {
            Stage::Configuration(trial) | Stage::State(trial) => Some(trial),
            Stage::Proven => None,
        }
    }

    /// When the new program must have answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.trial().map(Trial::deadline)
    }

    /// The child that tries the new program.
    pub(super) fn pid(&self) -> Option<u32> {
        self.trial().map(Trial::pid)
    }
}

impl Server<'_> {
    /// A client, or with `None` a signal, asks for another program.
    pub(super) fn upgrade(&mut self, asker: Origin, path: Option<PathBuf>) {
        if self.core.is_stopping() {
            return self.refuse_upgrade(asker, Refusal::ShuttingDown);
        }
        if let Err(why) = self.begin_upgrade(asker, path) {
            self.refuse_upgrade(asker, Refusal::UpgradeFailed(why));
        }
    }

    fn begin_upgrade(&mut self, asker: Origin, path: Option<PathBuf>) -> Result<(), String> {
        if self.upgrade.is_some() {
            return Err("an upgrade is already in progress".to_owned());
        }
        if self.launch.is_awaited() {
            return Err("the daemon is still starting".to_owned());
        }
        let named = path.is_some();
        let binary = Binary::find(path.as_ref().unwrap_or(&self.program))?;
        info!(binary = %binary.path().display(), "upgrade begins");
        let trial = Trial::of_configuration(&binary, &self.directory())?;
        self.watch(&trial)?;
        let stage = Stage::Configuration(trial);
        self.upgrade = Some(Upgrade { asker, binary, named, stage });
        self.events.push_back(Event::UpgradeBegan { origin: asker });
        Ok(())
    }

    /// Where relative paths of the command line begin.
    fn directory(&self) -> PathBuf {
        self.config.environment().directory.clone()
    }

    fn watch(&self, trial: &Trial) -> Result<(), String> {
        let watched = self.poller.add(trial.fd(), Source::Trial, false);
        watched.map_err(|error| format!("cannot watch the new program: {error}"))
    }

    /// The new program has answered, or the time for that is over.
    pub(super) fn on_trial(&mut self) {
        let Some(mut upgrade) = self.upgrade.take() else { return };
        let verdict = match upgrade.trial().and_then(Trial::verdict) {
            Some(verdict) => verdict,
            None => return self.upgrade = Some(upgrade),
        };
        let next = verdict.and_then(|()| match upgrade.stage {
            Stage::Configuration(_) => {
                let (state, proof) = self.dry_state().map_err(|error| error.to_string())?;
                let trial = Trial::of_state(&upgrade.binary, state, proof, &self.directory())?;
                self.watch(&trial)?;
                Ok(Stage::State(trial))
            }
            Stage::State(_) | Stage::Proven => Ok(Stage::Proven),
        });
        match next {
            Ok(stage) => {
                upgrade.stage = stage;
                self.upgrade = Some(upgrade);
            }
            Err(why) => self.refuse_upgrade(upgrade.asker, Refusal::UpgradeFailed(why)),
        }
    }

    /// Takes the step if it is time: between two events, with nothing half done.
    pub(super) fn upgrade_if_due(&mut self) {
        let is_proven = |upgrade: &mut Upgrade| matches!(upgrade.stage, Stage::Proven);
        if self.next.is_some()
            || !self.limiter.is_quiet()
            || !self.events.is_empty()
            || self.end.is_some()
        {
            return;
        }
        let Some(upgrade) = self.upgrade.take_if(is_proven) else { return };
        let Err(why) = self.step(&upgrade);
        self.refuse_upgrade(upgrade.asker, Refusal::UpgradeFailed(why));
    }

    /// The daemon goes down: nobody needs its next image.
    pub(super) fn cancel_upgrade(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            self.refuse_upgrade(upgrade.asker, Refusal::ShuttingDown);
        }
    }

    fn refuse_upgrade(&mut self, asker: Origin, why: Refusal) {
        warn!("{why}");
        if self.upgrade.is_none() {
            let (pause, error) = (Duration::ZERO, Some(why.to_string()));
            self.events.push_back(Event::UpgradeEnded { pause, error });
        }
        if let Some((session, id)) = asker {
            self.answer(session, id, Reply::Refused(why));
        }
    }
}

/// The words of this process's command line.
fn command_line() -> Vec<OsString> {
    std::env::args_os().collect()
}
