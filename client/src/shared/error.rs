//! What can go wrong when memory is shared.

use std::io;

/// Why a shared object could not be made, or could not be taken from a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The system refused.
    #[error("{object}: {call}: {source}")]
    System {
        /// What was to be made.
        object: &'static str,
        /// The call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A size that cannot be.
    #[error("{object}: {what}")]
    Size {
        /// What was to be made.
        object: &'static str,
        /// What was wrong with it.
        what: String,
    },
    /// The descriptor that came is not memory of ours.
    #[error(
        "{object}: the descriptor that came with it is no shared memory of this library: {why}"
    )]
    Foreign {
        /// What was expected.
        object: &'static str,
        /// How it showed.
        why: &'static str,
    },
    /// It comes from another pid namespace, where the deaths of its users cannot be seen.
    #[error("{object}: it was made in another pid namespace, whose processes cannot be seen here")]
    OtherNamespace {
        /// What was expected.
        object: &'static str,
    },
    /// There is something else at that place, or another version of it.
    #[error("{object}: there is no such object at that place of the memory")]
    Damaged {
        /// What was expected.
        object: &'static str,
    },
}

impl ShareError {
    pub(crate) fn system(object: &'static str, call: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { object, call, source }
    }
}

impl From<ShareError> for io::Error {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::System { source, .. } => source,
            ShareError::Size { .. } => Self::new(io::ErrorKind::InvalidInput, error),
            _ => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
