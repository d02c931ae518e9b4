//! Taking frames from a channel.

use crate::handles::SharedFd;
use crate::pool::channel::{
    self, ChannelMemory, Damaged, Definition, FrameHead, Lookout, WHAT, WHAT_DEFINITION,
};
use crate::queue::carry;
use crate::sync::raw::atomics::{Ordering, look_at_half, pause};
use crate::sync::raw::counters::End;
use crate::sync::raw::lock::{NAP_LONGEST, NAP_SHORTEST};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// How often to look whether a recall is over before sleeping: it takes a microsecond.
const LOOKS: u32 = 1000;
/// The pool rings whenever it sends something, and a worker is killed when it dies.
const IDLE: Duration = Duration::from_secs(3600);

/// The worker's end of the inbox.
#[derive(Debug)]
pub(super) struct Inbox {
    memory: ChannelMemory,
    socket: SharedFd,
    /// How far frames are done.
    done: End,
    /// Where the next one begins.
    next: End,
    /// How far the inbox is known to be filled.
    limit: End,
    /// How many recalls are known.
    recalls: u32,
    /// Descriptors of frames before this one have been let go.
    let_go: u32,
    lookout: Lookout,
    /// The body of the last frame.
    pub(super) body: Vec<u8>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// Items, with their descriptors.
    Frame(FrameHead, io::Result<Vec<SharedFd>>),
    /// What a task is.
    Definition(u32, Definition),
    /// Nothing now.
    Nothing,
    /// Nothing ever.
    End,
}

impl Inbox {
    pub(super) fn new(memory: ChannelMemory, socket: SharedFd) -> Self {
        let (done, next, limit) = (End::default(), End::default(), End::default());
        let (lookout, body) = (Lookout::default(), Vec::new());
        Self { memory, socket, done, next, limit, recalls: 0, let_go: 0, lookout, body }
    }

    /// Whether there is more, unless it is taken back.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        self.next.items != self.limit.items || self.has_news()
    }

    #[inline]
    fn has_news(&self) -> bool {
        self.memory.inbox().filled().items != self.next.items
    }

    fn is_retired(&self) -> bool {
        look_at_half(&self.memory.state.retire) != 0
    }

    /// Begins the next item of the log, at this time.
    #[inline]
    pub(super) fn begin(&mut self, now: u64) -> Result<Next, Damaged> {
        let state = &self.memory.state;
        loop {
            if self.next.items == self.limit.items {
                // Before the look at the end: whoever retires a worker has sent all before.
                let retired = self.is_retired();
                self.limit = self.memory.inbox().filled();
                if self.next.items == self.limit.items {
                    return Ok(if retired { Next::End } else { Next::Nothing });
                }
            }
            state.item.store(0, Ordering::Relaxed);
            state.since.store(now, Ordering::Relaxed);
            if self.memory.claim().begin(self.recalls, self.next.items) {
                break;
            }
            self.recalls = self.settle();
            self.limit = self.memory.inbox().filled();
        }
        self.read()
    }

    /// How many recalls there were, when the one under way is over.
    #[cold]
    fn settle(&self) -> u32 {
        let mut nap = NAP_SHORTEST;
        let bell = &self.memory.state.work;
        for looks in 0u32.. {
            if let Some(recalls) = self.memory.claim().settle() {
                return recalls;
            }
            if looks < LOOKS {
                pause();
                continue;
            }
            // The pool was stopped in the middle of it.
            let heard = bell.listen();
            if self.memory.claim().settle().is_none() {
                let _ = bell.sleep(heard, nap);
                nap = (nap * 2).min(NAP_LONGEST);
            }
        }
        self.recalls
    }

    /// Reads the item that was begun.
    #[inline]
    fn read(&mut self) -> Result<Next, Damaged> {
        self.body.clear();
        let mut reader = self.memory.inbox().reader_at(self.done, self.next, self.limit);
        let item = reader.next()?.ok_or(Damaged)?;
        let (head, fds) = channel::read::<FrameHead>(&reader, &item, &self.socket, &mut self.body)?;
        reader.skip(&item);
        self.next = reader.ends().0;
        match item.kind & WHAT {
            0 => Ok(Next::Frame(head, fds)),
            WHAT_DEFINITION => {
                let definition = mpserverd_proto::codec::decode(&self.body).map_err(|_| Damaged)?;
                Ok(Next::Definition(head.task, definition))
            }
            _ => Err(Damaged),
        }
    }

    /// What was begun is done: the pool need not keep it.
    #[inline]
    pub(super) fn finish(&mut self) {
        self.memory.inbox().reader_at(self.done, self.next, self.limit).publish();
        self.done = self.next;
    }

    /// Sleeps until there may be something.
    pub(super) fn wait(&mut self) {
        if self.lookout.look_out(|| self.is_there()) {
            return;
        }
        self.let_go();
        let bell = &self.memory.state.work;
        let heard = bell.listen();
        if !self.is_there() {
            let _ = bell.sleep(heard, IDLE);
        }
    }

    #[inline]
    fn is_there(&self) -> bool {
        self.has_news() || self.is_retired()
    }

    /// Closes descriptors of frames that were taken back.
    fn let_go(&mut self) {
        let stale = self.memory.state.stale.load(Ordering::Acquire);
        if stale != self.let_go && !self.has_news() {
            carry::discard_before(self.socket.as_fd(), stale);
            self.let_go = stale;
        }
    }
}
