//! What can go wrong with connections and listeners.

use super::address::Address;
use crate::codec::CodecError;
use crate::error::{AuthenticationError, BufferTooShort, ProcessError, TimeoutError};
use std::io;
use std::time::Duration;

/// Why a message was not sent or received, or a connection not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// It was closed on this side.
    #[error("{object}: it is closed")]
    Closed {
        /// The type of the object.
        object: &'static str,
    },
    /// The peer closed it, or died, and nothing is left to be read.
    #[error("Connection: the peer has closed it")]
    Eof,
    /// The peer closed it, or died, in the middle of a message.
    #[error("Connection: the peer closed it in the middle of a message")]
    EofInMessage,
    /// Nobody is left who could read what is sent.
    #[error("Connection: nobody reads the other end any more")]
    BrokenPipe,
    /// It goes the other way only, or can no longer go this way.
    #[error("Connection: it is {is}")]
    WrongDirection {
        /// `read-only` or `write-only`.
        is: &'static str,
    },
    /// An earlier message could only be sent in part, so what follows would be taken for the rest
    /// of it.
    #[error("Connection: it cannot be written any more, a message was cut off")]
    Cut,
    /// The message is longer than the caller would take. Its bytes are still in the stream, so
    /// nothing can be received any more.
    #[error("Connection: a message of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// How long the peer says it is.
        length: u64,
        /// What was to be taken.
        limit: u64,
    },
    /// What came is no length of a message. Nothing can be received any more.
    #[error("Connection: {0} is no length of a message")]
    BadLength(
        /// What came.
        i64,
    ),
    /// An offset or a size beyond the buffer.
    #[error("Connection: {0}")]
    Bounds(&'static str),
    /// The message did not fit; it is in here.
    #[error(transparent)]
    BufferTooShort(#[from] BufferTooShort),
    /// Nothing came, or could be sent, in time. Nothing is lost: a message that has come in part
    /// is gone on with by the next call, and of one to be sent nothing was sent.
    #[error(transparent)]
    TimedOut(#[from] TimeoutError),
    /// The time passed when a part of the message was sent. The connection cannot be written any
    /// more.
    #[error("Connection: only {sent} of {length} bytes were sent within {timeout:?}")]
    TimedOutInMessage {
        /// Bytes that are gone, those of the length before the message included.
        sent: u64,
        /// How many there were.
        length: u64,
        /// The time that was given.
        timeout: Duration,
    },
    /// The value has no encoding, or what came is none of this type.
    #[error("Connection: {0}")]
    Codec(#[from] CodecError),
    /// The two ends encode values by different reducers, or versions of one. The message is gone,
    /// the connection goes on.
    #[error(
        "Connection: the peer sends values by the reducer `{theirs}`, and this end takes those by \
         `{ours}`"
    )]
    ReducerMismatch {
        /// The reducer of this end.
        ours: String,
        /// The one of the message.
        theirs: String,
    },
    /// Descriptors of the message were lost, for there is no room for them in this process. The
    /// connection goes on.
    #[error(
        "Connection: a message came with descriptors that this process has no room for: raise \
         RLIMIT_NOFILE (`ulimit -n`)"
    )]
    DescriptorsLost,
    /// The message came with fewer descriptors than it says. The connection goes on.
    #[error("Connection: {came} of {announced} descriptors came with the message")]
    DescriptorsMissing {
        /// What the message says.
        announced: usize,
        /// What came.
        came: usize,
    },
    /// Only a Unix socket carries descriptors.
    #[error("Connection: {count} descriptors cannot travel over {over}, only over a Unix socket")]
    NoDescriptorsHere {
        /// How many are in the value.
        count: usize,
        /// What the connection is.
        over: &'static str,
    },
    /// More descriptors than one message may carry.
    #[error("Connection: {count} descriptors exceed the limit of {limit} a message")]
    TooManyDescriptors {
        /// How many are in the value.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A message has come in part: the connection can only be used where the rest of it arrives.
    #[error("Connection: it is in the middle of a message")]
    InMessage,
    /// One of both sides does not know the key.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The peer did not say in time who it is.
    #[error("the peer did not authenticate itself within {0:?}")]
    Handshake(
        /// The time that it had.
        Duration,
    ),
    /// Nobody could be reached.
    #[error("{address}: {source}")]
    Connect {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody can listen there.
    #[error("{address}: {source}")]
    Bind {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl ConnectionError {
    /// Whether there is no peer any more: it has closed the connection or died.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Eof | Self::EofInMessage | Self::BrokenPipe)
    }

    fn kind(&self) -> io::ErrorKind {
        use io::ErrorKind;
        match self {
            Self::Eof | Self::EofInMessage => ErrorKind::UnexpectedEof,
            Self::BrokenPipe | Self::Cut => ErrorKind::BrokenPipe,
            Self::TimedOut(_) | Self::TimedOutInMessage { .. } | Self::Handshake(_) => {
                ErrorKind::TimedOut
            }
            Self::Authentication(_) => ErrorKind::PermissionDenied,
            Self::Connect { source, .. } | Self::Bind { source, .. } => source.kind(),
            Self::TooLong { .. }
            | Self::BadLength(_)
            | Self::Codec(_)
            | Self::ReducerMismatch { .. }
            | Self::DescriptorsMissing { .. } => ErrorKind::InvalidData,
            Self::DescriptorsLost => ErrorKind::Other,
            _ => ErrorKind::InvalidInput,
        }
    }
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::System(source) => source,
            other => Self::new(other.kind(), other),
        }
    }
}

impl From<ConnectionError> for ProcessError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::BufferTooShort(error) => Self::BufferTooShort(error),
            ConnectionError::Authentication(error) => Self::Authentication(error),
            ConnectionError::TimedOut(error) => Self::Timeout(error),
            other => Self::System(other.into()),
        }
    }
}
