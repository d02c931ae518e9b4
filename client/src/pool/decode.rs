//! Outcomes as values: what came from a worker, read by who wants it.
//!
//! A user's `Deserialize` runs here, on the thread that asked; its panic costs that outcome only.

use super::channel::Tag;
use super::engine::{Arrived, Call};
use super::error::{MapError, TaskFailure};
use crate::codec::CodecError;
use crate::handles::{SharedFd, provide};
use crate::runtime::panics;
use crate::straight;
use crate::task::Task;
use mpserverd_proto::codec as wire;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Panic;
use std::collections::BTreeMap;

/// One outcome.
fn outcome<T: Task>(tag: Tag, bytes: &[u8], fds: &[SharedFd]) -> Result<T::Output, TaskFailure> {
    let undecodable = |source| TaskFailure::Undecodable { source, bytes: bytes.to_vec() };
    let failed = match tag {
        Tag::Returned => false,
        Tag::Failed => true,
        Tag::Panicked => {
            let panic = wire::decode::<Panic>(bytes).map_err(undecodable)?;
            return Err(TaskFailure::Panicked(panic));
        }
        Tag::Rejected => {
            let error = wire::decode::<JobError>(bytes).map_err(undecodable)?;
            return Err(TaskFailure::Rejected(error));
        }
        Tag::Ready | Tag::InitFailed => {
            let what = "the message of a worker that starts".to_owned();
            return Err(undecodable(CodecError::Malformed(what)));
        }
    };
    if !failed && let Some(output) = straight::read(bytes) {
        return Ok(output);
    }
    let decode = || T::decode(failed, bytes);
    let decoded =
        panics::catch(
            || {
                if fds.is_empty() { decode() } else { provide(fds.iter().cloned(), decode) }
            },
        );
    match decoded {
        Ok(decoded) => decoded.map_err(undecodable),
        Err(Panic { message, .. }) => {
            let what = format!("its `Deserialize` panicked: {message}");
            Err(undecodable(CodecError::Malformed(what)))
        }
    }
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
            for (index, (tag, bytes)) in (*first..).zip(answer.items()) {
                each(
                    index,
                    match but {
                        Some((at, fate)) if *at == index => Err(fate.failure()),
                        _ => outcome::<T>(tag, bytes, &answer.fds),
                    },
                );
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
    /// Those that are results: nothing else takes room, as a failure is many times as large.
    results: Vec<Option<R>>,
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
        let failures = &mut self.failures;
        let mut failure = |index| failures.remove(&index).unwrap_or_else(&missing);
        let results = (0..).zip(self.results);
        results.map(|(index, result)| result.ok_or_else(|| failure(index))).collect()
    }

    /// All of so many, or the first that is no result.
    pub(super) fn finish(
        mut self,
        count: u64,
        missing: impl Fn() -> TaskFailure,
    ) -> Result<Vec<R>, MapError> {
        self.results.resize_with(count as usize, || None);
        match self.results.iter().position(Option::is_none) {
            None => Ok(self.results.into_iter().flatten().collect()),
            Some(index) => {
                let index = index as u64;
                let error = self.failures.remove(&index).unwrap_or_else(missing);
                Err(MapError { index, error })
            }
        }
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
