//! What can go wrong with managers and proxies.

use super::wire::{Cause, Failure};
use crate::codec::CodecError;
use crate::connection::{Address, ConnectionError};
use crate::error::{AuthenticationError, ProcessError, StartError, TimeoutError};
use crate::queue::{JoinError, TooManyTasksDone};
use crate::shared::ShareError;
use crate::sync::{BrokenBarrier, SyncError};
use serde::{Deserialize, Serialize};

/// What went wrong in a method or constructor of a user's type, in the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind}{}: {message}", location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default())]
pub struct RemoteError {
    /// `panic`, or the type of the error.
    pub kind: String,
    /// What it said.
    pub message: String,
    /// Where it panicked.
    pub location: Option<String>,
    /// The backtrace of a panic, if the server captures them (`RUST_BACKTRACE`).
    pub backtrace: Option<String>,
}

/// Why a manager or a proxy did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The server process could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server process ended before it served.
    #[error("the server did not come up: {0}")]
    Server(#[source] ProcessError),
    /// The initializer failed, so there is no server.
    #[error("the initializer failed: {0}")]
    Initializer(
        /// What it said.
        String,
    ),
    /// The server cannot be reached, or cannot listen.
    #[error(transparent)]
    Connection(ConnectionError),
    /// One of both sides does not know the key.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The server has ended, or was killed.
    #[error("the manager at {address} is gone")]
    Gone {
        /// Where it was.
        address: Address,
    },
    /// Another server is at that address by now.
    #[error("the manager at {address} is gone, and another one is there")]
    Replaced {
        /// Where it was.
        address: Address,
    },
    /// The server speaks another version of the protocol.
    #[error("the manager speaks version {0} of the protocol, this program another one")]
    Version(
        /// What it speaks.
        u32,
    ),
    /// The time passed before the server answered.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    /// A value has no encoding, or what came is none of that type.
    #[error("{proxy}: {source}")]
    Codec {
        /// The type of the proxy.
        proxy: &'static str,
        /// What was wrong with it.
        source: CodecError,
    },
    /// The server does not have the object (any more).
    #[error("{proxy}: the server has no such object (any more)")]
    NoObject {
        /// The type of the proxy.
        proxy: &'static str,
    },
    /// The object is none of that type.
    #[error("{proxy}: the object is of another type")]
    WrongType {
        /// The type of the proxy.
        proxy: &'static str,
    },
    /// Nothing was published under that name.
    #[error("nothing is published under that name")]
    NoName,
    /// The server has no such type, constructor or method.
    #[error("the server knows no {name}{}", alike(near))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What it has that is called nearly so.
        near: Vec<String>,
    },
    /// There is no such element.
    #[error("{proxy}: no element {index} in a length of {length}")]
    Index {
        /// The type of the proxy.
        proxy: &'static str,
        /// What was asked for.
        index: u64,
        /// How many there are.
        length: u64,
    },
    /// An array keeps its length.
    #[error("{proxy}: its length is fixed")]
    FixedLength {
        /// The type of the proxy.
        proxy: &'static str,
    },
    /// There was no item in time: `queue.Empty`.
    #[error("{proxy}: empty")]
    Empty {
        /// The type of the proxy.
        proxy: &'static str,
    },
    /// There was no room in time: `queue.Full`.
    #[error("{proxy}: full")]
    Full {
        /// The type of the proxy.
        proxy: &'static str,
    },
    /// A lock, semaphore or condition was not used by its rules.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// A barrier does not let anybody through.
    #[error(transparent)]
    Barrier(#[from] BrokenBarrier),
    /// `task_done` was called too often.
    #[error(transparent)]
    TasksDone(#[from] TooManyTasksDone),
    /// A `join` did not simply return.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Others changed the object at each of so many attempts to change it.
    #[error("{proxy}: others changed it during each of {attempts} attempts")]
    Contended {
        /// The type of the proxy.
        proxy: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// More of something than the server keeps.
    #[error("the server has a limit of {limit} {what}")]
    Limit {
        /// Of what.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A method panicked while it could change the object. See
    /// [`make_consistent`](super::RemoteObject::make_consistent).
    #[error("{proxy}: a method panicked, so it may be half-changed")]
    Poisoned {
        /// The type of the proxy.
        proxy: &'static str,
    },
    /// A method or constructor failed in the server.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Shared memory.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// What the server said makes no sense.
    #[error("protocol violation by the manager: {0}")]
    Protocol(
        /// What was wrong.
        String,
    ),
}

fn alike(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; it has {}", near.join(", ")) }
}

impl ManagerError {
    /// Whether the server is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. } | Self::Replaced { .. })
    }

    /// Whether the time passed: of the call, or before there was an item or room in a queue.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Timeout(_)
                | Self::Empty { .. }
                | Self::Full { .. }
                | Self::Barrier(BrokenBarrier::TimedOut)
                | Self::Join(JoinError::TimedOut { .. })
        )
    }

    /// What a failure means to that proxy.
    pub(super) fn of(failure: Failure, proxy: &'static str) -> Self {
        match failure {
            Failure::Version(version) => Self::Version(version),
            Failure::NoObject => Self::NoObject { proxy },
            Failure::WrongType => Self::WrongType { proxy },
            Failure::NoName => Self::NoName,
            Failure::Unknown { name, near } => Self::Unknown { name, near },
            Failure::Index { index, length } => Self::Index { proxy, index, length },
            Failure::FixedLength => Self::FixedLength { proxy },
            Failure::Conflict => Self::Contended { proxy, attempts: 1 },
            Failure::Empty => Self::Empty { proxy },
            Failure::Full => Self::Full { proxy },
            Failure::Unfinished { items } => {
                let unfinished = usize::try_from(items).unwrap_or(usize::MAX);
                JoinError::TimedOut { queue: proxy, unfinished }.into()
            }
            Failure::NotHeld => SyncError::NotHeld { object: proxy }.into(),
            Failure::NotOwner => SyncError::NotOwner { object: proxy }.into(),
            Failure::OverRelease { limit } => {
                SyncError::OverRelease { object: proxy, limit }.into()
            }
            Failure::TooManyWaiters { limit } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                SyncError::TooManyWaiters { object: proxy, limit }.into()
            }
            Failure::Barrier(cause) => BrokenBarrier::from(cause).into(),
            Failure::TooManyTasksDone => TooManyTasksDone { queue: proxy }.into(),
            Failure::ItemsLost { items } => {
                let items = usize::try_from(items).unwrap_or(usize::MAX);
                JoinError::ItemsLost { queue: proxy, items }.into()
            }
            Failure::Limit { what, limit } => Self::Limit { what, limit },
            Failure::Poisoned => Self::Poisoned { proxy },
            Failure::Remote(error) => Self::Remote(error),
            Failure::Malformed(what) => Self::Protocol(what),
        }
    }
}

impl From<ConnectionError> for ManagerError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Authentication(error) => Self::Authentication(error),
            ConnectionError::TimedOut(error) => Self::Timeout(error),
            other => Self::Connection(other),
        }
    }
}

impl From<Cause> for BrokenBarrier {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::TimedOut => Self::TimedOut,
            Cause::Aborted => Self::Aborted,
            Cause::Reset => Self::Reset,
            Cause::ActionFailed => Self::ActionFailed,
            Cause::Died { pid } => Self::ParticipantDied { pid },
        }
    }
}
