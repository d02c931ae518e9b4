//! Confining a worker: what its job asks for and what the daemon's configuration forces, in one
//! order, before any code of the task runs.
//!
//! | file | holds |
//! |---|---|
//! | [`spaces`] | namespaces: a private network, a private `/tmp` |
//! | [`files`] | paths, by Landlock |
//! | [`calls`] | system calls, by seccomp |
//! | [`permit`] | whether a job asks for more than the configuration leaves |
//!
//! # The order
//!
//! 1. Namespaces: mounting is what later steps forbid, and paths are meant as they are then.
//! 2. `no_new_privs`: no program that the task executes gets more than the worker has.
//! 3. Landlock, one layer for each description: all of them hold.
//! 4. Seccomp, one filter for all, last: it might deny what the steps before need.
//!
//! # Invariants
//!
//! Each of these holds for a thread and those that it starts. So it is done on the controller,
//! while that is the only thread, and the thread of the task is started afterwards; if there is
//! another thread, the job is refused. Whatever cannot be done is an error: a worker is confined
//! as described, or it runs nothing.

pub(crate) mod calls;
mod files;
mod permit;
mod spaces;

use super::verdict;
use mpserverd_proto::error::JobError;
use mpserverd_proto::sandbox::{Asked, Forced, Sandbox};
use std::fmt::Display;
use std::time::Duration;

/// How long a thread that was just joined may take to vanish.
const SETTLE_ROUNDS: u32 = 50;
const SETTLE_ROUND: Duration = Duration::from_millis(1);

/// What is to be enforced.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    layers: Vec<Sandbox>,
}

impl Plan {
    /// What a job comes to under a configuration.
    ///
    /// # Errors
    /// [`JobError::Protocol`] for a description that cannot be meant, [`JobError::SandboxForced`]
    /// for one that is looser than the configuration.
    pub(crate) fn make(asked: Asked, forced: &[Forced]) -> Result<Self, JobError> {
        asked.check().map_err(|what| JobError::Protocol(format!("sandbox: {what}")))?;
        permit::check(&asked, forced)?;
        crate::sandbox::inherit(asked.inherited);
        let forced = forced.iter().map(|forced| forced.sandbox.clone());
        let mut layers = forced.chain(asked.layers).collect::<Vec<_>>();
        layers.retain(|layer| !layer.is_empty());
        Ok(Self { layers })
    }

    /// Whether there is anything to enforce.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Confines this process, which must have one thread. What is described here holds for
    /// everything that the process does and starts from now on.
    ///
    /// # Errors
    /// [`JobError`]: which step failed. Nothing must run then.
    pub(crate) fn enforce(self) -> Result<Vec<Sandbox>, JobError> {
        if self.is_empty() {
            return Ok(self.layers);
        }
        be_alone()?;
        let network = self.layers.iter().any(|layer| layer.private_network);
        let tmp = self.layers.iter().any(|layer| layer.private_tmp);
        spaces::enter(network, tmp)?;
        nix::sys::prctl::set_no_new_privs()
            .map_err(|error| lacking("no_new_privs", "`no_new_privs` (Linux 3.5)", &error))?;
        for files in self.layers.iter().filter_map(|layer| layer.files.as_ref()) {
            files::restrict(files)?;
        }
        calls::deny(&calls::Denied::of(&self.layers, network || tmp))?;
        Ok(self.layers)
    }
}

/// Waits for threads that are about to be gone.
fn be_alone() -> Result<(), JobError> {
    for _ in 0..SETTLE_ROUNDS {
        if verdict::threads().len() == 1 {
            return Ok(());
        }
        std::thread::sleep(SETTLE_ROUND);
    }
    let names = verdict::threads().into_values().collect::<Vec<_>>();
    let message = format!(
        "it has {} threads ({}), of which only one could be confined: start them in the task, not \
         in an `after_fork` hook",
        names.len(),
        names.join(", ")
    );
    Err(failed("threads", &message))
}

fn failed(step: &str, error: &impl Display) -> JobError {
    JobError::Sandbox { step: step.to_owned(), message: error.to_string() }
}

fn lacking(step: &str, needs: &str, error: &impl Display) -> JobError {
    JobError::SandboxUnsupported {
        step: step.to_owned(),
        needs: needs.to_owned(),
        message: error.to_string(),
    }
}

/// What these words ask for.
#[cfg(test)]
fn of_words(words: &[&str]) -> mpserverd_proto::sandbox::Sandbox {
    let mut sandbox = mpserverd_proto::sandbox::Sandbox::default();
    words.iter().try_for_each(|word| sandbox.add(word)).unwrap();
    sandbox
}
