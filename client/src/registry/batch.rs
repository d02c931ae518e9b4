//! Many calls of one task, one after the other, into one buffer: what workers of pools do.
//!
//! The loop is made for each task, so an item costs its decoding, its call and its encoding, and
//! no memory but what its types need. What an item does wrong hurts that item only.
//!
//! What must never be in here: where items come from, or how outcomes get to anybody.

use super::{Callable, Completion, Run, bad_arguments, decode_arguments, no_reducer, unencodable};
use crate::codec::Codec;
use crate::handles::{SharedFd, provide};
use crate::parcel::Parcel;
use crate::reducer;
use crate::runtime::panics;
use crate::task::{Appended, Task};
use mpserverd_proto::codec as wire;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{Outcome, Panic};

/// What the bytes of an outcome are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// The value that the task returned, or the one inside its `Ok`.
    Returned = 1,
    /// The value inside its `Err`.
    Failed = 2,
    /// A [`Panic`], in the codec of the protocol.
    Panicked = 3,
    /// A [`JobError`], in the codec of the protocol: it did not run, or its result cannot travel.
    Rejected = 4,
    /// Nothing: the first message of a worker that is ready for tasks.
    Ready = 5,
    /// A text: why it never will be.
    InitFailed = 6,
}

impl Tag {
    pub(crate) fn of(byte: u8) -> Option<Self> {
        use Tag::{Failed, InitFailed, Panicked, Ready, Rejected, Returned};
        let all = [Returned, Failed, Panicked, Rejected, Ready, InitFailed];
        all.into_iter().find(|tag| *tag as u8 == byte)
    }
}

/// Bytes before each outcome: its tag, and how many bytes follow, as `u32` in little endian.
pub(crate) const RECORD_BYTES: usize = 5;

/// How a call ended, but for the bytes of a value.
enum Ended {
    /// The value has been appended.
    Value(Appended),
    Panicked(Panic),
    Rejected(JobError),
}

/// Outcomes that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// All of them, each behind its tag and length.
    pub(crate) bytes: Vec<u8>,
    /// How many there are.
    pub(crate) count: u32,
    /// Where the last one begins.
    pub(crate) last: usize,
    /// Descriptors of the last one. The next one must not be added before they are taken.
    pub(crate) fds: Vec<SharedFd>,
}

impl Outcomes {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.last = 0;
        self.fds.clear();
    }

    /// Adds one whose bytes are there already.
    pub(crate) fn push(&mut self, tag: Tag, bytes: &[u8]) {
        let start = self.open();
        self.bytes.extend_from_slice(bytes);
        self.close(start, tag);
    }

    /// Adds one for a call that was refused.
    #[cold]
    pub(crate) fn reject(&mut self, error: JobError) {
        let start = self.open();
        self.end(start, Ended::Rejected(error));
    }

    #[inline]
    fn open(&mut self) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_BYTES]);
        start
    }

    #[inline]
    fn close(&mut self, start: usize, tag: Tag) {
        // A payload has 2 GiB at most, so its length fits.
        let length = (self.bytes.len() - start - RECORD_BYTES) as u32;
        let head = &mut self.bytes[start..start + RECORD_BYTES];
        head[0] = tag as u8;
        head[1..].copy_from_slice(&length.to_le_bytes());
        self.last = start;
        self.count += 1;
    }

    #[inline]
    fn end(&mut self, start: usize, ended: Ended) {
        let tag = match ended {
            Ended::Value(Appended { failed, fds }) => {
                if !fds.is_empty() {
                    self.fds = fds;
                }
                if failed { Tag::Failed } else { Tag::Returned }
            }
            Ended::Panicked(panic) => self.instead(start, Tag::Panicked, wire::encode(&panic)),
            Ended::Rejected(error) => self.instead(start, Tag::Rejected, wire::encode(&error)),
        };
        self.close(start, tag);
    }

    /// What replaces whatever a call has written.
    #[cold]
    fn instead(
        &mut self,
        start: usize,
        tag: Tag,
        encoded: Result<Vec<u8>, wire::CodecError>,
    ) -> Tag {
        self.bytes.truncate(start + RECORD_BYTES);
        // Only texts beyond 16 MiB cannot be encoded; who reads gets an empty one.
        self.bytes.extend_from_slice(&encoded.unwrap_or_default());
        tag
    }
}

/// Who watches a batch.
pub(crate) trait Pulse {
    /// Called before each item begins. It may take the outcomes so far, and must if the last one
    /// has descriptors.
    fn before(&mut self, item: u32, outcomes: &mut Outcomes);
}

/// Items of one task, and what comes out of them.
pub(crate) struct Batch<'a> {
    codec: Codec,
    rest: &'a [u8],
    next: u32,
    count: u32,
    fds: Vec<SharedFd>,
    outcomes: &'a mut Outcomes,
    pulse: &'a mut dyn Pulse,
}

impl<'a> Batch<'a> {
    /// So many items: one is all of `body`, several have a length each, as `u32` in little endian.
    /// Their handles refer to `fds`, all of them.
    pub(crate) fn new(
        codec: Codec,
        (count, body): (u32, &'a [u8]),
        fds: Vec<SharedFd>,
        outcomes: &'a mut Outcomes,
        pulse: &'a mut dyn Pulse,
    ) -> Self {
        Self { codec, rest: body, next: 0, count, fds, outcomes, pulse }
    }

    /// The next item; an empty error if the lengths do not add up.
    #[inline]
    fn next(&mut self) -> Option<Result<&'a [u8], ()>> {
        if self.next == self.count {
            return None;
        }
        self.pulse.before(self.next, self.outcomes);
        self.next += 1;
        if self.count == 1 {
            return Some(Ok(self.rest));
        }
        let split = self
            .rest
            .split_first_chunk()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        Some(match split {
            Some((item, rest)) => {
                self.rest = rest;
                Ok(item)
            }
            None => {
                self.rest = &[];
                Err(())
            }
        })
    }

    /// The descriptors for the next item. The only one gets them for good.
    #[inline]
    fn handles(&mut self) -> Vec<SharedFd> {
        if self.count == 1 { std::mem::take(&mut self.fds) } else { self.fds.clone() }
    }

    /// Rejects all items that are left.
    pub(crate) fn reject(&mut self, error: &JobError) {
        while self.next().is_some() {
            self.outcomes.reject(error.clone());
        }
    }
}

fn malformed() -> JobError {
    JobError::Protocol("the lengths of the items contradict each other".to_owned())
}

/// Runs all items of a batch; made for each task.
pub(super) fn run_many<T: Task>(batch: &mut Batch<'_>) {
    let codec = batch.codec;
    if let Err(error) = reducer::check(codec) {
        return batch.reject(&no_reducer(error));
    }
    while let Some(item) = batch.next() {
        let handles = batch.handles();
        let start = batch.outcomes.open();
        let bytes = &mut batch.outcomes.bytes;
        let ended = match item {
            Ok(item) => panics::catch(|| run_one::<T>(codec, item, handles, bytes))
                .unwrap_or_else(Ended::Panicked),
            Err(()) => Ended::Rejected(malformed()),
        };
        batch.outcomes.end(start, ended);
    }
}

#[inline]
fn run_one<T: Task>(
    codec: Codec,
    item: &[u8],
    handles: Vec<SharedFd>,
    bytes: &mut Vec<u8>,
) -> Ended {
    let decode = || decode_arguments::<T>(codec, item);
    // Without a scope no handle finds a descriptor either.
    let args = if handles.is_empty() { decode() } else { provide(handles, decode) };
    match args {
        Err(reason) => Ended::Rejected(bad_arguments::<T>(reason)),
        Ok(args) => match T::append(codec, T::call(args), bytes) {
            Ok(appended) => Ended::Value(appended),
            Err(error) => Ended::Rejected(unencodable(error)),
        },
    }
}

impl Callable {
    /// Calls it with each of the items.
    pub(crate) fn run_many(&self, batch: &mut Batch<'_>) {
        match &self.run {
            Run::Native(entry) => (entry.run_many)(batch),
            Run::Foreign(_) => self.run_foreign(batch),
        }
    }

    fn run_foreign(&self, batch: &mut Batch<'_>) {
        while let Some(item) = batch.next() {
            let fds = batch.handles();
            let Completion { outcome, payload } = match item {
                Ok(item) => self.call(batch.codec, Parcel { bytes: item.to_vec(), fds }, &[]),
                Err(()) => Completion::rejected(malformed()),
            };
            let outcomes = &mut *batch.outcomes;
            let start = outcomes.open();
            let ended = match outcome {
                Outcome::Panicked(panic) => Ended::Panicked(panic),
                Outcome::Rejected(error) => Ended::Rejected(error),
                Outcome::Returned | Outcome::Failed { .. } | Outcome::DeadlineExceeded { .. } => {
                    outcomes.bytes.extend_from_slice(&payload.bytes);
                    let failed = !matches!(outcome, Outcome::Returned);
                    Ended::Value(Appended { failed, fds: payload.fds })
                }
            };
            outcomes.end(start, ended);
        }
    }
}
