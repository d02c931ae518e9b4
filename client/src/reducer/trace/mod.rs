//! Where in a value something failed.
//!
//! | file | holds |
//! |---|---|
//! | `sink` | a serializer that writes nothing and notes who fails |
//! | `source` | a deserializer around another that does |

mod sink;
mod source;
#[cfg(test)]
mod tests;

pub(super) use sink::Sink;
pub(super) use source::{De, Stash};

use std::fmt;

/// A step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A field, or the content of a variant.
    Name(&'static str),
    /// A field without a name.
    Place(usize),
    /// An element of a sequence.
    Index(usize),
    /// An entry of a map.
    Entry(usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, ".{name}"),
            Self::Place(at) => write!(f, ".{at}"),
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Entry(at) => write!(f, "{{{at}}}"),
        }
    }
}

/// What failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    /// The way to it, from the inside outwards.
    path: Vec<Step>,
}

impl Failure {
    fn new(message: String) -> Self {
        Self { message, path: Vec::new() }
    }

    fn at(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// The way to it as text: `.jobs[2].log`.
    pub(super) fn place(&self) -> String {
        self.path.iter().rev().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl serde::ser::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}
