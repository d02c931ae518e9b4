//! The job of a worker, from its arguments to its end.

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::serve::{Server, damaged};
use crate::codec::Codec;
use crate::handles::SharedFd;
use crate::parcel::Parcel;
use crate::pool::channel::{ChannelState, STOP_ASKED, Tag, WorkerEnd};
use crate::registry::Completion;
use crate::runtime::load::Loaded;
use crate::shared::object::Shareable;
use crate::sys::attributes;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Outcome;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Name of the job. Its arguments are a [`WorkerEnd`] and an `Option` of an [`Initializer`]; it
/// returns `()`.
pub(crate) const WORKER: &str = "mp.pool.worker";

/// A task that a worker runs before all others.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Initializer {
    pub(crate) name: String,
    pub(crate) schema: u64,
    pub(crate) codec: Codec,
    pub(crate) args: Vec<u8>,
    pub(crate) fds: Vec<SharedFd>,
}

/// What this process runs, if it is a worker of a pool.
static RUNNING: OnceLock<Running> = OnceLock::new();

/// The frame that runs.
#[derive(Debug)]
pub(super) struct Running {
    channel: Shareable<ChannelState>,
    frame: AtomicU32,
}

impl Running {
    pub(super) fn new(channel: Shareable<ChannelState>) -> Self {
        Self { channel, frame: AtomicU32::new(0) }
    }

    #[inline]
    pub(super) fn set(&self, frame: u32) {
        self.frame.store(frame, Ordering::Relaxed);
    }

    pub(super) fn is_asked_to_stop(&self) -> bool {
        let frame = self.frame.load(Ordering::Relaxed);
        frame != 0 && self.channel.stop.load(Ordering::Acquire) == STOP_ASKED | u64::from(frame)
    }
}

/// Whether the task of a pool that runs in this process was asked to stop: its result is not wanted
/// any more, because it was cancelled, its deadline passed or its pool was terminated.
///
/// A task that looks at this now and then, and returns soon when it is true, gets away without its
/// worker being killed. It may be called by any thread of the worker, and costs two loads. Outside
/// a worker of a pool, and in tasks of modules, it is false.
///
/// ```
/// use mpserverd_client as mp;
///
/// #[mp::task]
/// fn search(from: u64, to: u64) -> Option<u64> {
///     (from..to).take_while(|_| !mp::pool::is_cancelled()).find(|n| n % 65_537 == 0)
/// }
/// assert_eq!(search(1, 100), None);
/// ```
#[must_use]
pub fn is_cancelled() -> bool {
    RUNNING.get().is_some_and(Running::is_asked_to_stop)
}

/// The job.
pub(crate) fn run(loaded: &'static Loaded, args: Parcel) -> Completion {
    attributes::ignore_interrupt();
    let protocol = |what: String| Completion::rejected(JobError::Protocol(what));
    let (end, initializer) = match args.unpack::<(WorkerEnd, Option<Initializer>)>(Codec::Bincode) {
        Ok(args) => args,
        Err(error) => return protocol(error.to_string()),
    };
    let (memory, socket, desk) = match end.open() {
        Ok(parts) => parts,
        Err(what) => return protocol(what),
    };
    let running = RUNNING.get_or_init(|| Running::new(memory.state.clone()));
    let inbox = Inbox::new(memory.clone(), socket.clone());
    let mut outbox = Outbox::new(memory.clone(), socket, desk);
    let failure = initializer.and_then(|initializer| initialize(loaded, initializer));
    let (tag, text) = match &failure {
        None => (Tag::Ready, ""),
        Some(text) => (Tag::InitFailed, text.as_str()),
    };
    if outbox.send_own(tag, text).is_err() {
        return damaged();
    }
    match failure {
        Some(message) => Completion {
            outcome: Outcome::Failed { message: format!("initializer: {message}") },
            payload: Parcel::default(),
        },
        None => Server::new(memory, inbox, outbox, &loaded.registry, running).serve(),
    }
}

/// Runs the initializer; a text if it fails.
fn initialize(loaded: &'static Loaded, initializer: Initializer) -> Option<String> {
    let Initializer { name, schema, codec, args, fds } = initializer;
    let task = match loaded.registry.find(&name, schema) {
        Ok(task) => task,
        Err(error) => return Some(error.to_string()),
    };
    match task.call(codec, Parcel { bytes: args, fds }, &[]).outcome {
        Outcome::Returned => None,
        Outcome::Failed { message } => Some(message),
        Outcome::Panicked(panic) => Some(match panic.location {
            Some(location) => format!("panicked at {location}: {}", panic.message),
            None => format!("panicked: {}", panic.message),
        }),
        Outcome::Rejected(error) => Some(error.to_string()),
        Outcome::DeadlineExceeded { limit_ms } => Some(format!("exceeded {limit_ms} ms")),
    }
}
