//! Giving answers, and when to wake whoever waits for them.
//!
//! An answer is shown at once, but whoever sleeps is not woken for it while there is more to do
//! and that is likely to be done soon: being woken costs as much as some tiny tasks.

use crate::handles::SharedFd;
use crate::pool::channel::{self, AnswerHead, ChannelMemory, Damaged, DeskEnd, Tag, Unsent};
use crate::queue::carry;
use crate::registry::batch::Outcomes;
use crate::registry::too_many_fds;
use crate::sync::raw::counters::End;
use crate::sync::raw::lock::{NAP_LONGEST, NAP_SHORTEST};
use mpserverd_proto::error::JobError;
use mpserverd_proto::limits::JOB_FDS_MAX;
use std::io;
use std::os::fd::AsFd;

/// Answers wait so long at most for others, in nanoseconds.
const PATIENCE_NS: u64 = 25_000;

/// The worker's end of the outbox.
#[derive(Debug)]
pub(super) struct Outbox {
    memory: ChannelMemory,
    socket: SharedFd,
    desk: DeskEnd,
    tail: End,
    /// Since when there are answers for which nobody was woken.
    unrung: Option<u64>,
}

impl Outbox {
    pub(super) fn new(memory: ChannelMemory, socket: SharedFd, desk: DeskEnd) -> Self {
        Self { memory, socket, desk, tail: End::default(), unrung: None }
    }

    /// Sends a message of the worker itself.
    pub(super) fn send_own(&mut self, tag: Tag, text: &str) -> Result<(), Damaged> {
        let mut outcomes = Outcomes::default();
        outcomes.push(tag, text.as_bytes());
        self.send((0, 0), &mut outcomes)?;
        self.ring();
        Ok(())
    }

    /// Shows the outcomes of items of a frame, from `first` on, and takes them from `outcomes`.
    #[inline]
    pub(super) fn send(
        &mut self,
        (frame, first): (u32, u32),
        outcomes: &mut Outcomes,
    ) -> Result<(), Damaged> {
        let mut head = AnswerHead { frame, first, count: outcomes.count };
        if outcomes.all.fds.is_empty() {
            self.put(head, &outcomes.all.bytes, &[])?;
        } else {
            // Handles refer to the descriptors of an answer, so this one goes by itself.
            head.count -= 1;
            if head.count > 0 {
                self.put(head, &outcomes.all.bytes[..outcomes.last], &[])?;
            }
            head = AnswerHead { frame, first: first + head.count, count: 1 };
            if outcomes.all.fds.len() > JOB_FDS_MAX {
                self.refuse(head, too_many_fds(outcomes.all.fds.len()))?;
            } else {
                self.put(head, &outcomes.all.bytes[outcomes.last..], &outcomes.all.fds)?;
            }
        }
        outcomes.clear();
        Ok(())
    }

    /// Shows an answer as soon as there is room for it.
    #[inline]
    fn put(&mut self, head: AnswerHead, bytes: &[u8], fds: &[SharedFd]) -> Result<(), Damaged> {
        match self.try_put(head, bytes, fds) {
            Ok(()) => Ok(()),
            Err(unsent) => self.insist(unsent, head, bytes, fds),
        }
    }

    #[inline]
    fn try_put(&mut self, head: AnswerHead, bytes: &[u8], fds: &[SharedFd]) -> Result<(), Unsent> {
        let mut writer = self.memory.outbox().writer_at(self.tail, self.tail);
        let message = (0, head.words());
        channel::send(&mut writer, &self.socket, message, bytes, fds, head.frame)?;
        self.tail = writer.end();
        writer.publish();
        self.desk.raise();
        Ok(())
    }

    #[cold]
    fn insist(
        &mut self,
        mut unsent: Unsent,
        head: AnswerHead,
        bytes: &[u8],
        fds: &[SharedFd],
    ) -> Result<(), Damaged> {
        let mut nap = NAP_SHORTEST;
        self.ring();
        loop {
            match unsent {
                Unsent::Damaged => return Err(Damaged),
                Unsent::System(error) => return self.refuse(head, not_sent(&error)),
                Unsent::Full => {
                    let heard = self.memory.state.space.listen();
                    unsent = match self.try_put(head, bytes, fds) {
                        Ok(()) => return Ok(()),
                        Err(Unsent::Full) => {
                            let _ = self.memory.state.space.sleep(heard, nap);
                            Unsent::Full
                        }
                        Err(other) => other,
                    };
                }
                Unsent::SocketFull => {
                    carry::wait_for_room(self.socket.as_fd(), nap);
                    unsent = match self.try_put(head, bytes, fds) {
                        Ok(()) => return Ok(()),
                        Err(unsent) => unsent,
                    };
                }
            }
            nap = (nap * 2).min(NAP_LONGEST);
        }
    }

    /// Shows that results cannot travel.
    #[cold]
    fn refuse(&mut self, head: AnswerHead, error: JobError) -> Result<(), Damaged> {
        let mut outcomes = Outcomes::default();
        for _ in 0..head.count {
            outcomes.reject(&error);
        }
        self.put(head, &outcomes.all.bytes, &[])
    }

    /// Wakes whoever waits for answers, or leaves that to the next one: if there is more to do, and
    /// it will probably not take long.
    #[inline]
    pub(super) fn ring_soon(&mut self, now: u64, more_soon: bool) {
        let since = *self.unrung.get_or_insert(now);
        if !more_soon || now.wrapping_sub(since) > PATIENCE_NS {
            self.ring();
        }
    }

    /// Wakes whoever waits for answers, if there are any for which nobody was woken.
    #[inline]
    pub(super) fn ring_if_due(&mut self) {
        if self.unrung.is_some() {
            self.ring();
        }
    }

    /// Wakes whoever waits for answers.
    #[inline]
    pub(super) fn ring(&mut self) {
        self.unrung = None;
        self.desk.ring();
    }
}

/// As at the end of any job: `ETOOMANYREFS`, or no room for another descriptor.
fn not_sent(error: &io::Error) -> JobError {
    let limit = crate::sys::attributes::descriptor_limit();
    JobError::Descriptors(format!(
        "the worker cannot send those of its result: {error}; RLIMIT_NOFILE (`ulimit -n`) is \
         {limit}"
    ))
}
