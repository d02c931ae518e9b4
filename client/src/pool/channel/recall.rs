//! The pool's end of a channel: what the worker is doing, and taking frames back from it.

use super::Damaged;
use super::message::{self, FrameHead, Unreadable};
use super::parent::{Channel, Sent, SentFrame, What};
use crate::sync::raw::atomics::Ordering;
use crate::sync::raw::counters::End;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether it runs something. What it has just finished counts as well, until its answers are
    /// taken: take them before you act on this.
    pub(crate) running: bool,
    /// The frame that it runs; 0 if none.
    pub(crate) frame: u32,
    /// Which item of that.
    pub(crate) item: u32,
    /// When that item began, in nanoseconds of the monotonic clock; or, at the end of many short
    /// ones, up to one tick of the kernel (10 ms at most) before it did.
    pub(crate) since_ns: u64,
}

/// A frame that was taken back from a worker that had not begun it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recalled {
    /// Its number; another frame with the same items gets another one.
    pub(crate) frame: u32,
    /// Its task.
    pub(crate) task: u32,
    /// How many items it has.
    pub(crate) count: u32,
    /// The first of them that is in it: all of them are.
    pub(crate) first: u32,
    /// The items, as they were pushed.
    pub(crate) body: Vec<u8>,
    /// How many descriptors it had, which whoever wants to send it again must have kept.
    pub(crate) fds: u16,
}

/// The frame that a worker ran when it died.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Its number.
    pub(crate) frame: u32,
    /// Its task.
    pub(crate) task: u32,
    /// How many items it has.
    pub(crate) count: u32,
    /// How many were answered: items before this one.
    pub(crate) answered: u32,
    /// How many have begun: items from `answered` to before this one are lost. The last of them
    /// ran; the others were done, and their outcomes died with the worker.
    pub(crate) begun: u32,
    /// All items, as they were pushed.
    pub(crate) body: Vec<u8>,
    /// How many descriptors it had.
    pub(crate) fds: u16,
}

impl Channel {
    /// What the worker is doing.
    pub(crate) fn progress(&self) -> Progress {
        let state = &self.memory.state;
        let mut begun = self.recaller.begun(self.memory.claim());
        // It has another item when this was read: nothing of it tells which frame's it is.
        for _ in 0..4 {
            let item = state.item.load(Ordering::Acquire);
            let since_ns = state.since.load(Ordering::Acquire);
            let again = self.recaller.begun(self.memory.claim());
            if again == begun {
                let taken = self.memory.inbox().emptied().items;
                let frame = self.place_of(begun.wrapping_sub(1)).filter(|_| taken != begun);
                return match frame.map(|place| &self.sent[place].what) {
                    Some(What::Frame(SentFrame { head, answered, .. })) => {
                        // What was answered has run, also where the worker has not said so yet.
                        let item = item.max(*answered).min(head.count - 1);
                        Progress { running: true, frame: head.frame, item, since_ns }
                    }
                    _ => Progress::default(),
                };
            }
            begun = again;
        }
        Progress::default()
    }

    /// Where in `sent` the item of the inbox with that count is.
    fn place_of(&self, item: u32) -> Option<usize> {
        let first = self.sent.front()?.at.items;
        let place = item.wrapping_sub(first) as usize;
        (place < self.sent.len()).then_some(place)
    }

    /// How many of `sent` have begun.
    fn begun_places(&self, begun: u32) -> Result<usize, Damaged> {
        let Some(first) = self.sent.front() else { return Ok(0) };
        let places = begun.wrapping_sub(first.at.items) as usize;
        if places <= self.sent.len() { Ok(places) } else { Err(Damaged) }
    }

    /// Takes back the frames that the worker has not begun, all but the oldest `keep`, published or
    /// not; the oldest first. What is left is published: it will run that, or has begun it. Nothing
    /// waits, however the worker fares.
    ///
    /// # Errors
    /// [`Damaged`] if the worker has scribbled over the channel. Frames are lost then, or not.
    pub(crate) fn recall(&mut self, keep: usize) -> Result<Vec<Recalled>, Damaged> {
        let begun = self.begun_places(self.recaller.begun(self.memory.claim()))?;
        if self.sent.len() <= begun + keep {
            return Ok(Vec::new());
        }
        let mut recaller = self.recaller;
        let memory = self.memory.clone();
        let cut = recaller.recall(memory.claim(), |begun| {
            let begun = self.begun_places(begun)?;
            let place = self.place_after(begun, keep);
            let Some(first) = self.sent.get(place) else { return Ok(place) };
            let tail = first.at;
            if self.published.items.wrapping_sub(tail.items) < u32::MAX / 2 {
                memory.inbox().cut(tail);
                self.published = tail;
            }
            Ok(place)
        });
        self.recaller = recaller;
        let place = cut?;
        let taken = self.sent.split_off(place);
        let recalled = self.read_back(&taken);
        if let Some(first) = taken.front() {
            self.tail = first.at;
        }
        for sent in taken {
            if let What::Definition(task) = sent.what {
                self.undefine(task);
            }
        }
        self.publish();
        // All frames before the next one are in the inbox by now, or nobody's.
        self.memory.state.stale.store(self.next_frame, Ordering::Release);
        self.memory.state.work.ring(1);
        recalled
    }

    /// The place behind so many frames from a place on.
    fn place_after(&self, from: usize, frames: usize) -> usize {
        let mut left = frames;
        let rest = self.sent.iter().skip(from);
        from + rest
            .take_while(|sent| {
                let counts = matches!(sent.what, What::Frame(_));
                let taken = !counts || left > 0;
                left = left.saturating_sub(usize::from(counts));
                taken
            })
            .count()
    }

    /// After the death of the worker, when all its answers were taken: the frame that it ran, if it
    /// did, and those that it had not begun, the oldest first. Descriptors that were on their way
    /// are gone.
    ///
    /// # Errors
    /// [`Damaged`] if the worker has scribbled over the channel.
    pub(crate) fn recall_dead(&mut self) -> Result<(Option<Begun>, Vec<Recalled>), Damaged> {
        let places = self.begun_places(self.recaller.begun(self.memory.claim()))?;
        let left = self.sent.split_off(places);
        let done = std::mem::take(&mut self.sent);
        let mut running = done.iter().filter(|sent| matches!(sent.what, What::Frame(_)));
        let begun = running.next().map(|sent| self.read_begun(sent)).transpose()?;
        if running.next().is_some() {
            return Err(Damaged);
        }
        Ok((begun, self.read_back(&left)?))
    }

    fn read_begun(&self, sent: &Sent) -> Result<Begun, Damaged> {
        let What::Frame(frame) = &sent.what else { return Err(Damaged) };
        let item = self.memory.state.item.load(Ordering::Acquire);
        let FrameHead { frame: number, task, count } = frame.head;
        Ok(Begun {
            frame: number,
            task,
            count,
            answered: frame.answered,
            begun: item.saturating_add(1).clamp(frame.answered, count),
            body: self.read_frame(sent.at, frame)?,
            fds: frame.fds,
        })
    }

    fn read_back<'a>(
        &self,
        sent: impl IntoIterator<Item = &'a Sent>,
    ) -> Result<Vec<Recalled>, Damaged> {
        let frames = sent.into_iter().filter_map(|sent| match &sent.what {
            What::Frame(frame) => Some((sent.at, frame)),
            What::Definition(_) => None,
        });
        frames
            .map(|(at, frame)| {
                let FrameHead { frame: number, task, count } = frame.head;
                let body = self.read_frame(at, frame)?;
                Ok(Recalled { frame: number, task, count, first: 0, body, fds: frame.fds })
            })
            .collect()
    }

    /// The body of a frame of ours, which nobody takes any more.
    fn read_frame(&self, at: End, frame: &SentFrame) -> Result<Vec<u8>, Damaged> {
        let mut reader = self.memory.inbox().reader_at(at, at, self.tail);
        let item = reader.next()?.ok_or(Damaged)?;
        let read = message::read_own::<FrameHead>(&reader, &item, frame.beside.as_ref());
        match read {
            Ok((head, body)) if head == frame.head => Ok(body),
            Ok(_) | Err(Unreadable::Damaged | Unreadable::Lost(_)) => Err(Damaged),
        }
    }
}
