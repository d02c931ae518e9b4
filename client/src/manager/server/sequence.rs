//! Lists, arrays and iterators.

use super::answer::{Answer, Stored, index};
use super::resolve::Resolve;
use crate::manager::wire::{Failure, SequenceOp};
use std::collections::VecDeque;

/// A list may have so many elements.
const LENGTH_MAX: u64 = 1 << 32;

/// A list, or an array: a list of fixed length.
pub(super) struct Sequence {
    items: Vec<Stored>,
    version: u64,
    fixed: bool,
}

/// What is left of a snapshot.
pub(super) struct Iteration {
    items: VecDeque<Stored>,
}

impl Iteration {
    pub(super) fn of(items: impl IntoIterator<Item = Stored>) -> Self {
        Self { items: items.into_iter().collect() }
    }

    pub(super) fn next(&mut self, count: u64) -> Answer {
        let count = index(count).min(self.items.len());
        Answer::Many(self.items.drain(..count).collect())
    }
}

/// What an operation gives: an answer, or an iterator that is yet to become an object.
pub(super) enum Given {
    Answer(Answer),
    Iteration(Iteration),
}

impl From<Answer> for Given {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl Sequence {
    pub(super) fn new(items: Vec<Stored>, fixed: bool) -> Self {
        Self { items, version: 0, fixed }
    }

    fn missing(&self, index: u64) -> Failure {
        Failure::Index { index, length: self.items.len() as u64 }
    }

    fn at(&self, at: u64) -> Result<usize, Failure> {
        let place = index(at);
        if place < self.items.len() { Ok(place) } else { Err(self.missing(at)) }
    }

    fn range(&self, from: u64, to: u64) -> Result<std::ops::Range<usize>, Failure> {
        if to > self.items.len() as u64 || from > to {
            return Err(self.missing(to.max(from)));
        }
        Ok(index(from)..index(to))
    }

    /// About to change; its length too unless `keeps`.
    fn change(&mut self, keeps_length: bool) -> Result<(), Failure> {
        if self.fixed && !keeps_length {
            return Err(Failure::FixedLength);
        }
        self.version += 1;
        Ok(())
    }

    fn room(&self, more: u64) -> Result<(), Failure> {
        if (self.items.len() as u64).saturating_add(more) > LENGTH_MAX {
            return Err(Failure::Limit { what: "elements a list".to_owned(), limit: LENGTH_MAX });
        }
        Ok(())
    }

    pub(super) fn apply(
        &mut self,
        op: SequenceOp<'_>,
        from: &impl Resolve,
    ) -> Result<Given, Failure> {
        let done = match op {
            SequenceOp::Len => Answer::Count(self.items.len() as u64),
            SequenceOp::Get { index } => Answer::One(self.items[self.at(index)?].clone()),
            SequenceOp::Load => Answer::Version(self.version, self.items.clone()),
            SequenceOp::Slice { from, to } => {
                Answer::Many(self.items[self.range(from, to)?].to_vec())
            }
            SequenceOp::Count { item } => {
                let same = |one: &&Stored| *one.bytes == **item.bytes;
                Answer::Count(self.items.iter().filter(same).count() as u64)
            }
            SequenceOp::Index { item } => match self.find(item.bytes) {
                Some(at) => Answer::Count(at as u64),
                None => Answer::Yes(false),
            },
            SequenceOp::Iterate => {
                return Ok(Given::Iteration(Iteration::of(self.items.iter().cloned())));
            }
            op => return self.mutate(op, from).map(Given::Answer),
        };
        Ok(done.into())
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.items.iter().position(|one| *one.bytes == *bytes)
    }

    fn mutate(&mut self, op: SequenceOp<'_>, by: &impl Resolve) -> Result<Answer, Failure> {
        match op {
            SequenceOp::Clear => {
                self.change(false)?;
                self.items.clear();
            }
            SequenceOp::Reverse => {
                self.change(true)?;
                self.items.reverse();
            }
            SequenceOp::Repeat { times } => {
                self.change(times == 1)?;
                self.room((self.items.len() as u64).saturating_mul(times.saturating_sub(1)))?;
                let once = std::mem::take(&mut self.items);
                self.items = once.iter().cycle().take(once.len() * index(times)).cloned().collect();
            }
            SequenceOp::Store { version, items } => {
                if version != self.version {
                    return Err(Failure::Conflict);
                }
                self.change(items.len() == self.items.len())?;
                self.items = by.all(items)?;
            }
            SequenceOp::Set { index, item } => {
                let at = self.at(index)?;
                self.change(true)?;
                self.items[at] = by.resolve(item)?;
            }
            SequenceOp::Insert { index: at, item } => {
                self.change(false)?;
                self.room(1)?;
                // As in the reference, a place behind the end is the end.
                let at = index(at).min(self.items.len());
                self.items.insert(at, by.resolve(item)?);
            }
            SequenceOp::Delete { index } => {
                let at = self.at(index)?;
                self.change(false)?;
                self.items.remove(at);
            }
            SequenceOp::Extend { items } => {
                self.change(items.is_empty())?;
                self.room(items.len() as u64)?;
                self.items.extend(by.all(items)?);
            }
            SequenceOp::Pop { index } => {
                self.change(false)?;
                return Ok(Answer::Maybe(match index {
                    None => self.items.pop(),
                    Some(index) => Some(self.items.remove(self.at(index)?)),
                }));
            }
            SequenceOp::SetSlice { from, to, items } => {
                let range = self.range(from, to)?;
                self.change(items.len() == range.len())?;
                self.room(items.len() as u64)?;
                self.items.splice(range, by.all(items)?);
            }
            SequenceOp::Remove { item } => {
                let found = self.find(item.bytes);
                if let Some(at) = found {
                    self.change(false)?;
                    self.items.remove(at);
                }
                return Ok(Answer::Yes(found.is_some()));
            }
            // The others only read.
            _ => return Err(Failure::WrongType),
        }
        Ok(Answer::Done)
    }
}
