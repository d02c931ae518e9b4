//! The pool's end of a channel: receiving outcomes.

use super::message::{self, AnswerHead};
use super::parent::{Channel, Sent, What};
use super::{Damaged, Tag};
use crate::handles::SharedFd;
use crate::registry::batch::{Outcomes, RECORD_BYTES};
use crate::sys::attributes;
use mpserverd_proto::error::JobError;
use std::io;

/// Buffers larger than this are not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Outcomes of some items of a frame, or the first message of a worker: that has frame 0 and one
/// outcome.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The frame.
    pub(crate) frame: u32,
    /// The first of these items.
    pub(crate) first: u32,
    /// How many there are.
    pub(crate) count: u32,
    /// Descriptors of the handles in the outcome; several outcomes have none.
    pub(crate) fds: Vec<SharedFd>,
    bytes: Vec<u8>,
}

impl Answer {
    /// The outcomes, in order: what each is, and its bytes.
    pub(crate) fn items(&self) -> impl Iterator<Item = (Tag, &[u8])> {
        Records(&self.bytes)
    }

    fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.fds.clear();
    }

    /// In place of outcomes that did not come along.
    #[cold]
    fn reject(&mut self, error: &io::Error) {
        let limit = attributes::descriptor_limit();
        let mut outcomes = Outcomes::default();
        let error = JobError::Descriptors(format!(
            "those of a result could not be received: {error}; RLIMIT_NOFILE (`ulimit -n`) is \
             {limit}"
        ));
        for _ in 0..self.count {
            outcomes.reject(&error);
        }
        self.bytes = outcomes.all.bytes;
    }
}

/// Outcomes in bytes.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = (Tag, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<RECORD_BYTES>()?;
        let [tag, length @ ..] = *head;
        let (own, rest) = rest.split_at_checked(u32::from_le_bytes(length) as usize)?;
        self.0 = rest;
        Some((Tag::of(tag)?, own))
    }
}

/// Whether the bytes are so many outcomes and nothing else.
fn are_whole(bytes: &[u8], count: u32) -> bool {
    let mut records = Records(bytes);
    let all = (0..count).all(|_| records.next().is_some());
    all && records.0.is_empty()
}

impl Channel {
    /// Takes the next answer, if there is one; `into` is reused.
    ///
    /// # Errors
    /// [`Damaged`] if it cannot be: the worker has scribbled over the channel.
    #[inline]
    pub(crate) fn pop(&mut self, into: &mut Answer) -> Result<bool, Damaged> {
        if self.taken == self.seen {
            self.seen = self.memory.outbox().filled();
            if self.taken == self.seen {
                return Ok(false);
            }
        }
        into.clear();
        let ring = self.memory.outbox();
        let mut reader = ring.reader_at(self.taken, self.taken, self.seen);
        let item = reader.next()?.ok_or(Damaged)?;
        let (head, fds) =
            message::read::<AnswerHead>(&reader, &item, &self.socket, &mut into.bytes)?;
        reader.skip(&item);
        reader.publish();
        (self.taken, self.seen) = reader.ends();
        self.memory.state.space.ring(1);
        (into.frame, into.first, into.count) = (head.frame, head.first, head.count);
        self.expect(head)?;
        match fds {
            Ok(fds) => into.fds = fds,
            Err(error) => into.reject(&error),
        }
        if are_whole(&into.bytes, into.count) && (into.count == 1 || into.fds.is_empty()) {
            Ok(true)
        } else {
            Err(Damaged)
        }
    }

    /// Checks an answer against what was sent, and counts it.
    #[inline]
    fn expect(&mut self, head: AnswerHead) -> Result<(), Damaged> {
        let AnswerHead { frame, first, count } = head;
        if frame == 0 {
            let first_message = !self.heard && first == 0 && count == 1;
            self.heard = true;
            return if first_message { Ok(()) } else { Err(Damaged) };
        }
        while let Some(Sent { what: What::Definition(_), .. }) = self.sent.front() {
            self.sent.pop_front();
        }
        let Some(Sent { what: What::Frame(front), .. }) = self.sent.front_mut() else {
            return Err(Damaged);
        };
        let left = front.head.count - front.answered;
        if front.head.frame != frame || front.answered != first || count == 0 || count > left {
            return Err(Damaged);
        }
        front.answered += count;
        if count == left {
            self.sent.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_whole_or_none() {
        let mut outcomes = Outcomes::default();
        outcomes.push(Tag::Returned, b"seven");
        outcomes.push(Tag::Failed, b"");
        let bytes = &outcomes.all.bytes;
        let all = Records(bytes).collect::<Vec<_>>();
        assert_eq!(all, [(Tag::Returned, &b"seven"[..]), (Tag::Failed, b"")]);
        assert!(are_whole(bytes, 2) && !are_whole(bytes, 1) && !are_whole(bytes, 3));
        for end in 0..bytes.len() {
            assert!(!are_whole(&bytes[..end], 2), "{end}");
        }
        assert!(are_whole(&[], 0) && !are_whole(&[9, 0, 0, 0, 0], 1));
    }
}
