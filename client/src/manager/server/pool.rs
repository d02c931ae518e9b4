//! Pools, and results that are to come.
//!
//! The workers are processes of the server. Outcomes go from the thread of the pool's callbacks to
//! whoever waits for them.

use super::answer::{Answer, Outcome, Post, Stored};
use super::object::{Caller, WAITERS_MAX};
use crate::codec::{self, Codec};
use crate::context::{StartMethod, fixed_start_method, get_all_start_methods, get_context};
use crate::manager::error::RemoteError;
use crate::manager::wire::{Failure, PendingOp};
use crate::parcel::Parcel;
use crate::pool::raw::RawOutcome;
use crate::pool::{Pool, PoolError, TaskFailure};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many tasks have names that are remembered for as long as the server lives.
const NAMES_MAX: usize = 4096;

/// Outcome of a task that returned a value.
const RETURNED: u8 = 0;
/// Outcome of a task that returned an error.
const FAILED: u8 = 1;
/// Why there is neither.
const REFUSED: u8 = 2;

/// A pool.
pub(super) struct Workers {
    pool: Option<Pool>,
}

/// What the workers run first.
pub(super) struct Initializer {
    pub(super) name: String,
    pub(super) schema: u64,
    pub(super) args: Stored,
}

impl Workers {
    /// Makes a pool of so many workers, or of as many as there are processors. This takes a while.
    pub(super) fn start(processes: u64, initializer: Option<Initializer>) -> Result<Self, Failure> {
        let method = match fixed_start_method().unwrap_or(get_all_start_methods()[0]) {
            // The server has threads.
            StartMethod::Fork => StartMethod::Spawn,
            method => method,
        };
        let mut builder = get_context(method).pool();
        if processes > 0 {
            builder = builder.processes(usize::try_from(processes).unwrap_or(usize::MAX));
        }
        if let Some(Initializer { name, schema, args }) = initializer {
            let args = Parcel { bytes: args.bytes.to_vec(), fds: Vec::new() };
            builder = builder.initializer_raw((&name, schema, Codec::Bincode), Ok(args));
        }
        Ok(Self { pool: Some(builder.build().map_err(|error| refused(&error))?) })
    }

    pub(super) fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // It waits for the end of the workers, which nobody here may do.
        let Some(pool) = self.pool.take() else { return };
        pool.terminate();
        let thread = std::thread::Builder::new().name("pool end".to_owned());
        let _ = thread.spawn(move || drop(pool));
    }
}

/// A name for ever, as pools want it.
fn interned(name: &str) -> Result<&'static str, Failure> {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return Ok(known);
    }
    if names.len() >= NAMES_MAX || name.len() > mpserverd_proto::limits::NAME_BYTES_MAX {
        let limit = NAMES_MAX as u64;
        return Err(Failure::Limit { what: "names of tasks".to_owned(), limit });
    }
    let name: &'static str = name.to_owned().leak();
    names.insert(name);
    Ok(name)
}

/// Applies a task to each input; `done` gets the outcomes.
pub(super) fn run(
    pool: &Pool,
    (name, schema): (&str, u64),
    inputs: Vec<Stored>,
    done: impl FnOnce(Vec<Stored>) + Send + 'static,
) -> Result<(), Failure> {
    let name = interned(name)?;
    if inputs.is_empty() {
        done(Vec::new());
        return Ok(());
    }
    let bytes = inputs.iter().map(|input| input.bytes.to_vec()).collect();
    let settle = move |outcomes: Vec<RawOutcome>| {
        done(outcomes.into_iter().map(stored).collect());
        // What the arguments referred to was kept until now.
        drop(inputs);
    };
    pool.submit_raw(name, schema, bytes, settle).map_err(|error| refused(&error))
}

fn stored(outcome: RawOutcome) -> Stored {
    let (tag, value) = match outcome {
        Ok((false, value)) => (RETURNED, value),
        Ok((true, value)) => (FAILED, value),
        Err(failure) => {
            let error = remote(failure);
            (REFUSED, codec::encode(Codec::Bincode, &error).unwrap_or_default())
        }
    };
    let mut bytes = Vec::with_capacity(1 + value.len());
    bytes.push(tag);
    bytes.extend_from_slice(&value);
    Stored { bytes: Arc::from(bytes), refs: None }
}

fn remote(failure: TaskFailure) -> RemoteError {
    let kind = match &failure {
        TaskFailure::WorkerLost { .. } => "WorkerLost",
        TaskFailure::DeadlineExceeded(_) => "DeadlineExceeded",
        TaskFailure::Cancelled => "Cancelled",
        TaskFailure::Panicked(_) => "panic",
        TaskFailure::Rejected(_) => "Rejected",
        TaskFailure::Pool(_) => "PoolError",
        _ => "TaskFailure",
    };
    let kind = kind.to_owned();
    match failure {
        TaskFailure::Panicked(panic) => RemoteError {
            kind,
            message: panic.message,
            location: panic.location,
            backtrace: panic.backtrace,
        },
        other => RemoteError { kind, message: other.to_string(), location: None, backtrace: None },
    }
}

fn refused(error: &PoolError) -> Failure {
    Failure::Remote(RemoteError {
        kind: "PoolError".to_owned(),
        message: error.to_string(),
        location: None,
        backtrace: None,
    })
}

/// Waits for the end of the workers; false if the time passes first.
pub(super) fn join(pool: &Pool, timeout_ms: Option<u64>) -> Result<Answer, Failure> {
    let joined = match timeout_ms {
        None => pool.join(),
        Some(timeout) => pool.join_timeout(Duration::from_millis(timeout)),
    };
    match joined {
        Ok(()) => Ok(Answer::Yes(true)),
        Err(PoolError::Timeout(_)) => Ok(Answer::Yes(false)),
        Err(error) => Err(refused(&error)),
    }
}

/// Outcomes that are to come.
#[derive(Default)]
pub(super) struct Pending {
    outcomes: Option<Vec<Stored>>,
    waiting: Vec<Caller>,
}

impl Pending {
    pub(super) fn settle(&mut self, outcomes: Vec<Stored>, post: &mut Post) {
        for caller in self.waiting.drain(..) {
            post.answer(caller, Answer::Many(outcomes.clone()));
        }
        self.outcomes = Some(outcomes);
    }

    pub(super) fn apply(&mut self, op: PendingOp, caller: &Caller) -> Outcome {
        match (op, &self.outcomes) {
            (PendingOp::Ready, outcomes) => Ok(Some(Answer::Yes(outcomes.is_some()))),
            (PendingOp::Get, Some(outcomes)) => Ok(Some(Answer::Many(outcomes.clone()))),
            (PendingOp::Get, None) if self.waiting.len() < WAITERS_MAX => {
                self.waiting.push(caller.clone());
                Ok(None)
            }
            (PendingOp::Get, None) => Err(Failure::TooManyWaiters { limit: WAITERS_MAX as u64 }),
        }
    }

    pub(super) fn cancel(&mut self, session: u64, call: u64, post: &mut Post) {
        if let Some(at) = self.waiting.iter().position(|caller| caller.is(session, call)) {
            post.answer(self.waiting.remove(at), Answer::Yes(false));
        }
    }

    pub(super) fn gone(&mut self, session: u64) {
        self.waiting.retain(|caller| caller.session.id != session);
    }
}
