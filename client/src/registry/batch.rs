//! Many calls of one task, one after the other, into one buffer: what workers of pools do.
//!
//! The loop is made for each task, so an item costs its decoding, its call and its encoding, and
//! no memory but what its types need. What an item does wrong hurts that item only.
//!
//! What must never be in here: where items come from, or how outcomes get to anybody.

use super::{Callable, Completion, Run, bad_arguments, decode_arguments, unencodable};
use crate::codec::Codec;
use crate::handles::{SharedFd, provide};
use crate::parcel::Parcel;
use crate::runtime::panics;
use crate::straight;
use crate::task::{Buffer, Task};
use mpserverd_proto::codec as wire;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Outcome;
use serde::Serialize;

/// What the bytes of an outcome are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// The value that the task returned, or the one inside its `Ok`.
    Returned = 1,
    /// The value inside its `Err`.
    Failed = 2,
    /// A panic, in the codec of the protocol.
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

/// Outcomes that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// All of them, each behind its tag and length; the descriptors of the last one. The next one
    /// must not be added before those are taken.
    pub(crate) all: Buffer,
    /// How many there are.
    pub(crate) count: u32,
    /// Where the last one begins.
    pub(crate) last: usize,
}

impl Outcomes {
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.all.bytes.clear();
        self.all.fds.clear();
        self.count = 0;
        self.last = 0;
    }

    /// Adds one whose bytes are there already.
    pub(crate) fn push(&mut self, tag: Tag, bytes: &[u8]) {
        let start = self.open();
        self.all.bytes.extend_from_slice(bytes);
        self.close(start, tag);
    }

    /// Adds one for a call that was refused.
    #[cold]
    pub(crate) fn reject(&mut self, error: &JobError) {
        let start = self.open();
        self.instead(start, Tag::Rejected, error);
    }

    #[inline]
    fn open(&mut self) -> usize {
        let start = self.all.bytes.len();
        self.all.bytes.extend_from_slice(&[0; RECORD_BYTES]);
        start
    }

    #[inline]
    fn close(&mut self, start: usize, tag: Tag) {
        // A payload has 2 GiB at most, so its length fits.
        let length = (self.all.bytes.len() - start - RECORD_BYTES) as u32;
        if let Some([own, place @ ..]) = self.all.bytes[start..].first_chunk_mut::<RECORD_BYTES>() {
            *own = tag as u8;
            *place = length.to_le_bytes();
        }
        self.last = start;
        self.count += 1;
    }

    /// Closes one with something else than a call has written.
    #[cold]
    fn instead(&mut self, start: usize, tag: Tag, what: &impl Serialize) {
        self.all.bytes.truncate(start + RECORD_BYTES);
        self.all.fds.clear();
        // Only texts beyond 16 MiB cannot be encoded; who reads gets an empty one.
        self.all.bytes.extend_from_slice(&wire::encode(what).unwrap_or_default());
        self.close(start, tag);
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
    is_malformed: bool,
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
        Self { codec, rest: body, next: 0, count, fds, is_malformed: false, outcomes, pulse }
    }

    /// The next item. If the lengths do not add up, it is the last whose bytes are right.
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.next == self.count {
            return None;
        }
        self.pulse.before(self.next, self.outcomes);
        self.next += 1;
        if self.count == 1 {
            return Some(self.rest);
        }
        let split = self
            .rest
            .split_first_chunk()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        match split {
            Some((item, rest)) => {
                self.rest = rest;
                Some(item)
            }
            None => {
                self.is_malformed = true;
                self.rest = &[];
                Some(&[])
            }
        }
    }

    /// The descriptors for an item. The only one gets them for good.
    #[cold]
    fn handles(&mut self) -> Vec<SharedFd> {
        if self.count == 1 { std::mem::take(&mut self.fds) } else { self.fds.clone() }
    }

    /// Rejects all items that are left.
    pub(crate) fn reject(&mut self, error: &JobError) {
        while self.next().is_some() {
            self.outcomes.reject(error);
        }
    }

    #[inline]
    fn check(&self) -> Result<(), Box<JobError>> {
        if self.is_malformed {
            let what = "the lengths of the items contradict each other";
            return Err(Box::new(JobError::Protocol(what.to_owned())));
        }
        Ok(())
    }
}

/// Runs all items of a batch; made for each task.
pub(super) fn run_many<T: Task>(batch: &mut Batch<'_>) {
    while let Some(item) = batch.next() {
        let start = batch.outcomes.open();
        // What the closure gives by itself would go through memory several times.
        let mut done = Ok(false);
        let caught = panics::catch(|| done = run_one::<T>(batch, item));
        match (caught, done) {
            (Ok(()), Ok(failed)) => {
                batch.outcomes.close(start, if failed { Tag::Failed } else { Tag::Returned });
            }
            (Ok(()), Err(error)) => batch.outcomes.instead(start, Tag::Rejected, &error),
            (Err(panic), _) => batch.outcomes.instead(start, Tag::Panicked, &panic),
        }
    }
}

/// Tells whether it returned an error.
#[inline]
fn run_one<T: Task>(batch: &mut Batch<'_>, item: &[u8]) -> Result<bool, Box<JobError>> {
    batch.check()?;
    let codec = batch.codec;
    let bincode = codec == Codec::Bincode;
    let read = if bincode { straight::read(item) } else { None };
    // Without a scope no handle finds a descriptor either.
    let args = match read {
        Some(args) => Ok(args),
        None if batch.fds.is_empty() => decode_arguments::<T>(codec, item),
        None => provide(batch.handles(), || decode_arguments::<T>(codec, item)),
    };
    let args = args.map_err(|reason| Box::new(bad_arguments::<T>(reason)))?;
    let output = T::call(args);
    if bincode && straight::append(&output, &mut batch.outcomes.all.bytes) {
        return Ok(false);
    }
    T::append(codec, output, &mut batch.outcomes.all).map_err(|error| Box::new(unencodable(*error)))
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
            let Completion { outcome, payload } = match batch.check() {
                Ok(()) => self.call(batch.codec, Parcel { bytes: item.to_vec(), fds }, &[]),
                Err(error) => Completion::rejected(*error),
            };
            let outcomes = &mut *batch.outcomes;
            let start = outcomes.open();
            match outcome {
                Outcome::Panicked(panic) => outcomes.instead(start, Tag::Panicked, &panic),
                Outcome::Rejected(error) => outcomes.instead(start, Tag::Rejected, &error),
                Outcome::Returned | Outcome::Failed { .. } | Outcome::DeadlineExceeded { .. } => {
                    outcomes.all.bytes.extend_from_slice(&payload.bytes);
                    outcomes.all.fds = payload.fds;
                    let failed = !matches!(outcome, Outcome::Returned);
                    outcomes.close(start, if failed { Tag::Failed } else { Tag::Returned });
                }
            }
        }
    }
}
