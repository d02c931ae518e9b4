//! The loop of a worker: begin a frame, run its items, answer.

use super::inbox::{Inbox, Next};
use super::job::Running;
use super::outbox::Outbox;
use super::pace::Pace;
use crate::codec::Codec;
use crate::handles::SharedFd;
use crate::parcel::Parcel;
use crate::pool::channel::{ChannelMemory, Damaged, Definition, FrameHead};
use crate::registry::batch::{Batch, Outcomes};
use crate::registry::{Callable, Completion, Registry};
use crate::runtime::worker;
use crate::sys::board::Place;
use crate::sys::clock;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Outcome;
use std::io;

/// Frames that take longer, in nanoseconds, are not worth waiting for.
const SHORT_NS: u64 = 20_000;
/// Buffers larger than this are not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A task as it was looked up.
#[derive(Debug)]
struct Known<'a> {
    number: u32,
    name: String,
    codec: Codec,
    found: Result<&'a Callable, JobError>,
    /// Items between two looks at the clock.
    stride: u32,
}

/// A worker at work.
pub(super) struct Server<'a> {
    memory: ChannelMemory,
    inbox: Inbox,
    outbox: Outbox,
    registry: &'a Registry,
    running: &'a Running,
    tasks: Vec<Known<'a>>,
    /// The task of the last frame.
    last: usize,
    outcomes: Outcomes,
    /// Where the daemon sees what runs, and the number of the task that it sees.
    place: Option<(Place, Option<u32>)>,
}

/// What a worker ends with that cannot go on.
pub(super) fn damaged() -> Completion {
    Completion::rejected(JobError::Protocol("the memory of its channel is damaged".to_owned()))
}

impl<'a> Server<'a> {
    pub(super) fn new(
        memory: ChannelMemory,
        inbox: Inbox,
        outbox: Outbox,
        registry: &'a Registry,
        running: &'a Running,
    ) -> Self {
        let (tasks, last, outcomes) = (Vec::new(), 0, Outcomes::default());
        let place = worker::place().map(|place| (place, None));
        Self { memory, inbox, outbox, registry, running, tasks, last, outcomes, place }
    }

    /// Serves until the worker is retired.
    pub(super) fn serve(mut self) -> Completion {
        match self.run() {
            Ok(()) => Completion { outcome: Outcome::Returned, payload: Parcel::default() },
            Err(Damaged) => damaged(),
        }
    }

    fn run(&mut self) -> Result<(), Damaged> {
        let mut now = clock::monotonic_nanos();
        loop {
            match self.inbox.begin(now)? {
                Next::Frame(head, fds) => {
                    self.run_frame(head, fds, now)?;
                    // A frame that was begun later than now would seem to have begun now.
                    let ended = clock::monotonic_nanos();
                    let short = ended.wrapping_sub(now) < SHORT_NS;
                    let soon = short && self.inbox.has_more();
                    self.outbox.ring_soon(ended, soon);
                    now = ended;
                }
                Next::Definition(number, definition) => {
                    self.define(number, definition);
                    self.inbox.finish();
                }
                Next::Nothing => {
                    self.outbox.ring_if_due();
                    self.inbox.wait();
                    now = clock::monotonic_nanos();
                }
                Next::End => {
                    self.outbox.ring();
                    return Ok(());
                }
            }
        }
    }

    fn define(&mut self, number: u32, definition: Definition) {
        let Definition { name, schema, codec } = definition;
        let found = self.registry.find(&name, schema);
        let known = Known { number, name, codec, found, stride: 1 };
        match self.tasks.iter().position(|known| known.number == number) {
            Some(place) => self.tasks[place] = known,
            None => self.tasks.push(known),
        }
        if let Some((_, shown)) = &mut self.place {
            // The number may be another task's now.
            *shown = None;
        }
    }

    /// Runs the items of a frame and shows what came out of them.
    #[inline]
    fn run_frame(
        &mut self,
        head: FrameHead,
        fds: io::Result<Vec<SharedFd>>,
        now: u64,
    ) -> Result<(), Damaged> {
        let FrameHead { frame, task, count } = head;
        if self.tasks.get(self.last).is_none_or(|known| known.number != task) {
            let place = self.tasks.iter().position(|known| known.number == task);
            self.last = place.ok_or(Damaged)?;
        }
        let known = &mut self.tasks[self.last];
        let state = &self.memory.state;
        let mut pace = Pace::begin(state, &mut self.outbox, frame, now, &mut known.stride);
        let items = (count, &self.inbox.body[..]);
        self.running.set(frame);
        if let Some((place, shown)) = &mut self.place {
            if *shown != Some(task) {
                place.turn_to(&known.name, worker::epoch_ms());
                *shown = Some(task);
            }
            place.next_round();
        }
        let (fds, lost) = match fds {
            Ok(fds) => (fds, None),
            Err(error) => (Vec::new(), Some(lost(&error))),
        };
        let mut batch = Batch::new(known.codec, items, fds, &mut self.outcomes, &mut pace);
        match (&known.found, lost) {
            (Ok(task), None) => task.run_many(&mut batch),
            (Ok(_), Some(error)) => batch.reject(&error),
            (Err(error), _) => batch.reject(error),
        }
        self.running.set(0);
        if let Some((place, _)) = &self.place {
            place.finish();
        }
        pace.show(&mut self.outcomes);
        if pace.damaged {
            return Err(Damaged);
        }
        self.inbox.finish();
        if self.inbox.body.capacity() > KEPT_BYTES_MAX {
            self.inbox.body = Vec::new();
        }
        if self.outcomes.all.bytes.capacity() > KEPT_BYTES_MAX {
            self.outcomes.all.bytes = Vec::new();
        }
        Ok(())
    }
}

/// The descriptors of a frame did not come.
fn lost(error: &io::Error) -> JobError {
    let limit = crate::sys::attributes::descriptor_limit();
    JobError::Descriptors(format!(
        "those of the arguments did not reach the worker: {error}; RLIMIT_NOFILE (`ulimit -n`) is \
         {limit} there"
    ))
}
