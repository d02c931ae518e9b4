//! The pool's end of a channel: sending frames.

use super::desk::Desk;
use super::end::WorkerEnd;
use super::memory::{ChannelMemory, STOP_ASKED};
use super::message::{self, Definition, FrameHead, Unsent, WHAT_DEFINITION};
use crate::codec::Codec;
use crate::handles::{SharedFd, tells_who_is_left};
use crate::shared::ShareError;
use crate::shared::object::Object;
use crate::sync::raw::atomics::Ordering;
use crate::sync::raw::claim::Recaller;
use crate::sync::raw::counters::End;
use crate::sys::fd;
use mpserverd_proto::codec as wire;
use mpserverd_proto::limits::{JOB_FDS_MAX, PAYLOAD_BYTES_MAX};
use std::collections::VecDeque;
use std::io;

/// Items of one task for a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// A task that was [defined](Channel::define).
    pub(crate) task: u32,
    /// How many items, at least one.
    pub(crate) count: u32,
    /// The encoded arguments of the only one; of several, each with its length before it, as `u32`
    /// in little endian.
    pub(crate) body: &'a [u8],
    /// Descriptors of the handles in them.
    pub(crate) fds: &'a [SharedFd],
}

/// Why a frame was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// There is no room for it before the worker has done something of what it has.
    #[error("the worker has more than enough to do")]
    Full,
    /// It exceeds the limit, in bytes.
    #[error("{bytes} bytes exceed the limit of {limit}", limit = PAYLOAD_BYTES_MAX)]
    TooLarge {
        /// How large it is.
        bytes: u64,
    },
    /// The worker has scribbled over the channel.
    #[error("the memory of the worker's channel is damaged")]
    Damaged,
    /// The system refused.
    #[error(transparent)]
    System(io::Error),
}

impl From<Unsent> for PushError {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Full | Unsent::SocketFull => Self::Full,
            Unsent::Damaged => Self::Damaged,
            Unsent::System(error) => Self::System(error),
        }
    }
}

/// A task that this worker knows, or will when something is sent for it.
#[derive(Debug)]
struct Defined {
    task: u32,
    definition: Definition,
    is_sent: bool,
}

/// What stands in the inbox and is not answered.
#[derive(Debug)]
pub(super) struct Sent {
    /// Where.
    pub(super) at: End,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Definition(u32),
    Frame(SentFrame),
}

#[derive(Debug)]
pub(super) struct SentFrame {
    pub(super) head: FrameHead,
    /// How many of its items were answered.
    pub(super) answered: u32,
    /// How many descriptors the handles in it have.
    pub(super) fds: u16,
    /// Its body, if that is not in the ring.
    pub(super) beside: Option<SharedFd>,
}

/// The pool's end of the channel of one worker. One thread uses it at a time.
///
/// Nothing here waits for the worker. Dropping it does nothing to the worker.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) memory: ChannelMemory,
    pub(super) socket: SharedFd,
    /// In the order of the inbox, without a gap.
    pub(super) sent: VecDeque<Sent>,
    /// How far the worker may read.
    pub(super) published: End,
    pub(super) tail: End,
    /// How far the outbox was read, and how far it is known to be filled.
    pub(super) taken: End,
    pub(super) seen: End,
    pub(super) recaller: Recaller,
    /// Whether the worker has said that it is ready, or that it never will be.
    pub(super) heard: bool,
    pub(super) next_frame: u32,
    defined: Vec<Defined>,
}

impl Channel {
    /// A channel for worker `number` of the desk, and the worker's end of it.
    ///
    /// # Errors
    /// [`ShareError`]; also when the desk has no such place.
    pub(crate) fn open(desk: &Desk, number: usize) -> Result<(Self, WorkerEnd), ShareError> {
        let object = super::memory::ChannelState::NAME;
        if !desk.has_place(number) {
            let what = format!("the pool has no place for a worker {number}");
            return Err(ShareError::Size { object, what });
        }
        let memory = ChannelMemory::new()?;
        let pair = fd::seqpacket_pair().map_err(ShareError::system(object, "socketpair"))?;
        let (socket, theirs) = (SharedFd::from(pair.0), SharedFd::from(pair.1));
        // Descriptors that are on their way would stay open in the copies of siblings.
        tells_who_is_left(&socket);
        tells_who_is_left(&theirs);
        let end = WorkerEnd {
            channel: memory.state.clone(),
            desk: desk.state.clone(),
            event: desk.event.clone(),
            socket: theirs,
            number: number as u32,
        };
        let channel = Self {
            memory,
            socket,
            sent: VecDeque::new(),
            published: End::default(),
            tail: End::default(),
            taken: End::default(),
            seen: End::default(),
            recaller: Recaller::default(),
            heard: false,
            next_frame: 1,
            defined: Vec::new(),
        };
        Ok((channel, end))
    }

    /// Says what task `task` is, for frames that are pushed from now on. The worker looks it up
    /// once.
    pub(crate) fn define(&mut self, task: u32, name: &str, schema: u64, codec: Codec) {
        let definition = Definition { name: name.to_owned(), schema, codec };
        let defined = Defined { task, definition, is_sent: false };
        match self.defined.iter_mut().find(|defined| defined.task == task) {
            Some(place) => *place = defined,
            None => self.defined.push(defined),
        }
    }

    /// Adds a frame and returns its number, which is never 0. Nobody sees it before
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`PushError`]; nothing was added then. A task that was not defined is `InvalidInput`.
    #[inline]
    pub(crate) fn push(&mut self, frame: &Frame<'_>) -> Result<u32, PushError> {
        let bytes = frame.body.len() as u64;
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(PushError::TooLarge { bytes });
        }
        if frame.count == 0 || frame.fds.len() > JOB_FDS_MAX {
            return Err(invalid("a frame of no items or too many descriptors"));
        }
        let last = self.defined.last().is_some_and(|last| last.task == frame.task);
        let place = if last {
            self.defined.len() - 1
        } else {
            let found = self.defined.iter().position(|defined| defined.task == frame.task);
            found.ok_or_else(|| invalid("a task that was not defined"))?
        };
        if !self.defined[place].is_sent {
            self.send_definition(place)?;
        }
        let number = self.next_frame;
        let head = FrameHead { frame: number, task: frame.task, count: frame.count };
        let message = (0, head.words());
        let mut writer = self.memory.inbox().writer_at(self.published, self.tail);
        let beside =
            message::send(&mut writer, &self.socket, message, frame.body, frame.fds, number)?;
        let end = writer.end();
        let fds = frame.fds.len() as u16;
        let what = What::Frame(SentFrame { head, answered: 0, fds, beside });
        self.sent.push_back(Sent { at: self.tail, what });
        self.tail = end;
        // 0 is the worker's own message.
        self.next_frame = number.wrapping_add(1).max(1);
        Ok(number)
    }

    #[cold]
    fn send_definition(&mut self, place: usize) -> Result<(), PushError> {
        let Defined { task, definition, is_sent } = &mut self.defined[place];
        let body = wire::encode(definition).map_err(|e| PushError::System(io::Error::other(e)))?;
        let head = FrameHead { frame: 0, task: *task, count: 0 };
        let message = (WHAT_DEFINITION, head.words());
        let mut writer = self.memory.inbox().writer_at(self.published, self.tail);
        message::send(&mut writer, &self.socket, message, &body, &[], 0)?;
        self.sent.push_back(Sent { at: self.tail, what: What::Definition(*task) });
        self.tail = writer.end();
        *is_sent = true;
        Ok(())
    }

    /// A definition was taken back before the worker has seen it.
    pub(super) fn undefine(&mut self, task: u32) {
        for defined in &mut self.defined {
            if defined.task == task {
                defined.is_sent = false;
            }
        }
    }

    /// Shows the worker what was pushed and wakes it, if it sleeps.
    #[inline]
    pub(crate) fn publish(&mut self) {
        let writer = self.memory.inbox().writer_at(self.published, self.tail);
        if writer.publish() > 0 {
            self.published = self.tail;
            self.memory.state.work.ring(1);
        }
    }

    /// Asks the task that runs an item of that frame to stop; it finds out by
    /// [`is_cancelled`](crate::pool::is_cancelled). Another frame that was asked is forgotten.
    pub(crate) fn ask_to_stop(&self, frame: u32) {
        self.memory.state.stop.store(STOP_ASKED | u64::from(frame), Ordering::Release);
    }

    /// The worker ends, as after any job, when it has done all that it was sent. Nothing must be
    /// pushed after this.
    pub(crate) fn retire(&mut self) {
        self.publish();
        self.memory.state.retire.store(1, Ordering::SeqCst);
        self.memory.state.work.ring(1);
    }
}

#[cold]
fn invalid(what: &'static str) -> PushError {
    PushError::System(io::Error::new(io::ErrorKind::InvalidInput, what))
}
