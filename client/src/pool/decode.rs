//! Outcomes as values: what came from a worker, read by who wants it.
//!
//! A user's `Deserialize` runs here, on the thread that asked; its panic costs that outcome only.

use super::channel::Tag;
use super::engine::{Arrived, Call};
use super::error::{MapError, TaskFailure};
use super::raw::RawOutcome;
use crate::codec::CodecError;
use crate::handles::{SharedFd, provide};
use crate::runtime::panics;
use crate::straight;
use crate::task::Task;
use mpserverd_proto::codec as wire;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Panic;
use std::collections::BTreeMap;

/// One outcome. A `Deserialize` that panics goes through.
#[inline]
fn outcome<T: Task>(tag: Tag, bytes: &[u8], fds: &[SharedFd]) -> Result<T::Output, TaskFailure> {
    let failed = match tag {
        Tag::Returned => false,
        Tag::Failed => true,
        Tag::Panicked | Tag::Rejected | Tag::Ready | Tag::InitFailed => {
            return Err(refusal(tag, bytes));
        }
    };
    if !failed && let Some(output) = straight::read(bytes) {
        return Ok(output);
    }
    let decode = || T::decode(failed, bytes);
    let decoded = if fds.is_empty() { decode() } else { provide(fds.iter().cloned(), decode) };
    decoded.map_err(|source| TaskFailure::Undecodable { source, bytes: bytes.to_vec() })
}

/// An outcome that is no value.
#[cold]
fn refusal(tag: Tag, bytes: &[u8]) -> TaskFailure {
    let decoded = match tag {
        Tag::Panicked => wire::decode::<Panic>(bytes).map(TaskFailure::Panicked),
        Tag::Rejected => wire::decode::<JobError>(bytes).map(TaskFailure::Rejected),
        _ => Err(CodecError::Malformed("the message of a worker that starts".to_owned())),
    };
    decoded.unwrap_or_else(|source| TaskFailure::Undecodable { source, bytes: bytes.to_vec() })
}

/// Calls `each` with the number and the outcome of every item of what has arrived.
pub(super) fn unpack<T: Task>(
    arrived: &Arrived,
    mut each: impl FnMut(u64, Result<T::Output, TaskFailure>),
) {
    match arrived {
        Arrived::Fate { first, count, fate } => {
            for index in *first..first + count {
                each(index, Err(fate.failure()));
            }
        }
        Arrived::Answer { first, answer, but } => {
            let mut items = (*first..).zip(answer.items());
            let mut current = None;
            // All at once: a catch for each item would cost more than the item.
            while let Err(panic) = panics::catch(|| {
                for (index, (tag, bytes)) in items.by_ref() {
                    current = Some((index, bytes));
                    each(
                        index,
                        match but {
                            Some((at, fate)) if *at == index => Err(fate.failure()),
                            _ => outcome::<T>(tag, bytes, &answer.fds),
                        },
                    );
                }
            }) {
                let Some((index, bytes)) = current.take() else { return };
                let what = format!("its `Deserialize` panicked: {}", panic.message);
                let source = CodecError::Malformed(what);
                each(index, Err(TaskFailure::Undecodable { source, bytes: bytes.to_vec() }));
            }
        }
    }
}

/// The outcome of a call of one item that is over.
pub(super) fn one<T: Task>(call: &Call) -> Result<T::Output, TaskFailure> {
    let mut found = None;
    for arrived in call.all() {
        unpack::<T>(arrived, |_, outcome| found = Some(outcome));
    }
    found.unwrap_or_else(|| Err(closed(call)))
}

/// The outcomes of a call that is over, in order; the first that is no result in place of all.
pub(super) fn all<T: Task>(call: &Call) -> Result<Vec<T::Output>, MapError> {
    if let Some(fate) = call.closed() {
        return Err(MapError { index: 0, error: fate.failure() });
    }
    let mut outcomes = Gathered::<T::Output>::default();
    for arrived in call.all() {
        unpack::<T>(arrived, |index, outcome| outcomes.put(index, outcome));
    }
    outcomes.finish(call.tally().submitted, || closed(call))
}

/// The outcomes of a call that is over, in order, as they came. Descriptors in them are closed.
pub(super) fn raw(call: &Call) -> Vec<RawOutcome> {
    let mut outcomes = Gathered::default();
    for arrived in call.all() {
        match arrived {
            Arrived::Fate { first, count, fate } => {
                let all = *first..first + count;
                all.for_each(|index| outcomes.put(index, Err(fate.failure())));
            }
            Arrived::Answer { first, answer, but } => {
                for (index, (tag, bytes)) in (*first..).zip(answer.items()) {
                    let outcome = match (but, tag) {
                        (Some((at, fate)), _) if *at == index => Err(fate.failure()),
                        (_, Tag::Returned) => Ok((false, bytes.to_vec())),
                        (_, Tag::Failed) => Ok((true, bytes.to_vec())),
                        _ => Err(refusal(tag, bytes)),
                    };
                    outcomes.put(index, outcome);
                }
            }
        }
    }
    outcomes.each(call.tally().submitted, || closed(call))
}

/// Why a call that is over has no outcome.
pub(super) fn closed(call: &Call) -> TaskFailure {
    call.closed().map_or_else(
        || TaskFailure::Undeliverable("its outcome was lost".to_owned()),
        |fate| fate.failure(),
    )
}

/// Outcomes that come in any order.
#[derive(Debug)]
pub(super) struct Gathered<R> {
    results: Vec<Option<R>>,
    /// By number: few, as a rule, and each much larger than a result.
    failures: BTreeMap<u64, TaskFailure>,
}

impl<R> Default for Gathered<R> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<R> Gathered<R> {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { results: Vec::with_capacity(count), failures: BTreeMap::new() }
    }

    #[inline]
    pub(super) fn put(&mut self, index: u64, outcome: Result<R, TaskFailure>) {
        let result = match outcome {
            Ok(result) => Some(result),
            Err(failure) => {
                self.failures.insert(index, failure);
                None
            }
        };
        let index = index as usize;
        if index == self.results.len() {
            return self.results.push(result);
        }
        if index > self.results.len() {
            self.results.resize_with(index + 1, || None);
        }
        self.results[index] = result;
    }

    /// All of so many, whatever they are.
    pub(super) fn each(
        mut self,
        count: u64,
        missing: impl Fn() -> TaskFailure,
    ) -> Vec<Result<R, TaskFailure>> {
        self.results.resize_with(count as usize, || None);
        let mut failures = self.failures;
        let outcomes = (0..).zip(self.results).map(|(index, result)| {
            result.ok_or_else(|| failures.remove(&index).unwrap_or_else(&missing))
        });
        outcomes.collect()
    }

    /// All of so many, or the first that is no result.
    pub(super) fn finish(
        mut self,
        count: u64,
        missing: impl Fn() -> TaskFailure,
    ) -> Result<Vec<R>, MapError> {
        self.results.resize_with(count as usize, || None);
        if let Some(index) = self.results.iter().position(Option::is_none) {
            let index = index as u64;
            let error = self.failures.remove(&index).unwrap_or_else(missing);
            return Err(MapError { index, error });
        }
        Ok(self.results.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_no_result_counts() {
        let mut gathered = Gathered::default();
        gathered.put(2, Err(TaskFailure::Cancelled));
        gathered.put(0, Ok(1));
        gathered.put(1, Err(TaskFailure::Cancelled));
        let error = gathered.finish(4, || TaskFailure::Cancelled).unwrap_err();
        assert_eq!(error.index, 1);
    }

    #[test]
    fn what_is_missing_is_said_to_be() {
        let mut gathered = Gathered::default();
        gathered.put(1, Ok(7));
        let each = gathered.each(3, || TaskFailure::Cancelled);
        assert!(each[0].is_err() && matches!(each[1], Ok(7)) && each[2].is_err());
    }
}
