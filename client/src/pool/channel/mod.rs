//! Channels: how tasks get to one worker of a pool and their outcomes back.
//!
//! A channel is two rings in shared memory, which the pool's process and one worker alone use, so
//! neither needs a lock. The *inbox* is a log: a frame stays in it until the worker has shown the
//! outcomes of all its items in the *outbox*. So whoever sent it needs no copy: after the death of
//! the worker, what was answered is in the outbox, what had begun and what had not is in the inbox.
//! What has not begun can be taken back at any time; `sync::raw::claim` says how.
//!
//! All workers of a pool tell of their answers at one *desk*.
//!
//! | file | holds |
//! |---|---|
//! | `desk` | [`Desk`]: where workers tell that they have answers, and where one waits for them |
//! | `memory` | where a channel lies |
//! | `message` | what both rings carry: heads, descriptors, bodies that are larger than a ring |
//! | `parent` | [`Channel`]: sending frames |
//! | `answers` | receiving their outcomes |
//! | `recall` | taking frames back from a worker, alive or dead |
//! | `end` | [`WorkerEnd`]: the worker's end on its way |
//! | `lookout` | how long one looks before one sleeps |
//!
//! What must never be in here: a lock; a wait for a worker; what a pool does with any of this.

mod answers;
mod desk;
mod end;
mod lookout;
mod memory;
mod message;
mod parent;
mod recall;

pub(crate) use crate::registry::batch::Tag;
pub(crate) use crate::sync::raw::ring::Damaged;
pub(crate) use answers::Answer;
pub(crate) use desk::{Desk, DeskEnd, WORKERS_MAX};
pub(crate) use end::WorkerEnd;
pub(crate) use lookout::Lookout;
pub(crate) use memory::{ChannelMemory, ChannelState, STOP_ASKED};
pub(crate) use message::{AnswerHead, Definition, FrameHead, Unsent, WHAT, WHAT_DEFINITION};
pub(crate) use message::{read, send};
pub(crate) use parent::{Channel, Frame, PushError};
#[cfg(test)]
pub(crate) use recall::{Begun, Recalled};
