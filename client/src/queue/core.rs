//! A queue of bytes and descriptors: what all kinds of queues and their ends are made of.

use super::carry;
use super::error::{GetError, PutError};
use super::join::{Join, JoinState};
use super::memory::{QueueMemory, QueueState};
use super::options::QueueOptions;
use super::readiness::{self, Watch};
use crate::handles::{SharedFd, assert_spawning, tells_who_is_left};
use crate::shared::ShareError;
use crate::shared::object::Shareable;
use crate::sync::raw::atomics::{Deadline, Ordering, pause, pauses_before_sleep};
use crate::sync::raw::bell::Bell;
use crate::sync::raw::lock::{NAP_LONGEST, NAP_SHORTEST};
use crate::sys::fd;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The ends of the socket that this process has.
#[derive(Clone, Debug)]
struct Ends {
    /// For those who put.
    put: Option<SharedFd>,
    /// For those who take.
    take: Option<SharedFd>,
}

/// A queue, or one side of it, in this process.
#[derive(Debug)]
pub(super) struct Core {
    /// What it is for people.
    pub(super) name: &'static str,
    pub(super) memory: QueueMemory,
    event: SharedFd,
    ends: Mutex<Ends>,
    /// Of a joinable queue.
    pub(super) join: Option<Join>,
    closed: AtomicBool,
    watch: OnceLock<Watch>,
}

/// What this process may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Both,
    Put,
    Take,
}

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    No,
    Until(Deadline),
}

impl Wait {
    pub(super) const FOR_EVER: Self = Self::Until(Deadline::NEVER);

    #[inline]
    pub(super) fn within(timeout: Duration) -> Self {
        Self::Until(Deadline::within(timeout))
    }

    /// As `block` and `timeout` of the reference: a timeout without `block` is ignored.
    #[inline]
    pub(super) fn of(block: bool, timeout: Option<Duration>) -> Self {
        if block { Self::Until(Deadline::of(timeout)) } else { Self::No }
    }

    /// Until when to wait for one of the locks. They are held for a copy at a time, so even who
    /// does not want to wait gets them, unless their holder is stopped.
    #[inline]
    pub(super) fn for_lock(self) -> Deadline {
        match self {
            Self::No => Deadline::within(Duration::from_secs(1)),
            Self::Until(deadline) => deadline,
        }
    }
}

/// How long somebody sleeps at a time: longer each time, up to a limit.
#[derive(Debug)]
pub(super) struct Naps(Duration);

impl Naps {
    #[inline]
    pub(super) fn new() -> Self {
        Self(NAP_SHORTEST)
    }

    /// The next one; `None` if the time has passed.
    pub(super) fn next(&mut self, wait: Wait) -> Option<Duration> {
        let Wait::Until(deadline) = wait else { return None };
        let nap = deadline.nap(self.0)?;
        self.0 = (self.0 * 2).min(NAP_LONGEST);
        Some(nap)
    }
}

impl Core {
    pub(super) fn new(
        name: &'static str,
        options: &QueueOptions,
        join: Option<Join>,
    ) -> Result<Self, ShareError> {
        let memory = QueueMemory::new(options)?;
        let (put, take) = fd::seqpacket_pair().map_err(ShareError::system(name, "socketpair"))?;
        let event = readiness::event().map_err(ShareError::system(name, "eventfd"))?;
        let ends = Ends { put: Some(put.into()), take: Some(take.into()) };
        Ok(Self::of(name, memory, event.into(), ends, join))
    }

    fn of(
        name: &'static str,
        memory: QueueMemory,
        event: SharedFd,
        ends: Ends,
        join: Option<Join>,
    ) -> Self {
        ends.put.iter().chain(&ends.take).for_each(tells_who_is_left);
        let ends = Mutex::new(ends);
        let (closed, watch) = (AtomicBool::new(false), OnceLock::new());
        Self { name, memory, event, ends, join, closed, watch }
    }

    /// The same queue for one side only.
    pub(super) fn side(&self, name: &'static str, side: Side) -> Self {
        let mut ends = self.ends();
        match side {
            Side::Put => ends.take = None,
            Side::Take => ends.put = None,
            Side::Both => {}
        }
        let join = self.join.as_ref().map(Join::another);
        Self::of(name, self.memory.clone(), self.event.clone(), ends, join)
    }

    fn ends(&self) -> Ends {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn put_end(&self) -> Option<SharedFd> {
        self.ends().put
    }

    pub(super) fn take_end(&self) -> Option<SharedFd> {
        self.ends().take
    }

    /// Gives up this process's share in it, as far as this handle goes.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Ends { put: None, take: None };
        // Tasks that wait by it; threads find out when their nap is over.
        let joined = self.join.as_ref().map(|join| &join.state.finished);
        for bell in [&self.memory.state.items, &self.memory.state.space].into_iter().chain(joined) {
            crate::reactor::stir(bell.sleepers());
        }
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn items(&self) -> usize {
        self.memory.ring().items() as usize
    }

    #[inline]
    pub(super) fn has_items(&self) -> bool {
        self.memory.ring().has_items()
    }

    /// Whether nobody could put an item any more.
    pub(super) fn producers_gone(&self) -> bool {
        self.take_end().is_some_and(|end| carry::is_alone(end.as_fd()))
    }

    /// Whether nobody could take an item any more.
    pub(super) fn consumers_gone(&self) -> bool {
        self.put_end().is_some_and(|end| carry::is_alone(end.as_fd()))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.memory.state.is(&other.memory.state)
    }

    /// Looks for a short time whether what is waited for is there, ever more rarely: each look
    /// takes the cache line from the one who is about to change it.
    pub(super) fn look_out(&self, there: impl Fn() -> bool) -> bool {
        let (mut left, mut pauses) = (pauses_before_sleep(), 8);
        while left > 0 {
            if there() {
                return true;
            }
            for _ in 0..pauses {
                pause();
            }
            left = left.saturating_sub(pauses);
            pauses *= 2;
        }
        there()
    }

    /// Sleeps until the bell rings, the nap ends, or what is waited for is there.
    pub(super) fn sleep(&self, bell: &Bell, nap: Duration, there: impl Fn() -> bool) {
        let heard = bell.listen();
        if !there() {
            // However it ended, the next look tells.
            let _ = bell.sleep(heard, nap);
        }
    }

    /// Tells watchers that there is something, after items were put into an empty queue.
    #[cold]
    pub(super) fn signal(&self) {
        readiness::signal(&self.event);
    }

    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.memory.state.watched.load(Ordering::SeqCst) != 0
    }

    /// Tells watchers that there is nothing, if that is so.
    #[cold]
    pub(super) fn settle(&self) {
        if let Some(watch) = self.watch.get() {
            watch.looked();
        }
        if !self.has_items() {
            readiness::settle(&self.event);
        }
        if self.has_items() {
            readiness::signal(&self.event);
        }
    }

    /// The descriptor for watchers.
    pub(super) fn watch(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(watch) = self.watch.get() {
            return Ok(watch.as_fd());
        }
        let watch = Watch::new(&self.event, self.take_end().as_ref())?;
        self.memory.state.watched.store(1, Ordering::SeqCst);
        if self.has_items() {
            readiness::signal(&self.event);
        }
        Ok(self.watch.get_or_init(|| watch).as_fd())
    }

    pub(super) fn put_closed(&self) -> PutError {
        PutError::Closed { queue: self.name }
    }

    pub(super) fn get_closed(&self) -> GetError {
        GetError::Closed { queue: self.name }
    }

    /// Whether there is something to get without waiting: an item, or the end of all.
    pub(super) fn is_ready(&self) -> bool {
        self.has_items() || self.is_closed() || self.producers_gone()
    }

    pub(super) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_spawning(self.name).map_err(S::Error::custom)?;
        if self.is_closed() {
            return Err(S::Error::custom(format!("{}: this process has closed it", self.name)));
        }
        let ends = self.ends();
        let join = self.join.as_ref().map(|join| &join.state);
        (&self.memory.state, &self.event, (&ends.put, &ends.take), join).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        name: &'static str,
        side: Side,
        joinable: bool,
    ) -> Result<Self, D::Error> {
        type Pair = (Option<SharedFd>, Option<SharedFd>);
        type Fields = (Shareable<QueueState>, SharedFd, Pair, Option<Shareable<JoinState>>);
        let (state, event, (put, take), join) = Fields::deserialize(deserializer)?;
        let complete = match side {
            Side::Both => put.is_some() && take.is_some(),
            Side::Put => put.is_some() && take.is_none(),
            Side::Take => put.is_none() && take.is_some(),
        };
        if !complete || (joinable && join.is_none()) {
            return Err(D::Error::custom(format!("{name}: another kind of queue came")));
        }
        let memory = QueueMemory::of(state).map_err(D::Error::custom)?;
        if !readiness::is_event(&event) {
            return Err(D::Error::custom(format!("{name}: a descriptor of it is none of ours")));
        }
        let join = join.map(Join::of).transpose().map_err(D::Error::custom)?;
        Ok(Self::of(name, memory, event, Ends { put, take }, join))
    }
}

/// A queue in this process, shared by clones of a handle.
pub(super) type SharedCore = Arc<Core>;
