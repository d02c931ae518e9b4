//! What can go wrong when memory is shared.

use std::io;

/// Why a shared object could not be made, found, taken from a message or used as asked.
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
    /// It was made for a type of another size or alignment.
    #[error(
        "{object}: it holds values of {there} bytes aligned to {there_align}; `{expected}` has \
         {here} aligned to {here_align}"
    )]
    Layout {
        /// What was expected.
        object: &'static str,
        /// The type that this process expected in it.
        expected: &'static str,
        /// Size of that type.
        here: usize,
        /// Its alignment.
        here_align: usize,
        /// Size of what is in it.
        there: u64,
        /// Its alignment.
        there_align: u64,
    },
    /// There are no such elements.
    #[error("{object}: no elements {from}..{to} in a length of {length}")]
    OutOfRange {
        /// The object.
        object: &'static str,
        /// The first that was asked for.
        from: usize,
        /// Behind the last that was asked for.
        to: usize,
        /// How many there are.
        length: usize,
    },
    /// What was to be stored needs more room than there is.
    #[error("{object}: {bytes} bytes do not fit into {room}")]
    TooLong {
        /// The object.
        object: &'static str,
        /// What was to be stored.
        bytes: usize,
        /// What there is room for.
        room: usize,
    },
    /// Somebody died while it changed this, and nobody has said since that it is in order.
    #[error("{object}: a process died while it changed it, so it may be half-changed")]
    OwnerDied {
        /// The object.
        object: &'static str,
    },
    /// No segment can have that name.
    #[error("{object}: {name:?}: {why}")]
    Name {
        /// What was to be made or found.
        object: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name is taken.
    #[error("{object}: {name:?} exists already")]
    AlreadyExists {
        /// What was to be made.
        object: &'static str,
        /// The name.
        name: String,
    },
    /// Nothing has that name, or nothing any more.
    #[error("{object}: there is no {name:?}")]
    NotFound {
        /// What was to be found.
        object: &'static str,
        /// The name.
        name: String,
    },
    /// Somebody has made the memory shorter than it was.
    #[error("{object}: somebody has cut it off after {now} of its {size} bytes")]
    Truncated {
        /// The object.
        object: &'static str,
        /// Its size.
        size: usize,
        /// What is left.
        now: u64,
    },
    /// Bytes that should be text are none.
    #[error("{object}: item {index} should be text and is not valid UTF-8")]
    NotText {
        /// The object.
        object: &'static str,
        /// Which item.
        index: usize,
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
            ShareError::Size { .. }
            | ShareError::Name { .. }
            | ShareError::OutOfRange { .. }
            | ShareError::TooLong { .. } => Self::new(io::ErrorKind::InvalidInput, error),
            ShareError::AlreadyExists { .. } => Self::new(io::ErrorKind::AlreadyExists, error),
            ShareError::NotFound { .. } => Self::new(io::ErrorKind::NotFound, error),
            _ => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
