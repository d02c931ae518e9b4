//! One value that changes.

use super::answer::{Answer, Stored};
use super::resolve::Resolve;
use crate::manager::wire::{CellOp, Failure};

/// A value and how often it has changed.
pub(super) struct Cell {
    value: Stored,
    version: u64,
}

impl Cell {
    pub(super) fn new(value: Stored) -> Self {
        Self { value, version: 0 }
    }

    fn replace(&mut self, value: Stored) -> Stored {
        self.version += 1;
        std::mem::replace(&mut self.value, value)
    }

    pub(super) fn apply(&mut self, op: CellOp<'_>, from: &impl Resolve) -> Result<Answer, Failure> {
        Ok(match op {
            CellOp::Load => Answer::Version(self.version, vec![self.value.clone()]),
            CellOp::Set { item } => {
                self.replace(from.resolve(item)?);
                Answer::Done
            }
            CellOp::Swap { item } => Answer::One(self.replace(from.resolve(item)?)),
            CellOp::Store { version, .. } if version != self.version => {
                return Err(Failure::Conflict);
            }
            CellOp::Store { item, .. } => {
                self.replace(from.resolve(item)?);
                Answer::Done
            }
            CellOp::CompareExchange { current, new } => {
                let same = *self.value.bytes == **current.bytes;
                if same {
                    self.replace(from.resolve(new)?);
                }
                Answer::Yes(same)
            }
        })
    }
}
