//! One submission: a task that was applied once, or a map. Where its outcomes arrive, and how who
//! waits for them is told.
//!
//! Outcomes are kept as they came: they are decoded by who wants them, on his thread.

use super::super::channel::Answer;
use super::super::error::{PoolError, TaskFailure};
use crate::codec::Codec;
use crate::start::cause::Autopsy;
use crate::sync::raw::atomics::Deadline;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// How a worker was lost.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) pid: u32,
    pub(crate) autopsy: Autopsy,
    pub(crate) oom: bool,
    pub(crate) stderr: Vec<String>,
    pub(crate) attempts: u32,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Lost(Arc<Loss>),
    Deadline(Duration),
    Cancelled,
    Terminated,
    Broken {
        attempts: u32,
        reason: Arc<str>,
    },
    Undeliverable(Arc<str>),
    /// The pool had been closed.
    Closed,
}

impl Fate {
    /// What becomes of what a pool does not take.
    pub(crate) fn of(error: &PoolError) -> Self {
        match error {
            PoolError::Closed => Self::Closed,
            PoolError::Broken { attempts, reason } => {
                Self::Broken { attempts: *attempts, reason: reason.as_str().into() }
            }
            PoolError::Terminated => Self::Terminated,
            other => Self::Undeliverable(other.to_string().into()),
        }
    }

    pub(crate) fn failure(&self) -> TaskFailure {
        match self {
            Self::Lost(loss) => {
                // Asked for here, by whoever wants the answer: the pool goes on.
                let found = loss.autopsy.findings();
                let caught = !loss.stderr.is_empty();
                TaskFailure::WorkerLost {
                    pid: loss.pid,
                    ending: loss.autopsy.ending,
                    cause: found.cause,
                    oom: loss.oom,
                    stderr: if caught { &loss.stderr } else { &found.stderr }.clone(),
                    attempts: loss.attempts,
                }
            }
            Self::Deadline(limit) => TaskFailure::DeadlineExceeded(*limit),
            Self::Cancelled => TaskFailure::Cancelled,
            Self::Terminated => TaskFailure::Pool(PoolError::Terminated),
            Self::Broken { attempts, reason } => TaskFailure::Pool(PoolError::Broken {
                attempts: *attempts,
                reason: reason.to_string(),
            }),
            Self::Undeliverable(what) => TaskFailure::Undeliverable(what.to_string()),
            Self::Closed => TaskFailure::Pool(PoolError::Closed),
        }
    }
}

/// Outcomes of neighbours.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// What a worker answered, for items from `first` on.
    Answer {
        first: u64,
        answer: Answer,
        /// One of them has another fate, whatever was answered.
        but: Option<(u64, Fate)>,
    },
    /// None of these was answered.
    Fate { first: u64, count: u64, fate: Fate },
}

/// How far a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Handed to the engine.
    pub(crate) submitted: u64,
    /// Of these, so many have an outcome.
    pub(crate) settled: u64,
    /// Of these, so many are no result.
    pub(crate) failed: u64,
    /// Of these, so many were lost with their worker.
    pub(crate) lost: u64,
}

impl Tally {
    /// So many have no outcome yet.
    pub(crate) fn under_way(&self) -> u64 {
        self.submitted.saturating_sub(self.settled)
    }
}

#[derive(Default)]
pub(crate) struct Inbox {
    arrived: Vec<Arrived>,
    pub(crate) tally: Tally,
    /// There will be no further submissions.
    sealed: bool,
    closed: Option<Fate>,
    sleepers: u32,
    waker: Option<Waker>,
    then: Option<Then>,
}

/// What is to be done when all is settled, on the thread of the callbacks.
pub(crate) type Then = Box<dyn FnOnce(&Call) + Send>;

impl Inbox {
    /// Whether everything has an outcome, or never will have one.
    pub(crate) fn is_over(&self) -> bool {
        self.closed.is_some() || (self.sealed && self.tally.settled == self.tally.submitted)
    }

    /// Whether it was closed before its time.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether something has arrived that nobody has taken.
    pub(crate) fn has_news(&self) -> bool {
        !self.arrived.is_empty() || self.closed.is_some()
    }
}

/// The number of a task in its pool, and what its values are encoded by.
pub(crate) type Kind = (u32, Codec);

/// One submission.
pub(crate) struct Call {
    pub(crate) task: u32,
    /// What its inputs and outcomes are encoded by.
    pub(crate) codec: Codec,
    pub(crate) deadline: Option<Duration>,
    pub(crate) retries: u32,
    inbox: Mutex<Inbox>,
    changed: Condvar,
    /// All of a call that is read when it is over, rather than as outcomes arrive.
    whole: Option<OnceLock<Vec<Arrived>>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inbox = self.inbox();
        f.debug_struct("Call")
            .field("tally", &inbox.tally)
            .field("over", &inbox.is_over())
            .finish_non_exhaustive()
    }
}

/// Whom to tell, once no lock is held.
#[derive(Default)]
pub(crate) struct News {
    waker: Option<Waker>,
    pub(crate) then: Option<(Arc<Call>, Then)>,
}

impl News {
    pub(crate) fn is_none(&self) -> bool {
        self.waker.is_none() && self.then.is_none()
    }

    /// Wakes the task that awaits the call.
    pub(crate) fn wake(self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
    }
}

impl Call {
    /// One that is read as outcomes arrive, by one thread.
    pub(crate) fn stream(
        (task, codec): Kind,
        deadline: Option<Duration>,
        retries: u32,
    ) -> Arc<Self> {
        let (inbox, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { task, codec, deadline, retries, inbox, changed, whole: None })
    }

    /// One of so many items that is read when it is over.
    pub(crate) fn whole(
        ((task, codec), deadline, retries): (Kind, Option<Duration>, u32),
        items: u64,
        then: Option<Then>,
    ) -> Arc<Self> {
        let tally = Tally { submitted: items, ..Tally::default() };
        let inbox = Mutex::new(Inbox { tally, sealed: true, then, ..Inbox::default() });
        let whole = Some(OnceLock::new());
        let changed = Condvar::new();
        Arc::new(Self { task, codec, deadline, retries, inbox, changed, whole })
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tally(&self) -> Tally {
        self.inbox().tally
    }

    pub(crate) fn is_over(&self) -> bool {
        self.inbox().is_over()
    }

    /// Why it was closed before its time.
    pub(crate) fn closed(&self) -> Option<Fate> {
        self.inbox().closed.clone()
    }

    /// Outcomes that have arrived since the last time.
    pub(crate) fn take_arrived(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.inbox().arrived)
    }

    /// All outcomes of a call that is over. Of one that was closed nothing is told.
    pub(crate) fn all(&self) -> &[Arrived] {
        self.whole.as_ref().and_then(OnceLock::get).map_or(&[], Vec::as_slice)
    }

    /// More items are on their way to the engine, in one chunk.
    pub(crate) fn submit(&self, items: u64) {
        self.inbox().tally.submitted += items;
    }

    /// An item has an outcome, which is no result, without having been handed to the engine.
    pub(crate) fn note_failed(&self) {
        let mut inbox = self.inbox();
        inbox.tally.submitted += 1;
        inbox.tally.settled += 1;
        inbox.tally.failed += 1;
    }

    /// Something has arrived. `failed` and `lost` say how much of it is no result.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        arrived: Arrived,
        items: u64,
        failed: u64,
        lost: u64,
    ) -> News {
        let mut inbox = self.inbox();
        if inbox.closed.is_some() {
            return News::default();
        }
        inbox.arrived.push(arrived);
        inbox.tally.settled += items;
        inbox.tally.failed += failed;
        inbox.tally.lost += lost;
        self.tell(inbox)
    }

    /// Nothing more will come of it; tells whether it was open.
    pub(crate) fn close(self: &Arc<Self>, fate: Fate) -> (bool, News) {
        let mut inbox = self.inbox();
        if inbox.is_over() {
            return (false, News::default());
        }
        inbox.closed = Some(fate);
        inbox.arrived.clear();
        (true, self.tell(inbox))
    }

    fn tell(self: &Arc<Self>, mut inbox: MutexGuard<'_, Inbox>) -> News {
        if inbox.sleepers > 0 {
            self.changed.notify_all();
        }
        let over = inbox.is_over();
        let mut news = News::default();
        if let Some(whole) = self.whole.as_ref().filter(|_| over) {
            let _ = whole.set(std::mem::take(&mut inbox.arrived));
        }
        if over || self.whole.is_none() {
            news.waker = inbox.waker.take();
        }
        if over {
            news.then = inbox.then.take().map(|then| (Arc::clone(self), then));
        }
        news
    }

    /// Whom to wake when it is over; false if it is.
    pub(crate) fn await_by(&self, waker: &Waker) -> bool {
        let mut inbox = self.inbox();
        if inbox.is_over() {
            return false;
        }
        match &mut inbox.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    /// Sleeps until `there`, or until `enough`, which somebody else changes before he
    /// [nudges](Self::nudge); at most until the deadline.
    pub(crate) fn sleep(
        &self,
        deadline: Deadline,
        there: &dyn Fn(&Inbox) -> bool,
        enough: &dyn Fn() -> bool,
    ) {
        let mut inbox = self.inbox();
        inbox.sleepers += 1;
        while !there(&inbox) && !enough() {
            let Some(nap) = deadline.nap(NAP_LONGEST) else { break };
            let woken = self.changed.wait_timeout(inbox, nap);
            inbox = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        inbox.sleepers -= 1;
    }

    /// Makes its sleepers look again.
    pub(crate) fn nudge(&self) {
        let _inbox = self.inbox();
        self.changed.notify_all();
    }
}

/// Nobody sleeps longer without a look.
pub(crate) const NAP_LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(first: u64, count: u64) -> Arrived {
        Arrived::Fate { first, count, fate: Fate::Cancelled }
    }

    #[test]
    fn a_whole_call_is_over_with_its_last_item() {
        let call = Call::whole(((0, Codec::Bincode), None, 0), 3, None);
        assert!(call.deliver(fate(0, 2), 2, 2, 0).is_none());
        assert!(!call.is_over() && call.all().is_empty());
        drop(call.deliver(fate(2, 1), 1, 1, 0));
        assert!(call.is_over());
        assert_eq!(call.all().len(), 2);
        assert!(!call.close(Fate::Terminated).0, "it is over already");
    }

    #[test]
    fn what_comes_after_a_close_is_nothing() {
        let call = Call::stream((0, Codec::Bincode), None, 0);
        call.submit(2);
        drop(call.deliver(fate(0, 1), 1, 1, 0));
        assert!(call.close(Fate::Cancelled).0);
        drop(call.deliver(fate(1, 1), 1, 1, 0));
        assert!(call.take_arrived().is_empty() && call.is_over());
    }

    #[test]
    fn what_is_to_be_done_then_is_done_once() {
        let call = Call::whole(((0, Codec::Bincode), None, 0), 1, Some(Box::new(|_| {})));
        let news = call.deliver(fate(0, 1), 1, 1, 0);
        assert!(news.then.is_some());
        assert!(call.close(Fate::Cancelled).1.then.is_none());
    }
}
