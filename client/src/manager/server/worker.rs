//! The server as a job of a worker.

use super::listen::{Server, Terms};
use crate::codec::Codec;
use crate::connection::{Address, Connection};
use crate::handles::SharedFd;
use crate::job_types::Outcome;
use crate::parcel::Parcel;
use crate::registry::Completion;
use crate::runtime::load::Loaded;
use mpserverd_proto::error::JobError;
use serde::{Deserialize, Serialize};

/// The name of the job.
pub(crate) const SERVER: &str = "mp.manager.server";

/// What the server runs before it serves.
#[derive(Serialize, Deserialize)]
pub(in crate::manager) struct Initializer {
    pub(in crate::manager) task: String,
    pub(in crate::manager) schema: u64,
    #[serde(with = "serde_bytes")]
    pub(in crate::manager) args: Vec<u8>,
    pub(in crate::manager) fds: Vec<SharedFd>,
}

/// The arguments of the job.
#[derive(Serialize, Deserialize)]
pub(in crate::manager) struct Job {
    pub(in crate::manager) terms: Terms,
    pub(in crate::manager) initializer: Option<Initializer>,
    /// Where it says how that went.
    pub(in crate::manager) ready: Connection,
}

/// How it went.
#[derive(Serialize, Deserialize)]
pub(in crate::manager) enum Ready {
    Serving(Address),
    InitializerFailed(String),
    Refused(String),
}

/// Serves until a client ends it.
pub(crate) fn serve_as_worker(loaded: &'static Loaded, args: Parcel) -> Completion {
    // What a terminal interrupts are the programs that use it.
    crate::sys::attributes::ignore_terminal();
    let job = match args.unpack::<Job>(Codec::Bincode) {
        Ok(job) => job,
        Err(error) => return Completion::rejected(JobError::Protocol(error.to_string())),
    };
    let Job { terms, initializer, ready } = job;
    // Whoever started this may be gone by now; its death ends this process anyway.
    let say = |how: &Ready| drop(ready.send(how));
    if let Some(Err(message)) = initializer.map(|initializer| initialize(loaded, initializer)) {
        say(&Ready::InitializerFailed(message));
        return returned();
    }
    match Server::bind(terms) {
        Ok(server) => {
            say(&Ready::Serving(server.address().clone()));
            server.serve_forever();
        }
        Err(error) => say(&Ready::Refused(error.to_string())),
    }
    returned()
}

fn returned() -> Completion {
    let payload = Parcel::pack(Codec::Bincode, &()).unwrap_or_default();
    Completion { outcome: Outcome::Returned, payload }
}

fn initialize(loaded: &Loaded, initializer: Initializer) -> Result<(), String> {
    let Initializer { task, schema, args, fds } = initializer;
    let task = loaded.registry.find(&task, schema).map_err(|error| error.to_string())?;
    match task.call(Codec::Bincode, Parcel { bytes: args, fds }, &[]).outcome {
        Outcome::Returned => Ok(()),
        Outcome::Failed { message } => Err(message),
        Outcome::Panicked(panic) => Err(format!("it panicked: {}", panic.message)),
        Outcome::Rejected(error) => Err(error.to_string()),
        Outcome::DeadlineExceeded { .. } => Err("its time passed".to_owned()),
    }
}
